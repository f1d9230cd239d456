"""Causal convolutions along a sequence, one filter a channel: direct, fused in pairs (Hyena), and by FFT.

The functions are newer than cuDNN 9.19: an older one answers with NotInThisVersion. Work goes to a stream without a
cuDNN handle. Data are packed; x and y are (batch, channels, length) unless said otherwise. cuDNN compiles those of
channels last and the FFTs by NVRTC when a process first calls them: the former take 5 to 20 seconds each.
"""

from __future__ import annotations

import ctypes
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from gocudnn_py._abi.cudnn import CausalConv1dActivation, DataType
from gocudnn_py.cudnn.descriptor import int32
from gocudnn_py.cudnn.place import checked, entered
from gocudnn_py.dtypes import DType, cudnn_dtype, numpy_dtype
from gocudnn_py.library import load

if TYPE_CHECKING:
    from gocudnn_py.cuda import Stream

TYPES = (DataType.FLOAT, DataType.DOUBLE, DataType.HALF, DataType.BFLOAT16)
FFT_TAPS = (128, 16384)
LONG_LENGTH = (4096, 2**24)
ALIGN = 16  # bytes, of everything that the FFTs touch


def check_version() -> None:
    """Whether these functions are of the library's version, else SetupFailed (cudnnSubquadraticOpsVersionCheck)."""
    load("cudnn").cudnnSubquadraticOpsVersionCheck()


@dataclass(frozen=True, slots=True)
class _Sequence:
    batch: int
    channels: int
    length: int

    def _check(self, dtype: DType) -> None:
        for what in ("batch", "channels", "length"):
            int32(what, getattr(self, what), least=1)
        code = cudnn_dtype(dtype)
        if code not in TYPES:
            raise ValueError(f"a causal convolution takes {', '.join(each.name for each in TYPES)}, not {code.name}")

    @property
    def _dims(self) -> tuple[int, int, int]:
        return self.batch, self.channels, self.length

    def _data(self, what: str, place: Any, dtype: DType, *, times: int = 1) -> int:
        """The address of as many numbers as x has, or `times` as many."""
        return checked(what, place, times * math.prod(self._dims) * numpy_dtype(dtype).itemsize)

    def _filter(self, what: str, place: Any, dtype: DType, taps: int) -> int:
        """The address of `taps` numbers a channel."""
        return checked(what, place, self.channels * taps * numpy_dtype(dtype).itemsize)

    def _aligned(self, dtype: DType, taps: int, **places: Any) -> tuple[int, ...]:
        """The addresses of what an FFT touches: w and dw are filters, all else is as large as x.

        They must not take the buffers' names: nobody else may hold those until the work is given to the stream.
        """
        item = numpy_dtype(dtype).itemsize
        data, filters = math.prod(self._dims) * item, self.channels * taps * item
        sizes = {what: filters if what in ("w", "dw") else data for what in places}
        return tuple(checked(what, place, sizes[what], align=ALIGN) for what, place in places.items())


def _between(what: str, value: int, least: int, most: int) -> None:
    if not least <= int32(what, value) <= most:
        raise ValueError(f"{what} is {value}, outside {least} to {most}")


def _power(what: str, value: int, limits: tuple[int, int]) -> None:
    least, most = limits
    if not least <= int32(what, value) <= most or value & (value - 1):
        raise ValueError(f"{what} is {value}, no power of two from {least} to {most}")


def gradient_type(dtype: DType) -> DataType:
    """The type of the gradients of filters and biases of direct convolutions: DOUBLE for it, FLOAT for all else."""
    return DataType.DOUBLE if cudnn_dtype(dtype) is DataType.DOUBLE else DataType.FLOAT


@dataclass(frozen=True, slots=True)
class CausalConvolution(_Sequence):
    """y[t] = activation(b + sum over j of x[t - j] w[taps - 1 - j]): the last tap meets the present.

    w is (channels, taps) of 2 to 256 taps. With `channels_last` x and y are (batch, length, channels) and w is
    (taps, channels) of at most 128 taps.
    """

    taps: int
    dtype: DType = np.float32
    activation: CausalConv1dActivation = CausalConv1dActivation.IDENTITY
    channels_last: bool = False

    def __post_init__(self) -> None:
        self._check(self.dtype)
        _between("taps", self.taps, 2, 128 if self.channels_last else 256)

    def forward(self, stream: Stream, x: Any, w: Any, b: Any, y: Any) -> None:
        """Fill y (cudnnCausalConv1dForward, with channels_last cudnnCausalConv1dNwhForward)."""
        lib = load("cudnn")
        run = lib.cudnnCausalConv1dNwhForward if self.channels_last else lib.cudnnCausalConv1dForward
        places = *self._inputs(x, w, b), self._data("y", y, self.dtype)
        run(entered(stream), *places, *self._dims, self.taps, cudnn_dtype(self.dtype), self.activation)

    def backward(self, stream: Stream, x: Any, w: Any, b: Any, dy: Any, dx: Any, dw: Any, db: Any) -> None:
        """Fill dx, and add to dw and db, which are of `gradient_type`.

        cudnnCausalConv1dBackward, with channels_last cudnnCausalConv1dNwhBackward.
        """
        lib, dtype = load("cudnn"), gradient_type(self.dtype)
        run = lib.cudnnCausalConv1dNwhBackward if self.channels_last else lib.cudnnCausalConv1dBackward
        data = self._data("dy", dy, self.dtype), self._data("dx", dx, self.dtype)
        gradients = self._filter("dw", dw, dtype, self.taps), self._filter("db", db, dtype, 1)
        how = *self._dims, self.taps, cudnn_dtype(self.dtype), dtype, self.activation
        run(entered(stream), *self._inputs(x, w, b), *data, *gradients, *how)

    def _inputs(self, x: Any, w: Any, b: Any) -> tuple[int, int, int]:
        dtype = self.dtype
        return self._data("x", x, dtype), self._filter("w", w, dtype, self.taps), self._filter("b", b, dtype, 1)


@dataclass(frozen=True, slots=True)
class HyenaConvolution(_Sequence):
    """Two causal convolutions in one: x is projected, two of its three parts are gated and mixed, the third gates all.

    x is (batch, channels, 3, length), `projection` (channels, 3, projection_taps) of at most 32 taps, `mixer`
    (channels, mixer_taps) of at most 256, `skip` (channels). With p = causal convolution of x and g = p[1] p[2],
    y is the causal convolution of g by the mixer + skip g, and the result, `gated`, is p[0] y.
    """

    projection_taps: int
    mixer_taps: int
    dtype: DType = np.float32

    def __post_init__(self) -> None:
        self._check(self.dtype)
        _between("projection_taps", self.projection_taps, 2, 32)
        _between("mixer_taps", self.mixer_taps, 2, 256)

    def forward(self, stream: Stream, x: Any, projection: Any, mixer: Any, skip: Any, y: Any, gated: Any) -> None:
        """Fill y, which the gradient needs, and gated (cudnnB2BCausalConv1dForward)."""
        places = *self._inputs(x, projection, mixer, skip), self._data("y", y, self.dtype)
        result, code = self._data("gated", gated, self.dtype), cudnn_dtype(self.dtype)
        load("cudnn").cudnnB2BCausalConv1dForward(entered(stream), *places, result, *self._dims, *self._taps, code)

    def backward(
        self, stream: Stream, x: Any, projection: Any, mixer: Any, skip: Any, y: Any, dgated: Any,
        dx: Any, dprojection: Any, dmixer: Any, dskip: Any,
    ) -> None:  # fmt: skip
        """Fill dx, and add to the others, which are of `gradient_type`; zero them before.

        cudnnB2BCausalConv1dBackward
        """
        dtype = gradient_type(self.dtype)
        data = self._data("y", y, self.dtype), self._data("dgated", dgated, self.dtype)
        gradients = (
            self._data("dx", dx, self.dtype, times=3),
            self._filter("dprojection", dprojection, dtype, 3 * self.projection_taps),
            self._filter("dmixer", dmixer, dtype, self.mixer_taps),
            self._filter("dskip", dskip, dtype, 1),
        )
        inputs = self._inputs(x, projection, mixer, skip)
        how = *self._dims, *self._taps, cudnn_dtype(self.dtype), dtype
        load("cudnn").cudnnB2BCausalConv1dBackward(entered(stream), *inputs, *data, *gradients, *how)

    @property
    def _taps(self) -> tuple[int, int]:
        return self.projection_taps, self.mixer_taps

    def _inputs(self, x: Any, projection: Any, mixer: Any, skip: Any) -> tuple[int, int, int, int]:
        return (
            self._data("x", x, self.dtype, times=3),
            self._filter("projection", projection, self.dtype, 3 * self.projection_taps),
            self._filter("mixer", mixer, self.dtype, self.mixer_taps),
            self._filter("skip", skip, self.dtype, 1),
        )


@dataclass(frozen=True, slots=True)
class FftConvolution(_Sequence):
    """y[t] = sum over j of x[t - j] w[j], by FFTs of tiles: the first tap meets the present.

    w is (channels, taps), a power of two from 128 to 16384 that divides the length. All is aligned to 16 bytes.
    """

    taps: int
    dtype: DType = np.float32

    def __post_init__(self) -> None:
        self._check(self.dtype)
        _power("taps", self.taps, FFT_TAPS)
        if self.length % self.taps:
            raise ValueError(f"{self.taps} taps do not divide a length of {self.length}")

    def forward(self, stream: Stream, x: Any, w: Any, y: Any) -> None:
        """Fill y (cudnnFFTCausalConv1dForward)."""
        at_x, at_w, at_y = self._aligned(self.dtype, self.taps, x=x, w=w, y=y)
        load("cudnn").cudnnFFTCausalConv1dForward(entered(stream), at_x, at_w, at_y, *self._how)

    def backward(self, stream: Stream, x: Any, w: Any, dy: Any, dx: Any, dw: Any) -> None:
        """Fill dx and dw (cudnnFFTCausalConv1dBackward)."""
        at_x, at_w, at_dy, at_dx, at_dw = self._aligned(self.dtype, self.taps, x=x, w=w, dy=dy, dx=dx, dw=dw)
        load("cudnn").cudnnFFTCausalConv1dBackward(entered(stream), at_x, at_w, at_dy, at_dx, at_dw, *self._how)

    @property
    def _how(self) -> tuple[int, int, int, int, int]:
        return *self._dims, self.taps, cudnn_dtype(self.dtype)


@dataclass(frozen=True, slots=True)
class LongFftConvolution(_Sequence):
    """The same with filters as long as the sequence, by one FFT: a power of two from 4096 to 2**24.

    Two buffers of `sizes` go with it: a workspace, and a reserve that forward fills for the gradient.
    """

    dtype: DType = np.float32

    def __post_init__(self) -> None:
        self._check(self.dtype)
        _power("length", self.length, LONG_LENGTH)

    def sizes(self) -> tuple[int, int]:
        """Bytes of workspace and reserve (cudnnLongFFTCausalConv1dGetBufferSizes); needs no GPU."""
        workspace, reserve = ctypes.c_size_t(), ctypes.c_size_t()
        out = ctypes.byref(workspace), ctypes.byref(reserve)
        load("cudnn").cudnnLongFFTCausalConv1dGetBufferSizes(*self._how, *out)
        return workspace.value, reserve.value

    def forward(self, stream: Stream, x: Any, w: Any, y: Any, *, workspace: Any, reserve: Any) -> None:
        """Fill y and the reserve; w is (channels, length).

        cudnnLongFFTCausalConv1dForward, sizes by cudnnLongFFTCausalConv1dGetBufferSizes.
        """
        at_x, at_w, at_y = self._aligned(self.dtype, self.length, x=x, w=w, y=y)
        scratch = self._scratch(workspace, reserve)
        load("cudnn").cudnnLongFFTCausalConv1dForward(entered(stream), at_x, at_w, at_y, *self._how, *scratch)

    def backward(self, stream: Stream, dy: Any, dx: Any, dw: Any, *, workspace: Any, reserve: Any) -> None:
        """Fill dx and dw from dy and the reserve.

        cudnnLongFFTCausalConv1dBackward, sizes by cudnnLongFFTCausalConv1dGetBufferSizes.
        """
        at_dy, at_dx, at_dw = self._aligned(self.dtype, self.length, dy=dy, dx=dx, dw=dw)
        scratch = self._scratch(workspace, reserve)
        load("cudnn").cudnnLongFFTCausalConv1dBackward(entered(stream), at_dy, at_dx, at_dw, *self._how, *scratch)

    def _scratch(self, workspace: Any, reserve: Any) -> tuple[int, int, int, int]:
        first, second = self.sizes()
        places = (checked("workspace", workspace, first, align=ALIGN), checked("reserve", reserve, second, align=ALIGN))
        return places[0], first, places[1], second

    @property
    def _how(self) -> tuple[int, int, int, int, int]:
        return *self._dims, self.length, cudnn_dtype(self.dtype)
