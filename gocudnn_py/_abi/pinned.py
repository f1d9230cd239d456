"""The pinned headers: what the recipe names, where they are installed, and how to fetch them."""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
import tempfile
import tomllib
import zipfile
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path

RECIPE = Path(__file__).with_name("recipe.toml")


@dataclass(frozen=True)
class Section:
    """One section of the recipe: a generated module and the headers it is made from."""

    module: str
    wheel: str
    platform: str
    sha256: str
    include: str
    entry: list[str]
    prefix: str
    constants: str
    headers: dict[str, str]
    needs: list[str] = field(default_factory=list)
    enums: dict[str, str] = field(default_factory=dict)
    members: dict[str, str] = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)
    only: list[str] = field(default_factory=list)

    def wants(self, function: str) -> bool:
        """Whether a declared function is kept: not one that is absent, and one of `only` where that is given."""
        named = not self.only or any(re.fullmatch(pattern, function) for pattern in self.only)
        return named and function not in self.absent


class HeadersMissing(Exception):
    """The headers of a section are not on this machine, or are not the pinned ones."""


def recipe() -> dict[str, Section]:
    """Every section of `recipe.toml` by module name, in its order."""
    sections = tomllib.loads(RECIPE.read_text(encoding="utf-8"))
    return {module: Section(module=module, **section) for module, section in sections.items()}


def installed(section: Section, *, any_version: bool = False) -> Path | None:
    """The include folder of the section's installed wheel; of any CUDA major's if any version will do."""
    name, _, version = section.wheel.partition("==")
    for candidate in (name, *(_twins(name) if any_version else ())):
        try:
            package = metadata.distribution(candidate)
        except metadata.PackageNotFoundError:
            continue
        if any_version or package.version == version:
            for file in package.files or ():
                if file.name == section.entry[0]:
                    return Path(str(package.locate_file(file))).parent
    return None


def _twins(name: str) -> tuple[str, ...]:
    stem = name.removesuffix("-cu12").removesuffix("-cu13")
    return tuple(twin for twin in (stem, f"{stem}-cu12", f"{stem}-cu13") if twin != name)


def locate(section: Section, folder: Path | None, *, any_version: bool = False) -> Path:
    """The folder of the section's headers: the one given if it has them, else the installed wheel's."""
    found = folder if folder and (folder / section.entry[0]).is_file() else None
    found = found or installed(section, any_version=any_version)
    if found is None:
        places = "not installed" if folder is None else f"neither installed nor in {folder}"
        raise HeadersMissing(
            f"{section.module}: the headers of {section.wheel} are {places}; "
            f"fetch them with: python -m gocudnn_py._abi.generate --fetch FOLDER"
        )
    if not any_version:
        _verify(section, found)
    return found


def _verify(section: Section, folder: Path) -> None:
    for name, pinned in section.headers.items():
        found = hashlib.sha256((folder / name).read_bytes()).hexdigest()
        if found != pinned:
            raise HeadersMissing(
                f"{section.module}: {folder / name} is not the pinned one of {section.wheel} "
                f"(sha256 {found[:12]}, pinned {pinned[:12]})"
            )


def fetch(sections: list[Section], folder: Path) -> None:
    """Download the wheels that are not installed, checked by hash, and keep only the pinned headers."""
    folder.mkdir(parents=True, exist_ok=True)
    missing = [s for s in sections if installed(s) is None and not (folder / s.entry[0]).is_file()]
    for wheel in dict.fromkeys((s.wheel, s.sha256, s.platform) for s in missing):
        with tempfile.TemporaryDirectory() as scratch, zipfile.ZipFile(_download(*wheel, scratch)) as archive:
            for section in (s for s in missing if s.wheel == wheel[0]):
                for name in section.headers:
                    (folder / name).write_bytes(archive.read(f"{section.include}/{name}"))
    for section in missing:
        _verify(section, folder)


def _download(wheel: str, sha256: str, platform: str, folder: str) -> Path:
    wanted = Path(folder, "wanted.txt")
    wanted.write_text(f"{wheel} --hash=sha256:{sha256}\n", encoding="utf-8")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes"]
    source = ["--only-binary=:all:", f"--platform={platform}", f"--requirement={wanted}"]
    subprocess.run([*command, *source, f"--dest={folder}"], check=True)
    return next(Path(folder).glob("*.whl"))
