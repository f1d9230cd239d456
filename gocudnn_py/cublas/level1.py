"""Vectors with vectors. Halves go through the functions that end with Ex, which compute in float32.

A result goes back to the caller, who then waits for it, or to `out`, a place on the device. Scalars are numbers or
places on the device. Lengths and strides beyond 32 bits take each function's form that ends with _64.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from gocudnn_py._abi.cuda import CudaDataType
from gocudnn_py.cublas.handle import Handle, common_type, plain
from gocudnn_py.cublas.names import HALVES, INT32_MAX, function
from gocudnn_py.dtypes import cuda_dtype
from gocudnn_py.matrix import COMPLEX, Placed, Vector

if TYPE_CHECKING:
    from numpy.typing import DTypeLike

SINGLE = CudaDataType.R_32F
ROTM_PARAMETERS = 5


def axpy(handle: Handle, x: Vector, y: Vector, *, alpha: Any = 1.0) -> None:
    """y = alpha x + y (cublasSaxpy_v2, cublasDaxpy_v2, cublasCaxpy_v2, cublasZaxpy_v2, cublasAxpyEx)."""
    code = _alike(handle, "axpy", x, y)
    if code in HALVES:
        handle.call("cublasAxpyEx", x.size, *handle.scalars((SINGLE, alpha)), SINGLE, *_typed(x), *_typed(y), SINGLE)
    else:
        handle.call(function("{}axpy", code), x.size, *handle.scalars((code, alpha)), *_untyped(x, y))


def dot(handle: Handle, x: Vector, y: Vector, *, conjugate: bool = False, out: Any = None) -> Any:
    """The sum of x y, or with `conjugate` of conj(x) y.

    (cublasSdot_v2, cublasDdot_v2, cublasCdotu_v2, cublasZdotu_v2, cublasCdotc_v2, cublasZdotc_v2, cublasDotEx,
    cublasDotcEx.)
    """
    code = _alike(handle, "dot", x, y)
    if code in HALVES:
        name = "cublasDotcEx" if conjugate else "cublasDotEx"
        return handle.result(name, code, out, x.size, *_typed(x), *_typed(y), after=(code, SINGLE))
    kind = "" if code not in COMPLEX else "c" if conjugate else "u"
    return handle.result(function("{}dot" + kind, code), code, out, x.size, *_untyped(x, y))


def nrm2(handle: Handle, x: Vector, *, out: Any = None) -> Any:
    """The square root of the sum of |x|^2.

    (cublasSnrm2_v2, cublasDnrm2_v2, cublasScnrm2_v2, cublasDznrm2_v2, cublasNrm2Ex.)
    """
    code = _forward(handle, "nrm2", x)
    if code in HALVES:
        return handle.result("cublasNrm2Ex", code, out, x.size, *_typed(x), after=(code, SINGLE))
    return _length(handle, "nrm2", code, x, out)


def asum(handle: Handle, x: Vector, *, out: Any = None) -> Any:
    """The sum of |re x| + |im x| (cublasSasum_v2, cublasDasum_v2, cublasScasum_v2, cublasDzasum_v2).

    Raises TypeError for halves: cuBLAS's function for them answers NOT_SUPPORTED on a GPU.
    """
    return _length(handle, "asum", _forward(handle, "asum", x), x, out)


def iamax(handle: Handle, x: Vector, *, out: Any = None) -> Any:
    """The first index, from 1, where |re x| + |im x| is largest; int32, int64 for a long vector.

    (cublasIsamax_v2, cublasIdamax_v2, cublasIcamax_v2, cublasIzamax_v2, cublasIamaxEx.)
    """
    return _index(handle, "amax", "cublasIamaxEx", x, out)


def iamin(handle: Handle, x: Vector, *, out: Any = None) -> Any:
    """The first index, from 1, where |re x| + |im x| is smallest; int32, int64 for a long vector.

    (cublasIsamin_v2, cublasIdamin_v2, cublasIcamin_v2, cublasIzamin_v2, cublasIaminEx.)
    """
    return _index(handle, "amin", "cublasIaminEx", x, out)


def scal(handle: Handle, x: Vector, alpha: Any) -> None:
    """x = alpha x; alpha may be real for a complex x.

    (cublasSscal_v2, cublasDscal_v2, cublasCscal_v2, cublasZscal_v2, cublasCsscal_v2, cublasZdscal_v2, cublasScalEx.)
    """
    code = _forward(handle, "scal", x)
    if code in HALVES:
        handle.call("cublasScalEx", x.size, *handle.scalars((SINGLE, alpha)), SINGLE, *_typed(x), SINGLE)
        return
    factor, letters = (COMPLEX[code], "real") if code in COMPLEX and _real(alpha) else (code, "")
    handle.call(function("{}scal", code, letters), x.size, *handle.scalars((factor, alpha)), *_untyped(x))


def copy(handle: Handle, x: Vector, y: Vector) -> None:
    """y = x (cublasScopy_v2, cublasDcopy_v2, cublasCcopy_v2, cublasZcopy_v2, cublasCopyEx)."""
    _both(handle, "copy", "cublasCopyEx", x, y)


def swap(handle: Handle, x: Vector, y: Vector) -> None:
    """x and y exchanged (cublasSswap_v2, cublasDswap_v2, cublasCswap_v2, cublasZswap_v2, cublasSwapEx)."""
    _both(handle, "swap", "cublasSwapEx", x, y)


def rot(handle: Handle, x: Vector, y: Vector, c: Any, s: Any) -> None:
    """x, y = c x + s y, c y - conj(s) x, with a real c; s may be real for complex vectors.

    (cublasSrot_v2, cublasDrot_v2, cublasCrot_v2, cublasZrot_v2, cublasCsrot_v2, cublasZdrot_v2, cublasRotEx.)
    """
    code = _alike(handle, "rot", x, y)
    real = COMPLEX.get(code, code)
    if code in HALVES:
        handle.call("cublasRotEx", x.size, *_typed(x), *_typed(y), *handle.scalars((code, c), (code, s)), code, SINGLE)
        return
    sine, letters = (real, "real") if code in COMPLEX and _real(s) else (code, "")
    handle.call(function("{}rot", code, letters), x.size, *_untyped(x, y), *handle.scalars((real, c), (sine, s)))


def rotg(handle: Handle, a: Any, b: Any, c: Any = None, s: Any = None, *, dtype: DTypeLike = "float32") -> Any:
    """The rotation that takes (a, b) to (r, 0): r, z, c and s of two numbers; places on the device are overwritten.

    z, from which c and s can be had back, is b itself for complex numbers.
    (cublasSrotg_v2, cublasDrotg_v2, cublasCrotg_v2, cublasZrotg_v2, cublasRotgEx.)
    """
    code = cuda_dtype(dtype)
    real = COMPLEX.get(code, code)
    places, cells = handle.cells((code, a), (code, b), (real, 0 if c is None else c), (code, 0 if s is None else s))
    if code in HALVES:
        handle.call("cublasRotgEx", *places[:2], code, *places[2:], code, SINGLE)
    else:
        handle.call(function("{}rotg", code), *places)
    return tuple(cell[0].item() for cell in cells) or None


def rotm(handle: Handle, x: Vector, y: Vector, parameters: Any) -> None:
    """The modified rotation of x and y by five parameters (flag, h11, h21, h12, h22), or their place on the device.

    (cublasSrotm_v2, cublasDrotm_v2, cublasRotmEx.)
    """
    code = _alike(handle, "rotm", x, y)
    _five("rotm", code, parameters)
    (place,), held = handle.cells((code, parameters))
    if code in HALVES:
        handle.call("cublasRotmEx", x.size, *_typed(x), *_typed(y), place, code, SINGLE)
    else:
        handle.call(function("{}rotm", code), x.size, *_untyped(x, y), place)
    del held  # until here the library may read it


def rotmg(
    handle: Handle, d1: Any, d2: Any, x1: Any, y1: Any, parameters: Any = None, *, dtype: DTypeLike = "float32"
) -> Any:
    """The modified rotation that makes y1 zero: d1, d2, x1, and the five parameters of `rotm`.

    Places on the device, `parameters` too, are overwritten instead (cublasSrotmg_v2, cublasDrotmg_v2, cublasRotmgEx).
    """
    code = cuda_dtype(dtype)
    parameters = [0.0] * ROTM_PARAMETERS if parameters is None else parameters
    _five("rotmg", code, parameters)
    values = d1, d2, x1, y1, parameters
    places, cells = handle.cells(*((code, value) for value in values))
    if code in HALVES:
        handle.call("cublasRotmgEx", *(part for place in places for part in (place, code)), SINGLE)
    else:
        handle.call(function("{}rotmg", code), *places)
    if not cells:
        return None
    return (*(cell[0].item() for cell in cells[:3]), tuple(cells[4].astype(np.float64).tolist()))


def _five(what: str, code: CudaDataType, parameters: Any) -> None:
    if hasattr(parameters, "pointer"):
        Vector(parameters, ROTM_PARAMETERS, code)  # checked against its buffer as it is made
        return
    count = len(parameters) if isinstance(parameters, Sequence) else getattr(parameters, "size", 1)
    if count != ROTM_PARAMETERS:
        raise ValueError(f"{what}: {ROTM_PARAMETERS} parameters are needed, {count} given")


def _alike(handle: Handle, what: str, x: Vector, y: Vector) -> CudaDataType:
    if x.size != y.size:
        raise ValueError(f"{what}: x={x} and y={y} are not of one length")
    handle.hold(what, x, y)
    return common_type(what, x, y)


def _forward(handle: Handle, what: str, x: Vector) -> CudaDataType:
    if x.stride < 0:
        raise ValueError(f"{what}: x={x} has stride {x.stride}; one vector alone is not read from its end")
    handle.hold(what, x)
    return x.code


def _typed(x: Vector) -> tuple[int, CudaDataType, int]:
    return x.address, x.code, x.stride


def _untyped(*vectors: Vector) -> tuple[int, ...]:
    return tuple(number for x in vectors for number in (x.address, x.stride))


def _real(value: Any) -> bool:
    """Whether a factor of complex vectors is a real number, or a Vector of them; a bare buffer is taken as complex."""
    if isinstance(value, Placed):
        return value.code not in COMPLEX
    return isinstance(plain(value), int | float)


def _both(handle: Handle, what: str, half: str, x: Vector, y: Vector) -> None:
    code = _alike(handle, what, x, y)
    if code in HALVES:
        handle.call(half, x.size, *_typed(x), *_typed(y))
    else:
        handle.call(function("{}" + what, code), x.size, *_untyped(x, y))


def _length(handle: Handle, what: str, code: CudaDataType, x: Vector, out: Any) -> Any:
    return handle.result(function("{}" + what, code, "length"), COMPLEX.get(code, code), out, x.size, *_untyped(x))


def _index(handle: Handle, what: str, half: str, x: Vector, out: Any) -> Any:
    code = _forward(handle, "i" + what, x)
    integer = CudaDataType.R_64I if max(x.size, x.stride) > INT32_MAX else CudaDataType.R_32I
    if code in HALVES:
        return handle.result(half, integer, out, x.size, *_typed(x))
    return handle.result(function("I{}" + what, code, "index"), integer, out, x.size, *_untyped(x))
