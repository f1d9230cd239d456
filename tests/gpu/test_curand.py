"""cuRAND on the card, against its own generators on the host, which tests without a GPU check against formulas."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from gocudnn_py.cuda import DeviceBuffer, ManagedBuffer
from gocudnn_py.cuda.pointers import pointer_info
from gocudnn_py.curand import Generator, Method, Ordering, PoissonDistribution, RngType
from gocudnn_py.curand.generator import MERSENNE, SOBOL64
from gocudnn_py.errors import CurandError, LibraryNotFound, UnusableResource
from gocudnn_py.library import load

if TYPE_CHECKING:
    from gocunets.backends.cudnn import CudaBackend

Array = np.ndarray[Any, Any]
PSEUDO = [kind for kind in RngType if 100 <= kind < 200]
QUASI = [kind for kind in RngType if kind >= 200]
PHILOX = RngType.PSEUDO_PHILOX4_32_10
SIZE = 300_000  # more than the 65,536 blocks of four that Philox makes at a time
every_kind = pytest.mark.parametrize("kind", PSEUDO + QUASI, ids=lambda kind: kind.name)
U = {"float32": 2.0**-24, "float64": 2.0**-53}


@pytest.fixture(scope="module", autouse=True)
def curand(backend: CudaBackend) -> Any:
    try:
        return load("curand")
    except LibraryNotFound as error:
        pytest.skip(str(error).splitlines()[0])


def settings(kind: RngType) -> dict[str, Any]:
    """The ordering that is the same on every card and in every version, or some dimensions."""
    return {"dimensions": 3} if kind in QUASI else {"seed": 7, "ordering": Ordering.PSEUDO_LEGACY}


def draw(source: Generator, name: str, dtype: str, *arguments: Any, size: int = SIZE) -> Array:
    """Numbers of a generator, wherever it is."""
    out = np.zeros(size, dtype)
    named = {} if name in ("bits", "poisson") else {"dtype": dtype}
    fill = getattr(source, name)
    if source.stream is None:
        return fill(out, *arguments, **named)  # type: ignore[no-any-return]
    return fill(DeviceBuffer(source.stream, out.nbytes), *arguments, **named).download(out)  # type: ignore[no-any-return]


@every_kind
@pytest.mark.covers("curandCreateGenerator", "curandGenerateUniform", "curandGenerateUniformDouble")
@pytest.mark.covers("curandGenerateNormal", "curandGenerateNormalDouble")
@pytest.mark.covers("curandGenerateLogNormal", "curandGenerateLogNormalDouble")
def test_the_card_makes_what_the_host_makes(kind: RngType, backend: CudaBackend) -> None:
    host, card = Generator(kind, **settings(kind)), Generator(kind, backend.stream, **settings(kind))
    word = "uint64" if kind in SOBOL64 else "uint32"
    assert (draw(card, "bits", word) == draw(host, "bits", word)).all()
    for dtype, u in U.items():
        # Scaling to a float may be one fused step on the card: the last place of a number up to 1.
        np.testing.assert_allclose(draw(card, "uniform", dtype), draw(host, "uniform", dtype), rtol=0, atol=2 * u)
        u = max(u, U["float32"]) if kind is RngType.PSEUDO_MTGP32 else u  # whose host makes normal numbers from floats
        # |z| < 8; logarithm, root and sine or the inverse of the error function: up to 16 last places together.
        right = draw(host, "normal", dtype, 0.5, 2.0)
        np.testing.assert_allclose(draw(card, "normal", dtype, 0.5, 2.0), right, rtol=0, atol=16 * 16 * u)
        right = draw(host, "log_normal", dtype, 0.0, 0.25)
        np.testing.assert_allclose(draw(card, "log_normal", dtype, 0.0, 0.25), right, rtol=64 * u)


@pytest.mark.parametrize("kind", PSEUDO, ids=lambda kind: kind.name)
@pytest.mark.covers("curandGenerateUniform", "curandGenerateNormalDouble", "curandGeneratePoisson")
def test_moments(kind: RngType, backend: CudaBackend) -> None:
    size, card = 1_000_000, Generator(kind, backend.stream, seed=11)
    uniform = draw(card, "uniform", "float32", size=size).astype(np.float64)
    assert uniform.min() > 0
    assert uniform.max() <= 1
    assert abs(uniform.mean() - 0.5) < 5 * math.sqrt(1 / 12 / size)
    assert abs(uniform.var() - 1 / 12) < 5 * math.sqrt(1 / 180 / size)
    normal = draw(card, "normal", "float64", 2.0, 3.0, size=size)
    assert abs(normal.mean() - 2) < 5 * 3 / math.sqrt(size)
    assert abs(normal.var() - 9) < 5 * 9 * math.sqrt(2 / size)
    for rate in (0.5, 30.0, 3000.0):
        poisson = draw(card, "poisson", "uint32", rate, size=size).astype(np.float64)
        assert abs(poisson.mean() - rate) < 5 * math.sqrt(rate / size)
        assert abs(poisson.var() - rate) < 5 * math.sqrt((rate + 2 * rate**2) / size)


@pytest.mark.covers("curandGeneratePoissonMethod")
def test_poisson_by_a_method(backend: CudaBackend) -> None:
    """Of the methods there are two on a GPU; one makes what cuRAND chooses by itself for small means."""
    drawn = draw(Generator(PHILOX, backend.stream, seed=3), "poisson", "uint32", 2.5)
    out, found = DeviceBuffer(backend.stream, drawn.nbytes), {}
    for method in (Method.CURAND_3RD, Method.DEVICE_API):
        Generator(PHILOX, backend.stream, seed=3).poisson(out, 2.5, method=method)
        found[method] = out.download(np.empty_like(drawn))
        for number in range(8):
            share = math.exp(-2.5) * 2.5**number / math.factorial(number)
            assert abs((found[method] == number).mean() - share) < 5 * math.sqrt(share / drawn.size)
    assert (found[Method.CURAND_3RD] == drawn).all()
    with pytest.raises(CurandError, match="INTERNAL_ERROR"):
        Generator(PHILOX, backend.stream, seed=3).poisson(out, 2.5, method=Method.CHOOSE_BEST)


@pytest.mark.parametrize("kind", [kind for kind in PSEUDO if kind not in MERSENNE], ids=lambda kind: kind.name)
@pytest.mark.covers("curandSetGeneratorOffset", "curandSetPseudoRandomGeneratorSeed", "curandGenerate")
def test_offsets_and_seeds(kind: RngType, backend: CudaBackend) -> None:
    whole = draw(Generator(kind, backend.stream, seed=7), "bits", "uint32", size=3000)
    card = Generator(kind, backend.stream, seed=7, offset=17)
    assert (draw(card, "bits", "uint32", size=1000) == whole[17:1017]).all()
    assert (draw(card, "bits", "uint32", size=999) == whole[1017:2016]).all()
    card.set_offset(401)
    assert (draw(card, "bits", "uint32", size=500) == whole[401:901]).all()
    card.set_seed(8)
    assert (draw(card, "bits", "uint32", size=500) != whole[:500]).mean() > 0.99
    card.set_seed(7)
    assert (draw(card, "bits", "uint32", size=500) == whole[:500]).all()


@pytest.mark.covers("curandSetPseudoRandomGeneratorSeed", "curandGenerateSeeds")
def test_a_mersenne_twister_starts_again(backend: CudaBackend) -> None:
    card = Generator(RngType.PSEUDO_MT19937, backend.stream, seed=7)
    card.prepare()
    whole = draw(card, "bits", "uint32", size=3000)
    card.set_seed(7)
    assert (draw(card, "bits", "uint32", size=3000) == whole).all()


@pytest.mark.covers("curandSetPseudoRandomGeneratorSeed")
def test_mtgp32_keeps_the_seed_that_it_began_with(backend: CudaBackend) -> None:
    card = Generator(RngType.PSEUDO_MTGP32, backend.stream, seed=8)
    card.set_seed(7)
    whole = draw(card, "bits", "uint32", size=6000)
    with pytest.raises(ValueError, match=r"has begun on GPU 0 and keeps its seed"):
        card.set_seed(7)
    begun = Generator(RngType.PSEUDO_MTGP32, backend.stream, seed=7)
    begun.prepare()
    with pytest.raises(ValueError, match="make another Generator"):
        begun.set_seed(8)
    assert (draw(begun, "bits", "uint32", size=3000) == whole[:3000]).all()
    assert (draw(begun, "bits", "uint32", size=3000) == whole[3000:]).all()


@pytest.mark.covers("curandSetStream")
def test_streams(backend: CudaBackend) -> None:
    whole = draw(Generator(PHILOX, backend.stream, seed=5), "bits", "uint32", size=2000)
    other, card = backend.device.stream(), Generator(PHILOX, backend.stream, seed=5)
    memory = DeviceBuffer(backend.stream, 4000)
    card.bits(memory)
    backend.stream.synchronize()
    card.use(other)
    later = DeviceBuffer(other, 4000, zeroed=True)
    card.bits(later)  # after the zeros, by the order of its stream
    assert (memory.download(np.empty(1000, np.uint32)) == whole[:1000]).all()
    assert (later.download(np.empty(1000, np.uint32)) == whole[1000:]).all()


class Foreign:
    """Somebody's array on the card."""

    def __init__(self, memory: DeviceBuffer, typestr: str, shape: tuple[int, ...]) -> None:
        self.memory = memory
        self.__cuda_array_interface__ = {**memory.__cuda_array_interface__, "typestr": typestr, "shape": shape}


@pytest.mark.covers("curandGenerateUniform")
def test_other_memory(backend: CudaBackend) -> None:
    right = draw(Generator(PHILOX, seed=5), "uniform", "float32", size=60)
    memory = DeviceBuffer(backend.stream, 240)
    foreign = Foreign(memory, "<f4", (3, 20))
    assert Generator(PHILOX, backend.stream, seed=5).uniform(foreign) is foreign
    np.testing.assert_array_equal(memory.download(np.empty(60, np.float32)), right)
    managed = ManagedBuffer(backend.device, 240)
    Generator(PHILOX, backend.stream, seed=5).uniform(managed, dtype="float32")
    backend.stream.synchronize()
    np.testing.assert_array_equal(managed.array.view(np.float32), right)
    with pytest.raises(TypeError, match="makes float32 or float64, not int32"):
        Generator(PHILOX, backend.stream).uniform(Foreign(memory, "<i4", (60,)))
    memory.close()
    with pytest.raises(UnusableResource):
        Generator(PHILOX, backend.stream).uniform(memory, dtype="float32")


@pytest.mark.covers("curandCreatePoissonDistribution", "curandDestroyDistribution")
def test_poisson_distribution(backend: CudaBackend) -> None:
    with PoissonDistribution(backend.device, 12.0) as distribution:
        assert pointer_info(distribution.handle).kind == "device"
    with pytest.raises(UnusableResource):
        _ = distribution.handle
