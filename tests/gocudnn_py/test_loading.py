"""Loading for real, each case in a process of its own: order, one folder, adoption both ways, the audit.

GOCUDNN_OTHER_CUDNN may name the lib folder of another cuDNN (version, CUDA major) for the cases that mix two.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gocudnn_py import loading
from gocudnn_py.errors import LibraryNotFound
from gocudnn_py.finding import Place, cudnn_file, installed
from gocudnn_py.loading import CHECKS

pytestmark = pytest.mark.skipif(os.name == "nt", reason="the cases are written for Linux")

SHOW = """
    import sys
    from gocudnn_py.errors import GocudnnError
    from gocudnn_py.finding import mapped_files
    from gocudnn_py.library import load
    def folders():
        return sorted({file.rpartition("/")[0] for file in mapped_files() if "libcudnn" in file})
    try:
        lib = load("cudnn")
    except GocudnnError as error:
        print(type(error).__name__, error, sep="\\n")
        sys.exit()
    print(lib.path, lib.source, lib.version, folders(), sep="\\n")
"""
PRELOAD = "    import ctypes; first = ctypes.CDLL({!r})\n"
FAKE = """
    #include <stddef.h>
    size_t cudnnGetVersion(void) {{ return {version}; }}
    size_t cudnnGetCudartVersion(void) {{ return {cudart}; }}
    const char *cudnnGetErrorString(int status) {{ return "FAKE"; }}
    void cudnnGetLastErrorString(char *text, size_t size) {{ *text = 0; }}
    int cudnnGraphVersionCheck(void) {{ return 0; }}
    int cudnnOpsVersionCheck(void) {{ return 0; }}
    int cudnnCnnVersionCheck(void) {{ return 0; }}
"""


def folder_of(library: Any) -> str:
    """Where the loader says the library is: it follows links."""
    return os.path.dirname(os.path.realpath(library.path))


@pytest.fixture
def other_folder(cudnn: Any, tmp_path: Path) -> Path:
    """The same cuDNN under another path, as hard links: what a second installation is."""
    folder = tmp_path / "other" / "lib"
    folder.mkdir(parents=True)
    for file in Path(cudnn.path).parent.glob(cudnn_file("*").replace("_*", "*")):
        try:
            os.link(file, folder / file.name)
        except OSError as error:
            pytest.skip(f"cannot make a second copy: {error}")
    return folder


@pytest.fixture(scope="module")
def foreign_cudnn() -> Path:
    named = os.environ.get("GOCUDNN_OTHER_CUDNN")
    if not named:
        pytest.skip("GOCUDNN_OTHER_CUDNN names no second cuDNN")
    return Path(named)


@pytest.fixture
def fake_cudnn(compile_c: Callable[..., Path], tmp_path: Path) -> Callable[..., Path]:
    def fake_cudnn(version: int, cudart: int) -> Path:
        source = FAKE.format(version=version, cudart=cudart)
        return compile_c(source, tmp_path / "fake" / "lib" / cudnn_file())

    return fake_cudnn


def test_importing_loads_nothing(run_python: Callable[..., Any]) -> None:
    done = run_python("""
        import os, sys
        import gocudnn_py, gocudnn_py.cudnn, gocudnn_py.cudnn.graph, gocudnn_py.library, gocudnn_py.report
        from gocudnn_py.finding import mapped_files
        print([m for m in sys.modules if m.startswith(("cuda.", "ml_dtypes", "torch", "cupy"))])
        files = map(os.path.basename, mapped_files())
        print([f for f in files if any(n in f for n in ("cuda", "cudnn", "cublas", "nvrtc"))])
    """)
    assert done.stdout == "[]\n[]\n"


def test_nvrtc_and_its_builtins_come_before_cudnn(run_python: Callable[..., Any], cudnn: Any) -> None:
    done = run_python("""
        import ctypes
        real, opened = ctypes.CDLL, []
        class Spy(real):
            def __init__(self, name, *rest, **more):
                super().__init__(name, *rest, **more)
                opened.append(str(name).rpartition("/")[2])
        ctypes.CDLL = Spy
        from gocudnn_py.library import load
        load("cudnn")
        print(*opened)
    """)
    opened = done.stdout.split()
    first = [next(i for i, name in enumerate(opened) if name.startswith(lib)) for lib in ("libnvrtc.", "libcudnn.")]
    assert first == sorted(first)
    parts = [opened.index(cudnn_file(part)) for part in ("graph", "ops", "cnn", "heuristic", "engines_precompiled")]
    assert parts == sorted(parts)
    assert cudnn_file("adv") not in opened


def test_every_part_comes_from_one_folder_and_adv_at_first_use(run_python: Callable[..., Any], cudnn: Any) -> None:
    program = (
        SHOW
        + """
    print("adv" in lib.parts.loaded)
    lib.cudnnCreateRNNDescriptor
    print("adv" in lib.parts.loaded, folders())
    """
    )
    path, source, version, folders, before, after = run_python(program).stdout.splitlines()
    assert path == cudnn.path
    assert source == cudnn.source
    assert version == str(cudnn.version)
    assert folders == str([folder_of(cudnn)])
    assert (before, after) == ("False", f"True {folders}")


def test_a_system_copy_on_the_search_path_is_not_taken(
    run_python: Callable[..., Any], cudnn: Any, compile_c: Callable[..., Path], tmp_path: Path
) -> None:
    """LD_LIBRARY_PATH full of other parts is how SUBLIBRARY_VERSION_MISMATCH comes about elsewhere."""
    for part in ("graph", "ops", "cnn", "adv", "heuristic", "engines_precompiled"):
        compile_c("int nothing;", tmp_path / cudnn_file(part))
    program = SHOW + "    lib.cudnnCreateRNNDescriptor; print(folders())\n"
    lines = run_python(program, LD_LIBRARY_PATH=str(tmp_path)).stdout.splitlines()
    assert lines[-1] == str([folder_of(cudnn)])


def test_cudnn_path_decides(run_python: Callable[..., Any], other_folder: Path) -> None:
    lines = run_python(SHOW, CUDNN_PATH=str(other_folder.parent)).stdout.splitlines()
    assert lines[0] == str(other_folder / cudnn_file())
    assert lines[1] == f"CUDNN_PATH={other_folder.parent}"
    assert lines[3] == str([str(other_folder)])


@pytest.mark.parametrize("part", ["", "graph"])
def test_what_came_first_is_adopted(run_python: Callable[..., Any], other_folder: Path, part: str) -> None:
    program = PRELOAD.format(str(other_folder / cudnn_file(part))) + SHOW
    lines = run_python(program).stdout.splitlines()
    assert lines[0] == str(other_folder / cudnn_file())
    assert lines[1] == "already loaded in this process"
    assert lines[3] == str([str(other_folder)])


def test_what_came_first_is_adopted_against_cudnn_path(
    run_python: Callable[..., Any], other_folder: Path, cudnn: Any
) -> None:
    named = Path(cudnn.path).parent.parent
    program = "    import logging; logging.basicConfig()\n" + PRELOAD.format(str(other_folder / cudnn_file())) + SHOW
    done = run_python(program, CUDNN_PATH=str(named))
    assert done.stdout.splitlines()[0] == str(other_folder / cudnn_file())
    assert f"CUDNN_PATH={named} is not used: cuDNN is already loaded from {other_folder}" in done.stderr


def test_what_comes_later_gets_ours(run_python: Callable[..., Any], cudnn: Any) -> None:
    """PyTorch's libraries ask for libcudnn.so.9 by that name; the loader gives them the one that is there."""
    program = (
        SHOW
        + f"""
    import ctypes
    later = ctypes.CDLL({cudnn_file()!r})
    later.cudnnGetVersion.restype = ctypes.c_size_t
    print(later.cudnnGetVersion() == lib.cudnnGetVersion(), folders())
    """
    )
    assert run_python(program).stdout.splitlines()[-1] == f"True {[folder_of(cudnn)]}"


def test_an_adopted_cudnn_below_the_floor(run_python: Callable[..., Any], fake_cudnn: Any, cudnn: Any) -> None:
    fake = fake_cudnn(91500, 13000)
    program = "    import sys, types; sys.modules['torch'] = types.ModuleType('torch')\n"
    kind, text = run_python(program + PRELOAD.format(str(fake)) + SHOW).stdout.splitlines()
    assert kind == "VersionMismatch"
    assert text == (
        f"cuDNN 9.15.0 at {fake} is older than 9.19.0, the oldest supported. "
        "It was already loaded by PyTorch: update that, or load gocudnn_py's first."
    )


def test_a_found_cudnn_below_the_floor(run_python: Callable[..., Any], fake_cudnn: Any, cudnn: Any) -> None:
    fake = fake_cudnn(90100, 12000)
    kind, text = run_python(SHOW, CUDNN_PATH=str(fake.parents[1])).stdout.splitlines()
    assert kind == "VersionMismatch"
    assert "cuDNN 9.1.0" in text
    assert "Install a newer one: pip install 'gocunets[cu1" in text


def test_cuda_majors_that_are_mixed(run_python: Callable[..., Any], fake_cudnn: Any, cudnn: Any) -> None:
    fake = fake_cudnn(92800, 11080)
    kind, text = run_python(SHOW, CUDNN_PATH=str(fake.parents[1])).stdout.splitlines()
    assert kind == "VersionMismatch"
    assert f"CUDA majors are mixed: <cuDNN 9.28.0 from {fake}> is for CUDA 11, but nvrtc at " in text
    assert ("cuda-bindings 1" in text) == (installed("cuda-bindings") is not None)


def test_a_part_of_another_version(
    run_python: Callable[..., Any], other_folder: Path, compile_c: Callable[..., Path]
) -> None:
    (other_folder / cudnn_file("ops")).unlink()
    alien = compile_c("int nothing;", other_folder / cudnn_file("ops"))
    lines = run_python(SHOW, CUDNN_PATH=str(other_folder.parent)).stdout.splitlines()
    assert lines[0] == "VersionMismatch"
    assert lines[1].startswith("cuDNN's parts do not belong together: cudnnOpsVersionCheck")
    assert f"  {alien}" in lines
    assert any(line.startswith("cnn: ") for line in lines)


def test_a_cudnn_of_the_graph_api_alone(run_python: Callable[..., Any], other_folder: Path) -> None:
    for part in ("ops", "cnn", "adv", "heuristic"):
        (other_folder / cudnn_file(part)).unlink()
    program = (
        SHOW
        + """
    from gocudnn_py.cudnn import TensorDescriptor
    print(lib.parts.failed["ops"])
    try: TensorDescriptor()
    except GocudnnError as error: print(type(error).__name__)
    """
    )
    lines = run_python(program, CUDNN_PATH=str(other_folder.parent)).stdout.splitlines()
    assert lines[-2] == "not in this cuDNN"
    assert lines[-1] in ("NotSupported", "SetupFailed")  # with a GPU, cuDNN looks for its parts sooner


def test_a_foreign_cudnn_is_adopted_or_refused_clearly(run_python: Callable[..., Any], foreign_cudnn: Path) -> None:
    lines = run_python(PRELOAD.format(str(foreign_cudnn / cudnn_file())) + SHOW).stdout.splitlines()
    if lines[0] == "VersionMismatch":
        assert "CUDA majors are mixed" in lines[1]
        assert "pip install 'gocunets[cu1" in lines[1]
    else:
        assert lines[0] == str(foreign_cudnn / cudnn_file())
        assert lines[3] == str([str(foreign_cudnn)])


def test_a_foreign_part_is_refused(run_python: Callable[..., Any], other_folder: Path, foreign_cudnn: Path) -> None:
    (other_folder / cudnn_file("ops")).unlink()
    (other_folder / cudnn_file("ops")).symlink_to(foreign_cudnn / cudnn_file("ops"))
    lines = run_python(SHOW, CUDNN_PATH=str(other_folder.parent)).stdout.splitlines()
    assert lines[0] == "VersionMismatch"
    assert "cudnnOpsVersionCheck: CUDNN_STATUS_SUBLIBRARY_VERSION_MISMATCH (1002)" in lines[1]


def test_a_failed_load_can_be_repeated(run_python: Callable[..., Any], tmp_path: Path, cudnn: Any) -> None:
    program = """
        import os
        from gocudnn_py.errors import LibraryNotFound
        from gocudnn_py.library import load
        try: load("cudnn")
        except LibraryNotFound: print("not found")
        del os.environ["CUDNN_PATH"]
        print(load("cudnn").path)
    """
    assert run_python(program, CUDNN_PATH=str(tmp_path)).stdout.splitlines() == ["not found", cudnn.path]


@pytest.mark.parametrize(
    ("blas", "alone", "found"),
    [
        ("libcublasLt.so.12", False, ["nvrtc", "cublasLt"]),
        ("libcublasLt.so.13", False, ["nvrtc", "cublasLt"]),
        ("libcublasLt.so.12", True, ["nvrtc", "cublasLt"]),
        ("libcublasLt.so.13", True, ["nvrtc"]),
        (None, True, ["nvrtc"]),
        (None, False, None),
    ],
)
def test_the_graph_api_alone_does_without_cublaslt(
    blas: str | None, alone: bool, found: list[str] | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def find(name: str) -> Place:
        file = {"nvrtc": "libnvrtc.so.12", "cublasLt": blas}[name]
        if file is None:
            raise LibraryNotFound(name, "it is nowhere", 12)
        return Place(f"/lib/{file}", "the system")

    monkeypatch.setattr(loading, "find", find)
    monkeypatch.setattr(loading, "graph_wheel", lambda: tmp_path if alone else None)
    if found is None:
        with pytest.raises(LibraryNotFound, match="cublasLt was not found"):
            loading._companions()
    else:
        assert list(loading._companions()) == found


def test_blas_is_of_one_version_and_folder(cublas: Any, cublaslt: Any) -> None:
    assert cublas.version == cublaslt.version
    assert os.path.dirname(cublas.path) == os.path.dirname(cublaslt.path)


def test_the_checks_are_of_parts_loaded_at_start() -> None:
    from gocudnn_py.parts import START

    assert set(CHECKS) <= set(START)
