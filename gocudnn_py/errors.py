"""What gocudnn_py raises.

GocudnnError
├── LibraryNotFound      a library or package is not installed; the message holds the command that installs it
├── NotInThisVersion     the loaded library has no such function (an AttributeError too)
├── VersionMismatch      libraries of different versions or CUDA majors in one process
├── NoDevice             no NVIDIA driver, or no GPU
├── OutOfMemory          a GPU has not the memory that was asked for: .asked .free .total
├── UnusableResource     an object that is closed, or was made before a fork
├── GraphRefused         cuDNN refuses an operation of a graph, or has no engine for it: .operation .reasons
└── StatusError          what a library answered: .function .status .name .library_message
    ├── CudnnError
    │   ├── SetupFailed        1xxx: not initialised, sub-libraries, licence
    │   ├── BadParameter       2xxx
    │   ├── NotSupported       3xxx: and what to change
    │   ├── InternalError      4xxx
    │   └── ExecutionFailed    5xxx
    ├── CublasError      cuBLAS and cuBLASLt
    ├── CurandError      cuRAND
    ├── NvjpegError      nvJPEG
    ├── NppError         NPP; what it only warns of is a NppWarning
    ├── NcclError        NCCL
    ├── CudaError        the CUDA driver
    └── CompilerError    NVRTC or nvJitLink refuses its input: .log

Misuse that is seen before a library is asked is a ValueError or TypeError.
"""

from __future__ import annotations

from collections.abc import Sequence


class GocudnnError(Exception):
    """The root of everything raised here."""


class LibraryNotFound(GocudnnError):
    """A library or package is not on this machine."""

    def __init__(self, what: str, why: str, major: int | None = None) -> None:
        super().__init__(f"{what} was not found: {why}\nTo install it: {install_command(major, what)}")


class NotInThisVersion(GocudnnError, AttributeError):
    """The loaded library has no such function.

    An AttributeError as well, so that `hasattr(lib, name)` is the way to ask.
    """

    def __init__(self, function: str, library: str, version: Sequence[int], path: str) -> None:
        self.function = function
        number = ".".join(map(str, version))
        super().__init__(f"{function} is not in {library} {number}, loaded from {path}")


class VersionMismatch(GocudnnError):
    """Libraries that do not belong together, or one that is too old."""


class NoDevice(GocudnnError):
    """There is no NVIDIA driver or no GPU to work on."""


class OutOfMemory(GocudnnError):
    """A GPU has not the memory that was asked for; all three are bytes."""

    def __init__(self, asked: int, free: int, total: int) -> None:
        super().__init__(
            f"{asked:,} bytes of GPU memory were asked for; {free:,} of {total:,} are free "
            "(other processes and unused networks hold the rest)"
        )
        self.asked, self.free, self.total = asked, free, total


class UnusableResource(GocudnnError):
    """An object that is closed, or was made before a fork."""


class GraphRefused(GocudnnError):
    """cuDNN refuses an operation of an operation graph, or has no engine that does the whole of it.

    `operation` is the one that was refused, as text, empty when each is well and only no engine was found;
    `reasons` are the library's own words, one for each engine that was tried.
    """

    def __init__(self, message: str, operation: str = "", reasons: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.operation, self.reasons = operation, tuple(reasons)


class StatusError(GocudnnError):
    """A library answered with an error status.

    `name` is the library's word for the status, `library_message` its explanation, empty when it gave none.
    """

    def __init__(self, function: str, status: int, name: str, library_message: str = "") -> None:
        self.function, self.status, self.name = function, status, name
        self.library_message = library_message
        super().__init__(f"{function}: {name} ({status})" + self._explanation())

    def _explanation(self) -> str:
        return f": {self.library_message}" if self.library_message else ""


class CudnnError(StatusError):
    """cuDNN answered with an error; the subclass says in which thousand."""


class SetupFailed(CudnnError):
    """1xxx: cuDNN could not start, load its parts or read a plan."""


class BadParameter(CudnnError):
    """2xxx: cuDNN refused an argument."""


class NotSupported(CudnnError):
    """3xxx: cuDNN has nothing that does this here; the message says what to change."""

    def _explanation(self) -> str:
        hint = HINTS.get(self.status, HINTS[3000])
        return f"{super()._explanation()}\n{hint}"


class InternalError(CudnnError):
    """4xxx: cuDNN failed inside."""


class ExecutionFailed(CudnnError):
    """5xxx: a kernel, or a library that cuDNN calls, failed."""


class CublasError(StatusError):
    """cuBLAS or cuBLASLt answered with an error."""


class CurandError(StatusError):
    """cuRAND answered with an error."""


class NvjpegError(StatusError):
    """nvJPEG answered with an error."""


class NppError(StatusError):
    """NPP answered with an error."""


class NppWarning(UserWarning):
    """NPP did what it was asked, and says what is odd about it."""


class NcclError(StatusError):
    """NCCL answered with an error."""


class CompilerError(StatusError):
    """NVRTC or nvJitLink refuses what it was given; `log` is all that it says about it."""

    @property
    def log(self) -> str:
        """The compiler's messages."""
        return self.library_message


class CudaError(StatusError):
    """The CUDA driver answered with an error."""


CUDNN_KINDS = {1: SetupFailed, 2: BadParameter, 3: NotSupported, 4: InternalError, 5: ExecutionFailed}

HINTS = {
    3000: "Try another algorithm, data type or layout; CUDNN_LOGLEVEL_DBG=2 logs the check that failed.",
    3001: "Split the operation graph: no engine runs this pattern as one.",
    3002: "Change the shape: pad the channels to a multiple of 8, or shrink the filter, stride or dilation.",
    3003: "Change the data types: inputs, outputs and compute type must be a listed combination.",
    3004: "Change the strides: channels last (NHWC) is what most fused engines take.",
    3005: "Update the NVIDIA driver.",
    3006: "Install CUDA libraries of the major version that this cuDNN was built for.",
    3007: "This GPU's architecture has no such engine: choose another one.",
    3008: "Something is missing at run time: is NVRTC loaded, and the driver installed?",
    3009: "This cuDNN comes without that sub-library (the jit package does): install the full one.",
    3010: "Use smaller tiles, a smaller filter or another engine: the GPU has too little shared memory.",
    3011: "Change the padding: this engine takes none, or only padding smaller than the filter.",
    3012: "Change the shape: a launch would exceed what the GPU allows.",
    3013: "This plan cannot go into a CUDA graph natively: capture its execution, or choose another engine.",
    3014: "Build the plan again for this shape: it is outside what the dynamic-shape plan accepts.",
}


def cudnn_error(function: str, status: int, name: str, library_message: str = "") -> CudnnError:
    """The exception for a cuDNN status; a thousand that we do not know is a plain CudnnError."""
    kind = CUDNN_KINDS.get(status // 1000, CudnnError)
    return kind(function, status, name, library_message)


def install_command(major: int | None = None, what: str = "") -> str:
    """The pip command for one CUDA major, or for both when it is not known which, that brings a library."""
    more = "-all" if what.startswith(("curand", "nvjpeg", "npp")) else "-nccl" if what.startswith("nccl") else ""
    commands = {number: f"pip install 'gocunets[cu{number}{more}]'" for number in (12, 13)}
    return commands.get(major or 0, f"{commands[13]} (CUDA 13) or {commands[12]} (CUDA 12)")
