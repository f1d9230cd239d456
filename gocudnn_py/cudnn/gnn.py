"""Graph neural networks: neighbours' features aggregated, and attention to neighbours (GAT, GATv2).

The functions are newer than cuDNN 9.19 (an older one answers with NotInThisVersion) and need compute capability 8.0.
Features are float32, float16 or bfloat16, packed, a row each. Work goes to a stream without a cuDNN handle. cuDNN
compiles a function by NVRTC when a process first calls it with such types: for attention some 20 seconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from gocudnn_py._abi.cudnn import GnnAggOp
from gocudnn_py.cudnn.csc import CscGraph as CscGraph
from gocudnn_py.cudnn.csc import feature_type
from gocudnn_py.cudnn.csc import reversed_edges as reversed_edges
from gocudnn_py.cudnn.descriptor import int32
from gocudnn_py.cudnn.gnn_attention import GraphAttention as GraphAttention
from gocudnn_py.cudnn.gnn_attention import GraphAttentionV2 as GraphAttentionV2
from gocudnn_py.cudnn.gnn_attention import GraphFeatures as GraphFeatures
from gocudnn_py.cudnn.gnn_attention import GraphGradients as GraphGradients
from gocudnn_py.cudnn.gnn_attention import GraphWorkspace as GraphWorkspace
from gocudnn_py.cudnn.place import checked, optional
from gocudnn_py.dtypes import DType, cudnn_dtype, numpy_dtype
from gocudnn_py.library import load

if TYPE_CHECKING:
    from gocudnn_py.cuda import Stream


@dataclass(frozen=True, slots=True)
class Aggregation:
    """Sum, mean, maximum or minimum over each destination's edges, of sources' and edges' features side by side.

    A row of the output is (node_width of the sources, edge_width of the edges, concat_width passed through).
    """

    graph: CscGraph
    op: GnnAggOp
    node_width: int = 0
    edge_width: int = 0
    concat_width: int = 0
    dtype: DType = np.float32

    def __post_init__(self) -> None:
        for width in ("node_width", "edge_width", "concat_width"):
            int32(width, getattr(self, width))
        if not self.node_width + self.edge_width:
            raise ValueError("an aggregation of nothing: node_width and edge_width are both 0")
        feature_type("an aggregation", self.dtype)

    def forward(
        self, stream: Stream, output: Any, *, nodes: Any = None, edges: Any = None, concat: Any = None,
        positions: Any = None,
    ) -> None:  # fmt: skip
        """Fill output (destinations, all widths) (cudnnGnnAggSimpleForward).

        nodes (sources, node_width), edges (edges, edge_width), concat (destinations, concat_width), each None at
        width 0. MAX and MIN write to positions (destinations, node_width + edge_width), of the graph's index type,
        where they found it; the gradient needs that.
        """
        inputs = self._parts(nodes, edges, concat)
        ends = self._output("output", output), self._positions(positions)
        load("cudnn").cudnnGnnAggSimpleForward(*self.graph.on(stream), *inputs, *ends, *self._how)

    def backward(
        self, stream: Stream, doutput: Any, *, dnodes: Any = None, dedges: Any = None, dconcat: Any = None,
        positions: Any = None,
    ) -> None:  # fmt: skip
        """Add to the gradients, which have to be zero before (cudnnGnnAggSimpleBackward).

        The order of the additions differs from run to run.
        """
        inputs = self._output("doutput", doutput), self._positions(positions)
        gradients = self._parts(dnodes, dedges, dconcat)
        load("cudnn").cudnnGnnAggSimpleBackward(*self.graph.on(stream), *inputs, *gradients, *self._how)

    @property
    def _how(self) -> tuple[int, int, int, int, int]:
        return self.node_width, self.edge_width, self.concat_width, cudnn_dtype(self.dtype), self.op

    def _parts(self, nodes: Any, edges: Any, concat: Any) -> tuple[int, int, int]:
        item, graph = numpy_dtype(self.dtype).itemsize, self.graph
        return (
            optional("nodes", nodes, graph.sources * self.node_width * item),
            optional("edges", edges, graph.edges * self.edge_width * item),
            optional("concat", concat, graph.destinations * self.concat_width * item),
        )

    def _output(self, what: str, place: Any) -> int:
        width = self.node_width + self.edge_width + self.concat_width
        return checked(what, place, self.graph.destinations * width * numpy_dtype(self.dtype).itemsize)

    def _positions(self, place: Any) -> int:
        width = self.node_width + self.edge_width if self.op in (GnnAggOp.MAX, GnnAggOp.MIN) else 0
        item = numpy_dtype(self.graph.index).itemsize
        return optional("positions", place, self.graph.destinations * width * item)
