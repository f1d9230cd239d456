"""cuBLAS and cuBLASLt on the card: captures, settings, algorithms and their choice. The cases have the numbers."""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from gocudnn_py import cublas, cublaslt
from gocudnn_py._abi.cublaslt import MatmulHeuristicResult
from gocudnn_py.cublaslt import MatmulAlgoCapAttributes, MatmulAlgoConfigAttributes
from gocudnn_py.cuda import DeviceBuffer, Stream, capture
from gocudnn_py.errors import CublasError, UnusableResource
from gocudnn_py.matrix import Matrix, Vector

if TYPE_CHECKING:
    from gocunets.backends.cudnn import CudaBackend

U = 2.0**-24
TF32 = 2.0**-11


@pytest.fixture
def handle(backend: CudaBackend) -> cublas.Handle:
    return cublas.Handle(backend.stream)


@pytest.fixture(scope="module")
def light(backend: CudaBackend) -> cublaslt.Handle:
    return cublaslt.Handle(backend.device)


def matrix(backend: CudaBackend, rows: int, columns: int, seed: int) -> tuple[Matrix, Any]:
    """A float32 matrix on the card, and its content in float64."""
    array = np.random.default_rng(seed).standard_normal((rows, columns)).astype(np.float32)
    buffer = DeviceBuffer(backend.stream, array.nbytes)
    buffer.upload(array)
    return Matrix(buffer, rows, columns), array.astype(np.float64)


def content(c: Matrix) -> Any:
    return c.place.download(np.empty(c.shape, np.float32)).astype(np.float64)


def check(c: Matrix, right: Any, size: Any, unit: float = U) -> None:
    assert (np.abs(content(c) - right) <= 5 * unit * size).all()


@pytest.mark.covers("cublasGemmEx", "cublasSetStream_v2", "cublasSetWorkspace_v2", "cublasLtMatmul")
def test_captured_products_replay(backend: CudaBackend, handle: cublas.Handle, light: cublaslt.Handle) -> None:
    a, wide_a = matrix(backend, 16, 32, 0)
    b, wide_b = matrix(backend, 32, 24, 1)
    (c, _), (d, _) = (matrix(backend, 16, 24, seed) for seed in (2, 3))
    run = cublaslt.Matmul(light, a, b, d, workspace=DeviceBuffer(backend.stream, 2**20))
    cublas.gemm(handle, a, b, c)
    run(backend.stream)

    def work(stream: Any) -> None:
        handle.use(stream)
        cublas.gemm(handle, a, b, c)
        run(stream)

    recorded = capture(backend.stream, work, [handle, light, run])
    handle.use(backend.stream)
    for result in (c, d):
        result.place.fill(0)
    recorded.launch(backend.stream)
    for result in (c, d):
        check(result, wide_a @ wide_b, np.abs(wide_a) @ np.abs(wide_b))


@pytest.mark.covers("cublasSdot_v2", "cublasSaxpy_v2")
def test_results_stay_on_the_device_within_a_capture(backend: CudaBackend, handle: cublas.Handle) -> None:
    """y = (x . x) x + y, with a factor that the host never sees."""
    x, wide = matrix(backend, 1, 32, 0)
    y, before = matrix(backend, 1, 32, 1)
    factor = Vector(DeviceBuffer(backend.stream, 4), 1)
    first, second = Vector(x.place, 32), Vector(y.place, 32)
    warm, _ = matrix(backend, 1, 32, 2)  # kernels are loaded at their first use, which a capture may not be
    cublas.dot(handle, first, first, out=factor)
    cublas.axpy(handle, first, Vector(warm.place, 32), alpha=factor)

    def work(stream: Any) -> None:
        handle.use(stream)
        with pytest.raises(ValueError, match="a capture cannot wait for a result"):
            cublas.dot(handle, first, first)
        cublas.dot(handle, first, first, out=factor)
        cublas.axpy(handle, first, second, alpha=factor)

    recorded = capture(backend.stream, work, [handle, x.place, y.place, factor.place])
    handle.use(backend.stream)
    recorded.launch(backend.stream)
    length = np.sum(wide**2)
    check(y, length * wide + before, length * np.abs(wide) + np.abs(before))


@pytest.mark.covers("cublasSetMathMode", "cublasGetMathMode", "cublasSsyrk_v2")
def test_float32_is_rounded_only_in_a_mode_that_says_so(backend: CudaBackend, handle: cublas.Handle) -> None:
    a, wide = matrix(backend, 256, 512, 0)
    c, _ = matrix(backend, 256, 256, 1)
    right, size = wide @ wide.T, np.abs(wide) @ np.abs(wide).T
    lower = np.tril(np.ones_like(right)) > 0
    assert handle.math_mode == cublas.Math.MATH_DISALLOW_REDUCED_PRECISION_REDUCTION
    cublas.syrk(handle, a, c, lower=True)
    strict = np.abs(content(c) - right)[lower]
    assert (strict <= 512**0.5 * U * size[lower]).all()  # a sum of 512 terms
    handle.math_mode = cublas.Math.TF32_TENSOR_OP_MATH
    assert handle.math_mode == cublas.Math.TF32_TENSOR_OP_MATH
    cublas.syrk(handle, a, c, lower=True)
    assert (np.abs(content(c) - right)[lower] <= 2 * TF32 * size[lower]).all()


@pytest.mark.covers(
    "cublasSetAtomicsMode",
    "cublasGetAtomicsMode",
    "cublasSetSmCountTarget",
    "cublasGetSmCountTarget",
    "cublasGetPointerMode_v2",
    "cublasSetPointerMode_v2",
)
def test_settings(backend: CudaBackend, handle: cublas.Handle) -> None:
    assert (handle.atomics, handle.sm_count) == (cublas.AtomicsMode.NOT_ALLOWED, 0)
    handle.atomics, handle.sm_count = cublas.AtomicsMode.ALLOWED, 16
    assert (handle.atomics, handle.sm_count) == (cublas.AtomicsMode.ALLOWED, 16)
    assert handle.pointer_mode is cublas.PointerMode.HOST
    x = Vector(DeviceBuffer(backend.stream, 64, zeroed=True), 16)
    cublas.nrm2(handle, x, out=Vector(DeviceBuffer(backend.stream, 4), 1))
    assert handle.pointer_mode is cublas.PointerMode.DEVICE
    assert cublas.nrm2(handle, x) == 0
    assert handle.pointer_mode is cublas.PointerMode.HOST


@pytest.mark.covers("cublasGetStream_v2", "cublasSetStream_v2")
def test_the_library_is_told_of_another_stream(backend: CudaBackend, handle: cublas.Handle) -> None:
    assert handle.library_stream == backend.stream.handle
    other = Stream(backend.device)
    handle.use(other)
    assert handle.library_stream == other.handle != backend.stream.handle


@pytest.mark.covers("cublasCreate_v2", "cublasDestroy_v2", "cublasLtCreate", "cublasLtDestroy")
def test_handles_are_given_back(backend: CudaBackend) -> None:
    x = Vector(DeviceBuffer(backend.stream, 64, zeroed=True), 16)
    with cublas.Handle(backend.stream) as handle, cublaslt.Handle(backend.device) as light:
        assert cublas.nrm2(handle, x) == 0
        assert light.enter() == light.handle
    with pytest.raises(UnusableResource, match="this Handle is closed"):
        cublas.nrm2(handle, x)
    with pytest.raises(UnusableResource, match="this Handle is closed"):
        light.enter()


EMULATION = {
    "emulation": ("EmulationStrategy", 1),
    "emulated_specials": ("EmulationSpecialValuesSupport", 1),
    "mantissa_control": ("FixedPointEmulationMantissaControl", 1),
    "mantissa_bits": ("FixedPointEmulationMaxMantissaBitCount", 55),
    "mantissa_offset": ("FixedPointEmulationMantissaBitOffset", 2),
}


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        pytest.param(setting, value, marks=pytest.mark.covers(f"cublasGet{name}", f"cublasSet{name}"), id=setting)
        for setting, (name, value) in EMULATION.items()
    ],
)
def test_settings_of_emulation(setting: str, value: int, handle: cublas.Handle) -> None:
    setattr(handle, setting, value)
    assert getattr(handle, setting) == value


@pytest.mark.covers(
    "cublasGetFixedPointEmulationMantissaBitCountPointer", "cublasSetFixedPointEmulationMantissaBitCountPointer"
)
def test_where_emulation_tells_its_bits(backend: CudaBackend, handle: cublas.Handle) -> None:
    assert handle.mantissa_bits_used == 0
    place = DeviceBuffer(backend.stream, 4, zeroed=True)
    handle.mantissa_bits_used = place.pointer
    assert handle.mantissa_bits_used == place.pointer
    handle.mantissa_bits_used = 0


@pytest.mark.covers("cublasScalEx_64", "cublasIamaxEx_64")
def test_vectors_longer_than_an_int_counts(backend: CudaBackend, handle: cublas.Handle) -> None:
    size, ends = 2**31 + 8, np.arange(1, 9, dtype=np.float16)
    if backend.device.memory_info()[0] < 3 * size:
        pytest.skip("less than 6 GiB of GPU memory is free")
    with DeviceBuffer(backend.stream, 2 * size, zeroed=True) as place:
        place.upload(ends, 2 * (size - 8))
        x = Vector(place, size, "float16")
        cublas.scal(handle, x, 2.0)
        assert (place.download(np.empty_like(ends), 2 * (size - 8)) == 2 * ends).all()
        assert cublas.iamax(handle, x) == size
        backend.stream.synchronize()


def product(backend: CudaBackend, light: cublaslt.Handle) -> tuple[cublaslt.Matmul, Matrix, Any, Any]:
    a, wide_a = matrix(backend, 256, 512, 0)
    b, wide_b = matrix(backend, 512, 384, 1)
    c, _ = matrix(backend, 256, 384, 2)
    run = cublaslt.Matmul(light, a, b, c, workspace=DeviceBuffer(backend.stream, 2**25))
    return run, c, wide_a @ wide_b, np.abs(wide_a) @ np.abs(wide_b)


@pytest.mark.covers(
    "cublasLtMatmulAlgoGetHeuristic",
    "cublasLtMatmulAlgoCheck",
    "cublasLtMatmulAlgoConfigGetAttribute",
    "cublasLtMatmulAlgoCapGetAttribute",
    "cublasLtMatmul",
)
def test_every_candidate_gives_the_product(backend: CudaBackend, light: cublaslt.Handle) -> None:
    run, c, right, size = product(backend, light)
    candidates = run.candidates(8)
    assert 1 <= len(candidates) <= 8
    for algorithm in candidates:
        run.use(cublaslt.Algorithm.from_bytes(bytes(algorithm)))
        assert run.workspace_used == algorithm.workspace <= 2**25
        assert algorithm.id >= 0
        assert len(algorithm.capability(MatmulAlgoCapAttributes.TILE_IDS)) >= 1
        assert algorithm.capability(MatmulAlgoCapAttributes.NUMERICAL_IMPL_FLAGS) > 0
        c.place.fill(0xFF)
        run(backend.stream)
        check(c, right, size)


@pytest.mark.covers("cublasLtMatmulAlgoGetHeuristicForStream", "cublasLtMatmulAlgoCheckForStream")
def test_an_algorithm_for_a_stream(backend: CudaBackend, light: cublaslt.Handle) -> None:
    run, c, right, size = product(backend, light)
    lib: Any = light.lib
    (found, checked), count = (MatmulHeuristicResult() for _ in range(2)), ctypes.c_int()
    with run.problem.preference(2**25) as preference:
        told, stream = run.problem.handles, backend.stream.handle
        answer = 1, ctypes.byref(found), ctypes.byref(count)
        lib.cublasLtMatmulAlgoGetHeuristicForStream(light.enter(), *told, preference.handle, *answer, stream)
    places = ctypes.byref(found.algo), ctypes.byref(checked)
    lib.cublasLtMatmulAlgoCheckForStream(light.enter(), *told, *places, stream)
    assert (count.value, checked.workspaceSize) == (1, found.workspaceSize)
    run.use(cublaslt.Algorithm(found.algo, found.workspaceSize))
    run(backend.stream)
    check(c, right, size)


@pytest.mark.covers(
    "cublasLtMatmulAlgoGetIds",
    "cublasLtMatmulAlgoInit",
    "cublasLtMatmulAlgoConfigSetAttribute",
    "cublasLtMatmulAlgoCheck",
    "cublasLtMatmul",
)
def test_algorithms_by_number(backend: CudaBackend, light: cublaslt.Handle) -> None:
    """The heuristics' choices made again by hand, by number and setting, as far as those say all there is to one."""
    run, c, right, size = product(backend, light)
    ids, done = run.ids(128), 0
    for chosen in run.candidates(16):
        assert chosen.id in ids
        settings = {each: chosen.setting(each) for each in MatmulAlgoConfigAttributes}
        try:
            run.use(run.make(settings.pop(MatmulAlgoConfigAttributes.ID)).set_to(settings))
        except CublasError:
            continue
        assert run.algorithm.id == chosen.id
        c.place.fill(0xFF)
        run(backend.stream)
        check(c, right, size)
        done += 1
    if not done:
        pytest.skip(f"{run.handle.lib!r}: algorithms hold more than their settings say")


@pytest.mark.covers("cublasLtMatmulAlgoCheck")
def test_workspace_that_is_not_there(backend: CudaBackend, light: cublaslt.Handle) -> None:
    a, b, c = (matrix(backend, *shape, seed=0)[0] for shape in ((64, 16384), (16384, 64), (64, 64)))
    wanting = cublaslt.Matmul(light, a, b, c, workspace=DeviceBuffer(backend.stream, 2**25))
    hungry = [each for each in wanting.candidates(16) if each.workspace]
    if not hungry:
        pytest.skip("no candidate takes workspace")
    with pytest.raises((ValueError, CublasError), match=r"bytes of workspace|cublasLtMatmulAlgoCheck"):
        cublaslt.Matmul(light, a, b, c).use(hungry[0])


@pytest.mark.covers("cublasLtMatmul", "cublasLtMatmulAlgoCheck")
def test_the_fastest_is_chosen_and_kept(backend: CudaBackend, light: cublaslt.Handle, tmp_path: Path) -> None:
    run, c, right, size = product(backend, light)
    before = content(c)
    chosen = cublaslt.tune(run, backend.stream, most=8, folder=tmp_path)
    assert (content(c) == before).all(), "measuring wrote to the result"
    run(backend.stream)
    check(c, right, size)
    (path,) = tmp_path.iterdir()
    written = path.stat().st_mtime_ns
    again, c, right, size = product(backend, light)
    assert bytes(cublaslt.tune(again, backend.stream, folder=tmp_path)) == bytes(chosen)
    assert path.stat().st_mtime_ns == written
    again(backend.stream)
    check(c, right, size)
