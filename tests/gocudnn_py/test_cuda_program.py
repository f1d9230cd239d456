"""Compiling and linking without a GPU, and what is kept of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("cuda.core", reason="cuda-core is missing: pip install 'gocunets[cu13]'")

from gocudnn_py.cuda import Code, Module, compile_source, link, program
from gocudnn_py.cuda import linking as linking_module
from gocudnn_py.cuda.program import included_files, kept, with_defines
from gocudnn_py.errors import CompilerError, LibraryNotFound
from tests.gocudnn_py.cuda_standin import make_device

ARCHITECTURES = ["sm_75", "sm_80", "sm_90", "sm_100"]
RELOCATABLE = ["--relocatable-device-code=true"]
CALLER = 'extern __device__ float f(float); extern "C" __global__ void g(float* x) { *x = f(*x); }'
CALLEE = "__device__ float f(float x) { return 2 * x; }"
TEMPLATE = """
namespace place { __constant__ float table[4]; }
template <class T> __global__ void scale(T* x, T a) { x[threadIdx.x] *= a * T(place::table[0]); }
"""


@pytest.fixture(autouse=True)
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A cache of its own for each test."""
    monkeypatch.setenv("GOCUDNN_CACHE", str(tmp_path / "cache"))
    try:
        program.compiler_version()
    except LibraryNotFound as error:
        pytest.skip(str(error).splitlines()[0])
    return tmp_path / "cache" / "kernels"


@pytest.fixture
def nvjitlink() -> None:
    try:
        linking_module.linker_version()
    except LibraryNotFound as error:
        pytest.skip(str(error).splitlines()[0])
    if linking_module.linker_version() < program.compiler_version():
        pytest.skip("this nvJitLink is older than the compiler, whose code it cannot read")


def _no_compiling(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: object) -> Code:
        raise AssertionError("compiled again")

    monkeypatch.setattr(program, "_compile", fail)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_cubin_for_each_architecture(architecture: str) -> None:
    code = compile_source(CALLEE + "__global__ void k(float* x) { *x = f(*x); }", architecture)
    assert code.content.startswith(b"\x7fELF")
    assert (code.kind, code.architecture) == ("cubin", architecture)


def test_ptx_and_code_for_linking() -> None:
    assert b".target sm_90" in compile_source(CALLEE, "sm_90", "ptx").content
    assert len(compile_source(CALLEE, "sm_90", "ltoir", options=RELOCATABLE).content) > 100


def test_templates_and_variables_have_names_in_the_code() -> None:
    names = ["scale<float>", "scale<double>", "&place::table"]
    code = compile_source(TEMPLATE, "sm_90", "ptx", names=names)
    assert set(code.lowered) == set(names)
    for symbol in code.lowered.values():
        assert symbol.encode() in code.content
    with pytest.raises(CompilerError, match="NVRTC_ERROR"):
        compile_source(TEMPLATE, "sm_90", names=["missing<float>"])


def test_the_log_is_in_the_error() -> None:
    with pytest.raises(CompilerError, match='identifier "y" is undefined') as caught:
        compile_source("__global__ void k() { y; }", "sm_90")
    assert (caught.value.function, caught.value.name) == ("nvrtcCompileProgram", "NVRTC_ERROR_COMPILATION")
    assert "source.cu(1): error" in caught.value.log


def test_warnings_are_in_the_code_that_comes_from_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    source = "__global__ void k(int* x) { int unused; *x = 1; }"
    first = compile_source(source, "sm_90")
    assert "unused" in first.log
    _no_compiling(monkeypatch)
    assert compile_source(source, "sm_90") == first


def test_headers_given_as_text(monkeypatch: pytest.MonkeyPatch) -> None:
    source = '#include "two.h"\n__global__ void k(int* x) { *x = TWO; }'
    headers = {"two.h": '#include "deep/one.h"\n#define TWO (ONE + ONE)\n', "deep/one.h": "#define ONE 1\n"}
    first = compile_source(source, "sm_90", headers=headers)
    other = compile_source(source, "sm_90", headers=headers | {"deep/one.h": "#define ONE 3\n"})
    assert first.content != other.content
    _no_compiling(monkeypatch)
    assert compile_source(source, "sm_90", headers=headers) == first


def test_a_header_that_changes_is_compiled_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "outer.h").write_text('#include "inner.h"\n')
    (tmp_path / "inner.h").write_text("#define VALUE 1\n")
    source = "#include <outer.h>\n__global__ void k(int* x) { *x = VALUE; }"
    first = compile_source(source, "sm_90", folders=[str(tmp_path)])
    (tmp_path / "inner.h").write_text("#define VALUE 2\n")
    second = compile_source(source, "sm_90", folders=[str(tmp_path)])
    assert first.content != second.content
    (tmp_path / "inner.h").write_text("#define VALUE 1\n")
    _no_compiling(monkeypatch)
    assert compile_source(source, "sm_90", folders=[str(tmp_path)]) == first


def test_what_a_text_includes(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "a.h").write_text('  #  include "b.h"\n')
    (tmp_path / "sub" / "b.h").write_text('#include "a.h"\n#include <cuda_fp16.h>\n')
    (tmp_path / "b.h").write_text("another")
    found = included_files(['#include <sub/a.h>\n// #include "b.h"\n'], [str(tmp_path)])
    assert found is not None
    assert {Path(path).relative_to(tmp_path).as_posix() for path in found} == {"sub/a.h", "sub/b.h"}
    assert included_files(["#include NAME\n"], [str(tmp_path)]) is None


def test_a_header_named_by_a_macro_is_never_taken_from_the_disk(tmp_path: Path, cache: Path) -> None:
    (tmp_path / "a.h").write_text("#define VALUE 1\n")
    source = '#define NAME "a.h"\n#include NAME\n__global__ void k(int* x) { *x = VALUE; }'
    compile_source(source, "sm_90", folders=[str(tmp_path)])
    assert not cache.exists()


def test_half_precision_headers_are_found() -> None:
    source = "#include <cuda_fp16.h>\n__global__ void k(__half* x) { *x = __hadd(*x, *x); }"
    assert compile_source(source, "sm_90").content


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("", "90"), "architecture '90', which is written as sm_90"),
        (("", "compute_90"), "which is written as sm_90"),
        (("", "sm_90", "exe"), "compiled to 'exe'; there are cubin, ptx, ltoir"),
    ],
)
def test_what_is_not_compiled(arguments: tuple[Any, ...], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        compile_source(*arguments)


def test_a_kept_file_that_is_spoilt_is_made_again(cache: Path) -> None:
    made: list[int] = []

    def make() -> Code:
        made.append(1)
        return Code("cubin", "sm_90", b"content\nwith lines", {"a": "b"}, "log")

    for _ in range(2):
        assert kept("cubin", "sm_90", ["parts"], make) == Code(
            "cubin", "sm_90", b"content\nwith lines", {"a": "b"}, "log"
        )
    assert len(made) == 1
    (path,) = cache.iterdir()
    path.write_bytes(path.read_bytes()[:-1])
    kept("cubin", "sm_90", ["parts"], make)
    assert len(made) == 2


@pytest.mark.parametrize("option", ["-I{}", "--include-path={}", "-include={}/two.h", "--pre-include={}/two.h"])
def test_what_options_include_may_change(option: str, tmp_path: Path) -> None:
    given, found = [option.format(tmp_path)], []
    source = "#include <two.h>\n" if "pre" not in option and "-include=" not in option else ""
    for value in (2.5, 3.5):
        (tmp_path / "two.h").write_text(f"__device__ double two = {value};\n")
        found.append(
            compile_source(
                f'{source}extern "C" __global__ void k(double* x) {{ *x = two; }}', "sm_90", "ptx", options=given
            ).content
        )
    assert found[0] != found[1]


def test_macros_come_first() -> None:
    assert with_defines("code", {"A": 1, "B": "x + y"}) == "#define A 1\n#define B x + y\ncode"


@pytest.mark.parametrize("kind", ["cubin", "ptx", "ltoir"])
def test_codes_are_linked(kind: Any, nvjitlink: None, monkeypatch: pytest.MonkeyPatch) -> None:
    codes = [compile_source(source, "sm_90", kind, options=RELOCATABLE) for source in (CALLER, CALLEE)]
    linked = link(codes, "sm_90")
    assert linked.content.startswith(b"\x7fELF")

    def fail(*arguments: object) -> tuple[bytes, str]:
        raise AssertionError("linked again")

    monkeypatch.setattr(linking_module, "_link", fail)
    assert link(codes, "sm_90") == linked


def test_linking_optimises_across_codes(nvjitlink: None) -> None:
    codes = [compile_source(source, "sm_90", "ltoir", options=RELOCATABLE) for source in (CALLER, CALLEE)]
    text = link(codes, "sm_90", "ptx").content
    assert b".entry g" in text
    assert b"call" not in text  # f became part of g


def test_what_is_missing_is_named(nvjitlink: None) -> None:
    with pytest.raises(CompilerError, match="_Z1ff") as caught:
        link([compile_source(CALLER, "sm_90", options=RELOCATABLE)], "sm_90")
    assert caught.value.function == "nvJitLinkComplete"


def test_what_is_not_linked(nvjitlink: None) -> None:
    code = compile_source(CALLEE, "sm_90", options=RELOCATABLE)
    for codes, architecture, to, words in (
        ([], "sm_90", "cubin", "nothing to link"),
        ([code], "90", "cubin", "architecture '90'"),
        ([code], "sm_90", "ptx", "of LTO code to 'ptx'"),
        ([code], "sm_90", "exe", "linked to 'exe'"),
    ):
        with pytest.raises(ValueError, match=words):
            link(codes, architecture, to)  # type: ignore[arg-type]
    with pytest.raises(FileNotFoundError):
        link([code], "sm_90", libraries=["/nowhere/libnothing.a"])
    with pytest.raises(CompilerError, match=r"nvJitLinkCreate: .*--no-such-thing"):
        link([code], "sm_90", options=["--no-such-thing"])


def test_code_that_is_not_linked_is_not_loaded() -> None:
    with pytest.raises(ValueError, match="ltoir cannot be loaded before it is linked"):
        Module.of(make_device(), Code("ltoir", "sm_90", b""))
