"""The kernels of this package by name, with their parameters, and the one way to launch them."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from gocudnn_py import driver
from gocudnn_py.cuda import DeviceBuffer, Kernel, Module, Scalar
from gocudnn_py.kernels import read_source
from gocudnn_py.xtra.array import DeviceArray

if TYPE_CHECKING:
    from gocudnn_py.cuda import Device, Stream

THREADS = 256
PACKS = 2  # of 16 bytes that a thread takes at a time, as in kernels/pack.cuh
SPAN = 16 * THREADS  # elements that a block takes at a time in kernels/xtra/losses.cu and update.cu
LETTERS = {
    "p": Scalar.pointer,
    "i": Scalar.int32,
    "u": Scalar.uint32,
    "q": Scalar.int64,
    "Q": Scalar.uint64,
    "f": Scalar.float32,
    "d": Scalar.float64,
}
KERNELS = {
    "move": ("move", "ppqiiiu" + 24 * "q" + 8 * "i"),
    "copy_box": ("box", "ppq" + 24 * "q"),
    "transpose": ("transpose", "ppqqqquu" + 6 * "u" + 12 * "q"),
    "fill": ("elementwise", "pQqi"),
    "cast": ("elementwise", "ppqi"),
    "scale": ("elementwise", "ppfqi"),
    "add": ("elementwise", "pppffqi"),
    "leaky_relu": ("elementwise", "ppfffqi"),
    "leaky_relu_backward": ("elementwise", "pppfffqi"),
    "slopes_forward": ("slopes", "pppppqqqi"),
    "slopes_backward": ("slopes", "ppppppqqqi"),
    "slopes_of_planes": ("slopes", "ppppqqqi"),
    "slopes_of_rows": ("slopes", "ppppqqqii"),
    "finish_slopes": ("slopes", "pppqqi"),
    "exchange_rows": ("rows", "ppqqqqq"),
    "take_rows": ("rows", "pppqqq"),
    "join_rows": ("join", 9 * "p" + 10 * "q"),
    "cut_rows": ("join", 9 * "p" + 10 * "q"),
    "one_hot": ("one_hot", "ppddqqqi"),
    "sum_windows": ("windows", "ppqqiiiiiiii"),
    "resize_nearest": ("resize", "ppqqqiiiiqqqqqq"),
    "resize_nearest_backward": ("resize_backward", "ppqqqiiiiqqqqqq"),
    "resize_bilinear": ("resize", "ppqqqiiiifff"),
    "resize_bilinear_backward": ("resize_backward", "ppqqqiiiifff"),
    "squared_error": ("losses", "ppppqqidi"),
    "softmax_cross_entropy": ("losses", "pppppqqqf"),
    "finish_sums": ("losses", "ppqid"),
    "update_all": ("update", "piqppq" + 9 * "d"),
    "regularize_all": ("update", "piqpddd"),
    "finish_penalties": ("update", "ppidd"),
    "normalize_images": ("images", "ppqqi" + 8 * "f"),
    "turn_images": ("images", "ppqq" + 8 * "f"),
    "random_bits": ("random", "pqQuu"),
    "random_uniform": ("random", "pqQuuff"),
    "random_normal": ("random", "pqQuuff"),
}
"""Each kernel's file in kernels/xtra and the types of its parameters, by LETTERS."""

Defines = tuple[tuple[str, object], ...]
_kernels: dict[tuple[int, str, Defines], Kernel] = {}
_modules: dict[tuple[int, str, Defines], Module] = {}
_lock = threading.Lock()


def kernel_of(device: Device, name: str, defines: Defines) -> Kernel:
    """A kernel compiled for a device and defines, once in this process."""
    key = device.ordinal, name, defines
    if key not in _kernels:
        with _lock:
            _kernels[key] = _loaded(device, name, defines)
    return _kernels[key]


def _loaded(device: Device, name: str, defines: Defines) -> Kernel:
    source, parameters = KERNELS[name]
    key = device.ordinal, source, defines
    if key not in _modules:
        _modules[key] = Module(device, read_source(f"xtra/{source}.cu"), dict(defines))
    return _modules[key].kernel(name, [LETTERS[letter] for letter in parameters])


def launch(
    stream: Stream,
    name: str,
    blocks: int | Sequence[int],
    arguments: Sequence[Any],
    defines: Mapping[str, object],
    *,
    shared: int = 0,
) -> None:
    """Launch a kernel by name; arrays among the arguments are pointers, None is a null pointer (cuLaunchKernelEx)."""
    stream.device.enter()
    kernel = kernel_of(stream.device, name, tuple(sorted(defines.items())))
    grid = [blocks] if isinstance(blocks, int) else blocks
    kernel.launch(stream, grid, [THREADS], [_plain(argument) for argument in arguments], shared=shared)
    hold(stream, *(argument.place for argument in arguments if isinstance(argument, DeviceArray)))


def _plain(argument: Any) -> Any:
    if argument is None:
        return 0
    return argument.address if isinstance(argument, DeviceArray) else argument


def hold(stream: Stream, *places: Any) -> None:
    """Tell buffers that a stream has been given work on them, for which giving them back then waits."""
    stream.uses(*(place for place in places if hasattr(place, "used_on")))


def copy(stream: Stream, source: DeviceArray, target: DeviceArray) -> None:
    """Copy what lies together on one GPU (cuMemcpyDtoDAsync_v2)."""
    stream.device.enter()
    driver.copy_device(target.address, source.address, source.nbytes, stream.handle)
    hold(stream, source.place, target.place)


def room(stream: Stream, nbytes: int, *, zeroed: bool = False) -> Any:
    """New memory of a stream's device (cuMemAllocFromPoolAsync, cuMemsetD8Async)."""
    return DeviceBuffer(stream, nbytes, zeroed=zeroed)


def scratch(stream: Stream, nbytes: int, workspace: Any = None) -> DeviceArray:
    """Room for `nbytes` while a call lasts: the caller's workspace, or memory of the stream's own.

    Raises ValueError when the workspace is too small, or there is none within a capture, which may not allocate.
    """
    if workspace is not None:
        return DeviceArray(workspace, (nbytes,), "uint8")
    if stream.capturing:
        raise ValueError(f"within a capture give a workspace of {nbytes} bytes, for nothing may be allocated")
    return DeviceArray(room(stream, nbytes), (nbytes,), "uint8")
