"""Graphs in compressed sparse columns: the edges of each destination, one after the other."""

from __future__ import annotations

import ctypes
import operator
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from gocudnn_py._abi.cudnn import DataType, GnnCscGraph
from gocudnn_py.cudnn.descriptor import int32
from gocudnn_py.cudnn.place import checked, entered
from gocudnn_py.dtypes import DType, cudnn_dtype, numpy_dtype

if TYPE_CHECKING:
    from gocudnn_py.cuda import Stream

Array = npt.NDArray[Any]
FEATURES = (DataType.FLOAT, DataType.HALF, DataType.BFLOAT16)


class CscGraph:
    """A graph's edges by destination, as arrays of int32 or int64 (`index`) on a GPU, which it holds.

    `offsets` (destinations + 1) is where each destination's edges begin in `indices` (edges), the sources of the
    edges. `edge_rows` (edges) are the rows that edges have in arrays of edges, where those are in another order.
    `reverse_offsets` (sources + 1) and `reverse_rows` (edges), the same by source, make gradients deterministic: see
    `reversed_edges`. Raises ValueError.
    """

    def __init__(
        self,
        offsets: Any,
        indices: Any,
        *,
        sources: int,
        destinations: int,
        edges: int,
        index: DType = np.int32,
        edge_rows: Any = None,
        reverse_offsets: Any = None,
        reverse_rows: Any = None,
    ) -> None:
        self.index = code = cudnn_dtype(index)
        if code not in (DataType.INT32, DataType.INT64):
            raise ValueError(f"a graph's indices are INT32 or INT64, not {code.name}")
        if (reverse_offsets is None) != (reverse_rows is None):
            raise ValueError("reverse_offsets and reverse_rows are given together or not at all")
        self.sources, self.destinations = self._count("sources", sources), self._count("destinations", destinations)
        self.edges = self._count("edges", edges)
        self.struct = GnnCscGraph(
            cscOffsets=self._address("offsets", offsets, self.destinations + 1),
            cscIndices=self._address("indices", indices, self.edges),
            mapCscToCoo=None if edge_rows is None else self._address("edge_rows", edge_rows, self.edges),
            nSrcNodes=self.sources,
            nDstNodes=self.destinations,
            nIndices=self.edges,
            idxType=code,
        )
        if reverse_offsets is not None:
            self.struct.cscRevOffsets = self._address("reverse_offsets", reverse_offsets, self.sources + 1)
            self.struct.mapRevToCoo = self._address("reverse_rows", reverse_rows, self.edges)
        self.reversible = reverse_offsets is not None
        self._held = offsets, indices, edge_rows, reverse_offsets, reverse_rows

    def on(self, stream: Stream) -> tuple[int, Any]:
        """Stream and graph, what every function on graphs takes first."""
        return entered(stream), ctypes.byref(self.struct)

    def _count(self, what: str, value: int) -> int:
        number = operator.index(value)
        if self.index is DataType.INT32 or number < 1:
            return int32(what, number, least=1)
        return number

    def _address(self, what: str, place: Any, length: int) -> int:
        return checked(what, place, length * numpy_dtype(self.index).itemsize)

    def __repr__(self) -> str:
        more = ", reversible" if self.reversible else ""
        return f"CscGraph({self.sources} to {self.destinations} by {self.edges} edges, {self.index.name}{more})"


def reversed_edges(indices: Array, sources: int, edge_rows: Array | None = None) -> tuple[Array, Array]:
    """`reverse_offsets` and `reverse_rows` of a graph on the host, of the indices' type."""
    offsets = np.concatenate([[0], np.bincount(indices, minlength=sources).cumsum()]).astype(indices.dtype)
    order = np.argsort(indices, kind="stable").astype(indices.dtype)
    return offsets, order if edge_rows is None else edge_rows[order]


def feature_type(what: str, dtype: DType) -> DataType:
    """The type of features. Raises ValueError for one that the functions on graphs do not take."""
    code = cudnn_dtype(dtype)
    if code not in FEATURES:
        raise ValueError(f"{what} takes {', '.join(each.name for each in FEATURES)}, not {code.name}")
    return code
