"""cuDNN's sub-libraries: which are loaded when, and from where."""

from __future__ import annotations

import ctypes
from pathlib import Path

from gocudnn_py.finding import cudnn_file

START = ("graph", "ops", "cnn", "heuristic")
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
        """Load the part that a header's functions live in, if it is not one of those loaded at start."""
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
