"""The sub-libraries of cuDNN and NPP: which are loaded when, and from where."""

from __future__ import annotations

import ctypes
from pathlib import Path

from gocudnn_py.finding import cudnn_file, find

START = ("graph", "ops", "cnn", "heuristic")
NPP = {
    "nppi_arithmetic_and_logical_operations.h": "nppial",
    "nppi_color_conversion.h": "nppicc",
    "nppi_data_exchange_and_initialization.h": "nppidei",
    "nppi_filtering_functions.h": "nppif",
    "nppi_geometry_transforms.h": "nppig",
    "nppi_morphological_operations.h": "nppim",
    "nppi_statistics_functions.h": "nppist",
    "nppi_threshold_and_compare_operations.h": "nppitc",
}
LATER = {"cudnn_adv.h": "adv", "cudnn_gnn_ops.h": "ext", "cudnn_subquadratic_ops.h": "ext"}


class Parts:
    """cuDNN's sub-libraries, loaded by absolute path from cuDNN's own folder before cuDNN searches for them.

    cuDNN opens them by bare name, which may find a system copy; a file that is mapped already is what it
    gets.
    """

    def __init__(self, directory: str) -> None:
        self.directory = Path(directory)
        self.loaded: dict[str, str] = {}
        self.failed: dict[str, str] = {}

    def start(self) -> None:
        """Load what every use needs; the engines last, for they need the graph part."""
        for part in (*START, *self._engines()):
            self._load(part)

    def _engines(self) -> list[str]:
        before, after = cudnn_file("engines_*").split("engines_*")
        names = sorted(path.name for path in self.directory.glob(cudnn_file("engines_*")))
        return [name[len(before) : -len(after)] for name in names]

    def need(self, header: str) -> None:
        """Load the part that a header's functions need, if it is not one of those loaded at start."""
        part = LATER.get(header)
        if part and part not in self.loaded:
            self._load(part)

    def present(self, part: str) -> bool:
        """Whether this cuDNN comes with the part: the jit package has the graph API alone."""
        return (self.directory / cudnn_file(part)).is_file()

    def _load(self, part: str) -> None:
        path = self.directory / cudnn_file(part)
        if not self.present(part):
            self.failed[part] = "not in this cuDNN"
            return
        try:
            ctypes.CDLL(str(path))
        except OSError as error:
            self.failed[part] = str(error)  # the runtime engines need a driver: without one, all else works
        else:
            self.loaded[part] = str(path)


class NppParts:
    """NPP's libraries, one a header, each opened when the first of its functions is bound."""

    def __init__(self) -> None:
        self.loaded: dict[str, str] = {}
        self.failed: dict[str, str] = {}
        self._open: dict[str, ctypes.CDLL] = {}

    def need(self, header: str) -> ctypes.CDLL | None:
        """The library that a header's functions lie in, None for NPP's core. Raises LibraryNotFound."""
        name = NPP.get(header)
        if name is None:
            return None
        if name not in self._open:
            self.loaded[name] = find(name).path
            self._open[name] = ctypes.CDLL(self.loaded[name])
        return self._open[name]
