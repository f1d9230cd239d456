"""One class for every C library: functions bound on first use, which raise instead of returning a status.

    lib = load("cudnn")                     # found, loaded and audited once a process
    lib.cudnnGetVersion()                   # bound now; later calls skip the binding
    lib.cudnnSetTensor4dDescriptor(d, TensorFormat.NHWC, DataType.HALF, 32, 64, 56, 56)

Names, argument order and types are C's own, from the generated tables in `_abi`. A pointer is an int, None,
`ctypes.byref(...)`, a ctypes array or a `c_void_p`; an IntEnum or an int serves for an enumeration.
"""

from __future__ import annotations

import ctypes
import difflib
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Literal, overload

from gocudnn_py._abi.base import Answer, Function
from gocudnn_py.errors import NotInThisVersion, StatusError

if TYPE_CHECKING:
    from gocudnn_py._abi.cublas import CuBLAS
    from gocudnn_py._abi.cublaslt import CuBLASLt
    from gocudnn_py._abi.cudnn import CuDNN
    from gocudnn_py._abi.curand import CuRAND
    from gocudnn_py._abi.npp import NPP
    from gocudnn_py._abi.nvjpeg import NvJPEG
    from gocudnn_py.parts import NppParts, Parts

Name = Literal["cudnn", "cublas", "cublaslt", "curand", "nvjpeg", "npp"]


class Library:
    """A loaded C library; its functions are its attributes.

    `version` is (major, minor, patch), `path` the file, `source` how it was found. `explain` makes the
    exception for a function's name and status, or a warning; `parts` are sub-libraries that some functions need
    before they are bound, or lie in.
    """

    version: tuple[int, ...]

    def __init__(
        self,
        name: str,
        path: str,
        functions: Mapping[str, Function],
        explain: Callable[[Library, str, int], StatusError | Warning],
        *,
        source: str = "",
        parts: Parts | NppParts | None = None,
    ) -> None:
        self.name, self.path, self.source = name, path, source
        self.version = ()
        self._functions, self._explain, self.parts = functions, explain, parts
        self._dll = ctypes.CDLL(path)

    def __getattr__(self, name: str) -> Any:
        # Reached only while the attribute is not there: the bound function is stored beside it.
        if name.startswith("_"):
            raise AttributeError(name)
        row = self._functions.get(name)
        if row is None:
            raise AttributeError(f"{self.name} has no function {name}{self._suggestion(name)}")
        function = self._bind(name, row)
        setattr(self, name, function)
        return function

    def __dir__(self) -> Iterator[str]:
        yield from super().__dir__()
        yield from self._functions

    def __repr__(self) -> str:
        return f"<{self.name} {'.'.join(map(str, self.version))} from {self.path}>"

    def _bind(self, name: str, row: Function) -> Any:
        place = self.parts.need(row.header) if self.parts is not None else None
        try:
            function: Any = (place or self._dll)[name]
        except AttributeError:
            raise NotInThisVersion(name, self.name, self.version, self.path) from None
        function.argtypes = row.arguments
        if row.result is Answer:
            function.restype, function.errcheck = ctypes.c_int, self._check
        else:
            function.restype = row.result
        return function

    def plain(self, name: str) -> Any:
        """A function that converts no argument and checks no answer: for ctypes objects that are ready to pass."""
        getattr(self, name)  # NotInThisVersion, and the part that it lies in
        return self._dll[name]

    def fail(self, name: str, status: int) -> None:
        """Raise, or warn of, what a function answered with."""
        problem = self._explain(self, name, status)
        if isinstance(problem, StatusError):
            raise problem
        warnings.warn(problem, stacklevel=3)

    def _check(self, status: int, function: Any, arguments: tuple[Any, ...]) -> None:
        if status:
            self.fail(function.__name__, status)

    def _suggestion(self, name: str) -> str:
        close = difflib.get_close_matches(name, self._functions, n=1)
        return f"; did you mean {close[0]}?" if close else ""


_loaded: dict[str, Library] = {}
_loading = threading.RLock()


@overload
def load(name: Literal["cudnn"]) -> CuDNN: ...
@overload
def load(name: Literal["cublas"]) -> CuBLAS: ...
@overload
def load(name: Literal["cublaslt"]) -> CuBLASLt: ...
@overload
def load(name: Literal["curand"]) -> CuRAND: ...
@overload
def load(name: Literal["nvjpeg"]) -> NvJPEG: ...
@overload
def load(name: Literal["npp"]) -> NPP: ...
def load(name: Name) -> Library:
    """Find, load and audit a library on the first call of a process; the same object ever after.

    Raises LibraryNotFound, VersionMismatch.
    """
    library = _loaded.get(name)
    if library is None:
        from gocudnn_py import loading  # not needed by those who only describe, and slow to import

        if name not in loading.OPENERS:
            raise ValueError(f"no library {name!r}; there are {', '.join(loading.OPENERS)}")
        with _loading:
            library = _loaded.get(name) or loading.OPENERS[name]()
            _loaded[name] = library
    return library
