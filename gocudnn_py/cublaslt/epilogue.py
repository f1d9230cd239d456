"""What is done to a product before it is written: bias, activation, the gradients of both."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from gocudnn_py._abi.cublaslt import Epilogue, MatmulDescAttributes
from gocudnn_py._abi.cuda import CudaDataType
from gocudnn_py.cublaslt.descriptors import MatmulDescriptor
from gocudnn_py.matrix import Matrix, Vector, nbytes

STEP = {"relu": 128, "gelu": 8}
"""What the pitch of what an activation keeps is a multiple of, in its elements: bits, and numbers."""
CODES = {None: 0, "relu": Epilogue.RELU, "gelu": Epilogue.GELU}
GRADIENTS = {"relu": Epilogue.DRELU, "gelu": Epilogue.DGELU}
BIAS, AUX, BIAS_GRADIENT = 4, 128, 16  # bits that the names of Epilogue are put together of
SUMS = {"a": Epilogue.BGRADB, "b": Epilogue.BGRADA}  # our b is the library's A


@dataclass(frozen=True)
class Aux:
    """What an activation keeps for its gradient, row-major: a bit for each number (relu), or its input (gelu).

    `pitch` is the distance of rows in bits or numbers, as `aux_pitch` gives it; members of a batch lie `stride` of
    those apart.
    """

    place: Any
    pitch: int
    stride: int = 0


def aux_pitch(activation: Literal["relu", "gelu"], c: Matrix) -> int:
    """The least pitch of what an activation keeps of a result."""
    return -(-c.columns // STEP[activation]) * STEP[activation]


def aux_nbytes(activation: Literal["relu", "gelu"], c: Matrix) -> int:
    """The bytes that an activation keeps of a result at least."""
    pitch = aux_pitch(activation, c)
    return c.rows * pitch // 8 if activation == "relu" else nbytes(c.code, c.rows * pitch)


@dataclass(frozen=True)
class After:
    """What is done to a b before it is written as c. Every part may be left out.

    `bias`, one number a column, is added, then comes the `activation`, tanh's approximation for gelu, which keeps
    `aux` for its gradient. With `gradient` a b is multiplied by the activation's gradient instead, which `aux` tells,
    and `bias_gradient`, one number a column, are the sums of the result's columns. With `sums_of` "b" they are the
    sums of b's columns, and with "a" those of a's rows, one number a row: the bias's gradient of a layer whose
    weights' gradient a b is. Members of a batch have `bias_stride` numbers between their biases.
    """

    bias: Any = None
    activation: Literal["relu", "gelu"] | None = None
    aux: Aux | None = None
    gradient: bool = False
    bias_gradient: Any = None
    sums_of: Literal["a", "b"] | None = None
    bias_stride: int = 0

    @property
    def code(self) -> Epilogue:
        """What the library calls it. Raises ValueError for parts that do not go together."""
        if self.activation not in CODES:
            raise ValueError(f"activation {self.activation!r} is neither relu nor gelu")
        if self.sums_of is not None:
            return self._sums()
        if self.gradient:
            if self.activation is None or self.aux is None or self.bias is not None:
                raise ValueError("the gradient of an activation needs the activation and its aux, and has no bias")
            return Epilogue(GRADIENTS[self.activation] + BIAS_GRADIENT * (self.bias_gradient is not None))
        if self.bias_gradient is not None or (self.aux is not None and self.activation is None):
            raise ValueError("bias_gradient needs `gradient` or `sums_of`, and aux an activation")
        code = CODES[self.activation] + BIAS * (self.bias is not None) + AUX * (self.aux is not None)
        return Epilogue(code or Epilogue.DEFAULT)

    @property
    def places(self) -> tuple[Any, ...]:
        """The buffers or addresses that it reads and writes."""
        named = self.bias, self.bias_gradient, self.aux and self.aux.place
        return tuple(getattr(each, "place", each) for each in named if each is not None)

    def apply(
        self, descriptor: MatmulDescriptor, c: Matrix, batch: int = 1, bias_type: CudaDataType | None = None
    ) -> None:
        """Have a product end so; `bias_type` is that of a bias in a bare buffer, c's unless given.

        Raises ValueError for a bias or aux of another size.
        """
        names = MatmulDescAttributes
        descriptor.set(names.EPILOGUE, self.code)
        self._apply_bias(descriptor, c, batch, c.code if bias_type is None else bias_type)
        if self.aux is not None and self.activation is not None:
            step = STEP[self.activation]
            if self.aux.pitch < c.columns or self.aux.pitch % step or self.aux.stride % step:
                raise ValueError(f"aux: rows {self.aux.pitch} apart for {c} with {self.activation}, steps of {step}")
            elements, code = (batch - 1) * self.aux.stride + c.rows * self.aux.pitch, c.code
            if self.activation == "relu":
                elements, code = elements // 8, CudaDataType.R_8U
            _check_room(f"aux for {c}", self.aux.place, code, elements)
            descriptor.set(names.EPILOGUE_AUX_POINTER, _address(self.aux.place))
            descriptor.set(names.EPILOGUE_AUX_LD, self.aux.pitch)
            descriptor.set(names.EPILOGUE_AUX_BATCH_STRIDE, self.aux.stride)

    def _apply_bias(self, descriptor: MatmulDescriptor, c: Matrix, batch: int, code: CudaDataType) -> None:
        names, bias = MatmulDescAttributes, self.bias_gradient if self.bias is None else self.bias
        if bias is None:
            return
        wanted = c.rows if self.sums_of == "a" else c.columns
        if isinstance(bias, Vector):
            if bias.size != wanted or bias.stride != 1:
                raise ValueError(f"bias: {bias} with stride {bias.stride} for {c}, which needs {wanted} in one piece")
            if bias.code != c.code:
                descriptor.set(names.BIAS_DATA_TYPE, bias.code)
            code = bias.code
        _check_room(f"bias for {c}", bias, code, (batch - 1) * self.bias_stride + wanted)
        descriptor.set(names.BIAS_POINTER, _address(bias))
        descriptor.set(names.BIAS_BATCH_STRIDE, self.bias_stride)

    def _sums(self) -> Epilogue:
        others = self.bias, self.activation, self.aux
        if (
            self.sums_of not in SUMS
            or self.bias_gradient is None
            or self.gradient
            or any(each is not None for each in others)
        ):
            raise ValueError(f"sums_of {self.sums_of!r} is a or b, needs a bias_gradient, and goes with nothing else")
        return SUMS[self.sums_of]


def _check_room(what: str, place: Any, code: CudaDataType, elements: int) -> None:
    """Raise ValueError when a buffer, or that of a Vector, ends before so many elements do."""
    begins = nbytes(place.code, place.offset) if isinstance(place, Vector) else 0
    room, needed = getattr(getattr(place, "place", place), "nbytes", None), begins + nbytes(code, elements)
    if isinstance(room, int) and room < needed:
        raise ValueError(f"{what} ends {needed} bytes into a buffer of {room}")


def _address(place: Any) -> int:
    return place.address if isinstance(place, Vector) else int(getattr(place, "pointer", place))
