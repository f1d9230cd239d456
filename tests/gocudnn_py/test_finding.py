"""Where libraries are looked for, and what the answers say; no library is loaded here."""

from __future__ import annotations

from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest

from gocudnn_py import driver, finding, report
from gocudnn_py.errors import LibraryNotFound, NoDevice, VersionMismatch
from gocudnn_py.loading import file_major


@pytest.mark.parametrize(
    ("path", "major"),
    [
        ("/x/libnvrtc.so.12", 12),
        ("/x/libcublasLt.so.13.10.0.20", 13),
        ("C:\\x\\nvrtc64_120_0.dll", 12),
        ("cublasLt64_13.dll", 13),
        ("/x/libcuda.so", None),
    ],
)
def test_the_cuda_major_is_in_the_file_name(path: str, major: int | None) -> None:
    assert file_major(path) == major


@pytest.mark.parametrize(
    ("name", "matches"),
    [
        ("libcudnn.so.9", (None, None, "9")),
        ("libcudnn.so.9.19.0", (None, None, "9")),
        ("libcudnn_engines_precompiled.so.9", ("_engines_precompiled", None, "9")),
        ("cudnn64_9.dll", (None, "9", None)),
        ("cudnn_ops64_9.dll", ("_ops", "9", None)),
        ("libcudnn_ops_infer.so.8", ("_ops_infer", None, "8")),
    ],
)
def test_cudnns_files_are_recognised(name: str, matches: tuple[str | None, ...]) -> None:
    found = finding.CUDNN_FILE.fullmatch(name)
    assert found is not None
    assert found.groups() == matches


@pytest.mark.parametrize("name", ["libcudnn_frontend.so.1", "libmycudnn.so.9", "libcublas.so.12"])
def test_other_files_are_not_cudnns(name: str) -> None:
    assert finding.CUDNN_FILE.fullmatch(name) is None


def mapped(monkeypatch: pytest.MonkeyPatch, *files: Path) -> None:
    monkeypatch.setattr(finding, "mapped_files", lambda: [str(file) for file in files])


def test_nothing_mapped(monkeypatch: pytest.MonkeyPatch) -> None:
    mapped(monkeypatch, Path("/lib/libc.so.6"))
    assert finding.mapped_cudnn() is None


def test_a_part_alone_gives_away_its_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / finding.cudnn_file()).touch()
    mapped(monkeypatch, tmp_path / finding.cudnn_file("graph"))
    assert finding.mapped_cudnn() == (str(tmp_path / finding.cudnn_file()), finding.ADOPTED)


def test_cudnn_8_in_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    mapped(monkeypatch, Path("/opt/libcudnn_ops_infer.so.8"))
    with pytest.raises(VersionMismatch, match=r"cuDNN 9 is needed, but .* /opt/libcudnn_ops_infer\.so\.8"):
        finding.mapped_cudnn()


@pytest.mark.parametrize("part", ["lib", "lib64", "bin", "."])
def test_cudnn_path_is_looked_through(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, part: str) -> None:
    mapped(monkeypatch)
    file = tmp_path / part / finding.cudnn_file()
    file.parent.mkdir(exist_ok=True)
    file.touch()
    monkeypatch.setenv("CUDNN_PATH", str(tmp_path))
    assert finding.find_cudnn() == (str(file), f"CUDNN_PATH={tmp_path}")


def test_cudnn_path_without_cudnn(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    mapped(monkeypatch)
    monkeypatch.setenv("CUDNN_PATH", str(tmp_path))
    with pytest.raises(LibraryNotFound, match=r"is in none of .* \(CUDNN_PATH=.*\)") as raised:
        finding.find_cudnn()
    assert str(tmp_path / "lib64") in str(raised.value)
    assert "pip install 'gocunets[cu1" in str(raised.value)


def test_what_is_mapped_goes_before_cudnn_path(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / finding.cudnn_file()).touch()
    mapped(monkeypatch, tmp_path / finding.cudnn_file())
    monkeypatch.setenv("CUDNN_PATH", "/elsewhere")
    assert finding.find_cudnn().source == finding.ADOPTED
    assert "CUDNN_PATH=/elsewhere is not used: cuDNN is already loaded from" in caplog.text


@pytest.mark.parametrize(
    ("packages", "cuda", "major"),
    [
        ({"cuda-bindings": "12.9.10"}, 13, 12),
        ({"cuda-bindings": "13.0.3", "nvidia-cudnn-cu12": "9.28.0.42"}, None, 13),
        ({"nvidia-cudnn-cu12": "9.28.0.42"}, None, 12),
        ({}, 12, 12),
        ({}, 14, 13),
        ({}, None, None),
    ],
)
def test_which_cuda_to_install_for(
    monkeypatch: pytest.MonkeyPatch, packages: dict[str, str], cuda: int | None, major: int | None
) -> None:
    def version() -> tuple[int, int]:
        if cuda is None:
            raise NoDevice("none")
        return cuda, 0

    monkeypatch.setattr(finding, "installed", packages.get)
    monkeypatch.setattr(driver, "version", version)
    assert finding.cuda_major() == major


@pytest.mark.parametrize(("bindings", "cuda"), [("13.4.4", 13), ("12.9.1", 13), (None, 12)])
def test_drivers_that_run_the_packages(monkeypatch: pytest.MonkeyPatch, bindings: str | None, cuda: int) -> None:
    monkeypatch.setattr(finding, "installed", {"cuda-bindings": bindings}.get)
    monkeypatch.setattr(driver, "version", lambda: (cuda, 4))
    finding.check_driver()


def test_a_driver_that_is_too_old(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(finding, "installed", {"cuda-bindings": "13.4.4"}.get)
    monkeypatch.setattr(driver, "version", lambda: (12, 4))
    monkeypatch.setattr(driver, "gpus", lambda: [driver.Gpu(0, "NVIDIA L4", (8, 9), 24 << 30)])
    words = r"runs CUDA up to 12\.4, .* newer \(cuda-bindings 13\.4\.4\): update the driver, .*the extra \[cu12\]"
    with pytest.raises(VersionMismatch, match=words):
        finding.check_driver()
    assert any("update the driver" in line.text and not line.good for line in report.findings())


def install(site: Path, wheel: str, files: dict[str, bytes], *, kept: bool = True) -> None:
    """Write a wheel as pip does: the files and the record of their sizes."""
    folder = site / f"{wheel.replace('-', '_')}-9.0.dist-info"
    folder.mkdir(parents=True)
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {wheel}\nVersion: 9.0\n")
    (folder / "RECORD").write_text("".join(f"nvidia/cudnn/lib/{n},,{len(b)}\n" for n, b in files.items()))
    lib = site / "nvidia/cudnn/lib"
    lib.mkdir(parents=True, exist_ok=True)
    for name, content in files.items() if kept else ():
        (lib / name).write_bytes(content)


OLD = {"libcudnn.so.9": b"12", "libcudnn_ops.so.9": b"12"}
NEW = {"libcudnn.so.9": b"013", "libcudnn_ops.so.9": b"013"}


def check(monkeypatch: pytest.MonkeyPatch, site: Path) -> None:
    monkeypatch.syspath_prepend(str(site))
    finding.check_wheels(str(site / "nvidia/cudnn/lib"))


def test_one_wheel_is_fine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    install(tmp_path, "nvidia-cudnn-cu12", OLD)
    check(monkeypatch, tmp_path)


def test_two_wheels_the_last_of_which_won_everywhere(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    install(tmp_path, "nvidia-cudnn-cu12", OLD)
    install(tmp_path, "nvidia-cudnn-cu13", NEW)
    check(monkeypatch, tmp_path)
    assert "both cuDNN wheels are installed; nvidia-cudnn-cu13 wrote" in caplog.text


def test_two_wheels_and_a_cudnn_that_is_neithers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    install(tmp_path, "nvidia-cudnn-cu12", OLD)
    install(tmp_path, "nvidia-cudnn-cu13", NEW)
    monkeypatch.syspath_prepend(str(tmp_path))
    finding.check_wheels("/usr/lib")


def test_two_wheels_that_overwrote_each_other(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    install(tmp_path, "nvidia-cudnn-cu12", OLD)
    install(tmp_path, "nvidia-cudnn-cu13", NEW)
    (tmp_path / "nvidia/cudnn/lib/libcudnn_ops.so.9").write_bytes(b"12")
    with pytest.raises(VersionMismatch, match="are both installed and have overwritten each other's files"):
        check(monkeypatch, tmp_path)


def test_the_wheel_with_the_graph_api_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    whole = finding.Place("/whole/libcudnn.so.9", "pathfinder")
    spec = ModuleSpec("nvidia", None, is_package=True)
    mapped(monkeypatch)
    monkeypatch.delenv("CUDNN_PATH", raising=False)
    monkeypatch.setattr(finding, "find", lambda name: whole)
    monkeypatch.setattr(finding, "find_spec", lambda name: None)
    assert finding.find_cudnn() == whole
    monkeypatch.setattr(finding, "find_spec", lambda name: spec)
    spec.submodule_search_locations = [str(tmp_path / "other"), str(tmp_path)]
    assert finding.find_cudnn() == whole
    file = tmp_path / "cudnn_jit" / "lib" / finding.cudnn_file()
    file.parent.mkdir(parents=True)
    with pytest.raises(LibraryNotFound, match=r"is in none of .*cudnn_jit/lib, .*graph API alone"):
        finding.find_cudnn()
    file.touch()
    assert finding.find_cudnn() == (str(file), "the wheel with the graph API alone")
    (tmp_path / "other" / "cudnn").mkdir(parents=True)
    assert finding.find_cudnn() == whole


def test_no_pathfinder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "cuda.pathfinder", None)
    with pytest.raises(LibraryNotFound, match="cuda-pathfinder was not found"):
        finding.find("cudnn")


def test_an_unknown_library() -> None:
    pytest.importorskip("cuda.pathfinder")
    with pytest.raises(LibraryNotFound, match="cudnn_nonsense was not found"):
        finding.find("cudnn_nonsense")
