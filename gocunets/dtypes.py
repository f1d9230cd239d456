"""Element types of Values, by name, so that a type needs no library that implements it."""

from __future__ import annotations

from enum import StrEnum

import numpy as np
import numpy.typing as npt


class DType(StrEnum):
    """An element type."""

    boolean = "bool"
    uint8 = "uint8"
    int32 = "int32"
    int64 = "int64"
    uint32 = "uint32"
    float16 = "float16"
    bfloat16 = "bfloat16"
    float32 = "float32"
    float64 = "float64"

    @property
    def itemsize(self) -> int:
        """Bytes an element."""
        return _ITEMSIZE[self]

    @property
    def is_float(self) -> bool:
        """Whether gradients can flow through values of this type."""
        return self in (DType.float16, DType.bfloat16, DType.float32, DType.float64)

    def numpy(self) -> np.dtype[np.generic]:
        """The NumPy dtype; bfloat16's is that of ml_dtypes, which the CUDA extras bring. Raises TypeError without."""
        if self is DType.bfloat16:
            try:
                from ml_dtypes import bfloat16
            except ImportError:
                raise TypeError("bfloat16 arrays need ml_dtypes: pip install 'gocunets[cu13]'") from None
            narrow: np.dtype[np.generic] = np.dtype(bfloat16)
            return narrow
        return np.dtype(self.value)

    @staticmethod
    def of(dtype: npt.DTypeLike | DType) -> DType:
        """The DType of a name or NumPy dtype. Raises TypeError when there is none."""
        name = dtype if isinstance(dtype, str) else np.dtype(dtype).name
        try:
            return DType(name)
        except ValueError:
            raise TypeError(f"dtype {name} is none of {', '.join(DType)}") from None


_ITEMSIZE = {
    DType.boolean: 1,
    DType.uint8: 1,
    DType.float16: 2,
    DType.bfloat16: 2,
    DType.int32: 4,
    DType.uint32: 4,
    DType.float32: 4,
    DType.int64: 8,
    DType.float64: 8,
}
