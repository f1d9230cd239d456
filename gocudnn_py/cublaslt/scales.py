"""Factors of narrow types: what each matrix is multiplied by when it is read or written."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from gocudnn_py._abi.cublaslt import MatmulDescAttributes, MatmulMatrixScale
from gocudnn_py.cublaslt.descriptors import MatmulDescriptor


class Scale(NamedTuple):
    """Factors on the device and how they are laid out, one for the whole matrix unless said otherwise.

    With OUTER_VEC_32F there is one for each row of a, or column of b. The other layouts, for each so many elements,
    are in the library's terms: our rows are its columns.
    """

    place: Any
    mode: MatmulMatrixScale = MatmulMatrixScale.SCALAR_32F


NAMES = {
    "a": (MatmulDescAttributes.B_SCALE_POINTER, MatmulDescAttributes.B_SCALE_MODE),  # our a is the library's B
    "b": (MatmulDescAttributes.A_SCALE_POINTER, MatmulDescAttributes.A_SCALE_MODE),
    "addend": (MatmulDescAttributes.C_SCALE_POINTER, MatmulDescAttributes.C_SCALE_MODE),
    "result": (MatmulDescAttributes.D_SCALE_POINTER, MatmulDescAttributes.D_SCALE_MODE),
    "aux": (MatmulDescAttributes.EPILOGUE_AUX_SCALE_POINTER, MatmulDescAttributes.EPILOGUE_AUX_SCALE_MODE),
}
LARGEST = {
    "amax": MatmulDescAttributes.AMAX_D_POINTER,
    "aux_amax": MatmulDescAttributes.EPILOGUE_AUX_AMAX_POINTER,
}


@dataclass(frozen=True)
class Scales:
    """float32 factors on the device, as places or a Scale: a, b and the addend are multiplied as they are read.

    A float8 result and aux are multiplied as they are written, and the largest absolute values before that are
    written to `amax` and `aux_amax`, a float32 each.
    """

    a: Any = None
    b: Any = None
    addend: Any = None
    result: Any = None
    aux: Any = None
    amax: Any = None
    aux_amax: Any = None

    @property
    def places(self) -> tuple[Any, ...]:
        """The buffers or addresses."""
        given = (getattr(self, name) for name in (*NAMES, *LARGEST))
        return tuple(each.place if isinstance(each, Scale) else each for each in given if each is not None)

    @property
    def modes(self) -> tuple[str, ...]:
        """Which are there, and how they are laid out."""
        there = [(name, _scale(getattr(self, name))) for name in NAMES if getattr(self, name) is not None]
        largest = [name for name in LARGEST if getattr(self, name) is not None]
        return (*(f"{name}: {scale.mode.name}" for name, scale in there), *largest)

    def apply(self, descriptor: MatmulDescriptor) -> None:
        """Have a product use them."""
        for name, (pointer, mode) in NAMES.items():
            if getattr(self, name) is not None:
                scale = _scale(getattr(self, name))
                descriptor.set(pointer, _address(scale.place))
                if scale.mode != MatmulMatrixScale.SCALAR_32F:  # older versions know no other, and not the name
                    descriptor.set(mode, scale.mode)
        for name, pointer in LARGEST.items():
            if getattr(self, name) is not None:
                descriptor.set(pointer, _address(getattr(self, name)))


def _scale(given: Any) -> Scale:
    return given if isinstance(given, Scale) else Scale(given)


def _address(place: Any) -> int:
    return int(getattr(place, "pointer", place))
