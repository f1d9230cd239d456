"""Attention of a graph's destinations to their sources: GAT (arXiv:1710.10903) and GATv2 (arXiv:2105.14491)."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from gocudnn_py._abi.cudnn import DataType, GnnActivationOp, GnnMhaParams
from gocudnn_py.cudnn.csc import CscGraph, feature_type
from gocudnn_py.cudnn.descriptor import int32
from gocudnn_py.cudnn.place import checked, optional
from gocudnn_py.dtypes import DType, cudnn_dtype, numpy_dtype
from gocudnn_py.library import load

if TYPE_CHECKING:
    from gocudnn_py.cuda import Stream

FLOAT_BYTES = 4  # scores and masks are float32 whatever the features are


class GraphFeatures(NamedTuple):
    """What graph attention reads: features of sources and destinations (rows, node_width), and its weights.

    `edges` (edges, edge_width) if that is not 0; `mask` (heads, edges) as float32, factors of the dropout.
    """

    sources: Any
    destinations: Any
    weights: Any
    edges: Any = None
    mask: Any = None


class GraphGradients(NamedTuple):
    """What its gradient writes: as the features, `scores` as forward's scores; sources may be destinations too."""

    sources: Any
    destinations: Any
    weights: Any
    scores: Any
    edges: Any = None


class GraphWorkspace(NamedTuple):
    """Two buffers of `workspace_sizes` that make a gradient deterministic, on a graph with reversed edges."""

    features: Any
    weights: Any


@dataclass(frozen=True, slots=True)
class _Attention:
    graph: CscGraph
    node_width: int
    edge_width: int = 0
    heads: int = 1
    concat: bool = True
    activation: GnnActivationOp = GnnActivationOp.LEAKY_RELU
    alpha: float = 0.2
    dtype: DType = np.float32
    gradient: DType | None = None

    def __post_init__(self) -> None:
        int32("node_width", self.node_width, least=1)
        int32("edge_width", self.edge_width)
        int32("heads", self.heads, least=1)
        if self.node_width % self.heads or self.edge_width % self.heads:
            widths = f"node_width={self.node_width}, edge_width={self.edge_width}"
            raise ValueError(f"graph attention: widths do not divide into {self.heads} heads ({widths})")
        feature_type("graph attention", self.dtype)
        self._gradient_type(self.gradient)

    @property
    def output_width(self) -> int:
        """The width of a row of the output: of all heads side by side, or of their mean."""
        return self.node_width if self.concat else self.node_width // self.heads

    @property
    def scores_size(self) -> int:
        """Bytes of the scores: (2, heads, edges) of float32, first before and then after the softmax."""
        return 2 * self.heads * self.graph.edges * FLOAT_BYTES

    @property
    def _weights(self) -> int:
        raise NotImplementedError

    @property
    def _params(self) -> Any:
        return ctypes.byref(GnnMhaParams(self.activation, self.alpha, self.heads, self.concat))

    def _gradient_type(self, dtype: DType | None) -> DataType:
        code = cudnn_dtype(self.dtype if dtype is None else dtype)
        if code not in (cudnn_dtype(self.dtype), DataType.FLOAT):
            raise ValueError(f"gradients of {cudnn_dtype(self.dtype).name} are of that type or FLOAT, not {code.name}")
        return code

    def _rows(self, dtype: DType) -> tuple[int, int, int, int]:
        """Bytes of what lies by source, by destination, by edge and in the weights, of a type."""
        item, graph = numpy_dtype(dtype).itemsize, self.graph
        nodes = self.node_width * item
        return (
            graph.sources * nodes,
            graph.destinations * nodes,
            graph.edges * self.edge_width * item,
            self._weights * item,
        )

    def _features(self, given: GraphFeatures) -> tuple[int, int, int, int]:
        sources, destinations, edges, weights = self._rows(self.dtype)
        return (
            checked("sources", given.sources, sources),
            checked("destinations", given.destinations, destinations),
            optional("edges", given.edges, edges),
            checked("weights", given.weights, weights),
        )

    def _output(self, what: str, place: Any) -> int:
        return checked(what, place, self.graph.destinations * self.output_width * numpy_dtype(self.dtype).itemsize)

    def _factors(self, what: str, place: Any) -> int:
        return 0 if place is None else checked(what, place, self.scores_size // 2)

    def _gradients(
        self, given: GraphGradients, workspace: GraphWorkspace | None, feature: DataType, weight: DataType
    ) -> tuple[int, int, int, int, int, int, int]:
        """What the gradient writes, in the order of the functions: gradients by kind, scores, workspaces."""
        sources, destinations, edges, _ = self._rows(feature)
        return (
            checked("gradients.sources", given.sources, sources),
            checked("gradients.destinations", given.destinations, destinations),
            optional("gradients.edges", given.edges, edges),
            checked("gradients.weights", given.weights, self._rows(weight)[3]),
            checked("gradients.scores", given.scores, self.scores_size),
            *self._workspace(workspace, feature, weight),
        )

    def _workspace(self, given: GraphWorkspace | None, feature: DataType, weight: DataType) -> tuple[int, int]:
        if given is None:
            return 0, 0
        if not self.graph.reversible:
            raise ValueError("a deterministic gradient needs reverse_offsets and reverse_rows in its graph")
        sizes = self._workspace_sizes(feature, weight)
        features = checked("workspace.features", given.features, sizes[0])
        return features, checked("workspace.weights", given.weights, sizes[1])

    def _workspace_sizes(self, feature: DataType, weight: DataType) -> tuple[int, int]:
        features = self.graph.edges * self.node_width * numpy_dtype(feature).itemsize
        return features, self.graph.destinations * self._rows(weight)[3]


@dataclass(frozen=True, slots=True)
class GraphAttention(_Attention):
    """GAT: a destination's score of a source is activation(w_s source + w_d destination + w_e edge), for each head.

    Weights are (w_s | w_d | w_e), 2 node_width + edge_width; `alpha` is the slope of LEAKY_RELU and the factor of
    SCALAR. Heads lie side by side in the widths and in the output, which is their mean without `concat`. Gradients
    are of `gradient` and `weight_gradient`: the features' type, unless given as float32.
    """

    weight_gradient: DType | None = None

    def __post_init__(self) -> None:
        _Attention.__post_init__(self)
        self._gradient_type(self.weight_gradient)

    def forward(self, stream: Stream, features: GraphFeatures, output: Any, scores: Any) -> None:
        """Fill output (destinations, output_width) and scores (cudnnGnnMhaGatForward).

        The second half of the scores is the attention that each edge gets, before the mask.
        """
        inputs = *self._features(features), self._factors("mask", features.mask)
        places = self._output("output", output), checked("scores", scores, self.scores_size)
        how = self.node_width, self.edge_width, self._params, cudnn_dtype(self.dtype)
        load("cudnn").cudnnGnnMhaGatForward(*self.graph.on(stream), *inputs, *places, *how)

    def backward(
        self,
        stream: Stream,
        doutput: Any,
        features: GraphFeatures,
        scores: Any,
        gradients: GraphGradients,
        *,
        dattention: Any = None,
        workspace: GraphWorkspace | None = None,
    ) -> None:
        """Fill the gradients, with what forward was given and the scores it wrote (cudnnGnnMhaGatBackward).

        `dattention` (heads, edges) of float32 is a gradient of the masked attention to add. Without a workspace the
        order of additions differs from run to run.
        """
        types = self._gradient_type(self.gradient), self._gradient_type(self.weight_gradient)
        inputs = self._output("doutput", doutput), *self._features(features)
        saved = checked("scores", scores, self.scores_size), self._factors("mask", features.mask)
        outputs = self._factors("dattention", dattention), *self._gradients(gradients, workspace, *types)
        how = self.node_width, self.edge_width, self._params, cudnn_dtype(self.dtype), *types
        load("cudnn").cudnnGnnMhaGatBackward(*self.graph.on(stream), *inputs, *saved, *outputs, *how)

    @property
    def workspace_sizes(self) -> tuple[int, int]:
        """Bytes of the two buffers of a workspace."""
        return self._workspace_sizes(self._gradient_type(self.gradient), self._gradient_type(self.weight_gradient))

    @property
    def _weights(self) -> int:
        return 2 * self.node_width + self.edge_width


@dataclass(frozen=True, slots=True)
class GraphAttentionV2(_Attention):
    """GATv2: a destination's score of a source is w activation(source + destination + edge), for each head.

    Weights are node_width long, and edges, if any, as wide as nodes. All else is as in `GraphAttention`, but for one
    type of all gradients.
    """

    def __post_init__(self) -> None:
        _Attention.__post_init__(self)
        if self.edge_width not in (0, self.node_width):
            raise ValueError(f"GATv2: edge_width is {self.edge_width}, not 0 or node_width={self.node_width}")

    def forward(self, stream: Stream, features: GraphFeatures, output: Any, scores: Any, activated: Any) -> None:
        """Fill output (destinations, output_width), scores and activated (cudnnGnnMhaGatV2Forward).

        `activated` is (edges, node_width), for the gradient.
        """
        inputs = *self._features(features), self._factors("mask", features.mask)
        places = self._output("output", output), checked("scores", scores, self.scores_size), self._activated(activated)
        how = self.node_width, self._params, cudnn_dtype(self.dtype)
        load("cudnn").cudnnGnnMhaGatV2Forward(*self.graph.on(stream), *inputs, *places, *how)

    def backward(
        self,
        stream: Stream,
        doutput: Any,
        features: GraphFeatures,
        scores: Any,
        activated: Any,
        gradients: GraphGradients,
        *,
        dattention: Any = None,
        workspace: GraphWorkspace | None = None,
    ) -> None:
        """Fill the gradients, with what forward was given and what it wrote (cudnnGnnMhaGatV2Backward).

        `dattention` and `workspace` are those of `GraphAttention.backward`.
        """
        dtype = self._gradient_type(self.gradient)
        inputs = self._output("doutput", doutput), *self._features(features)
        saved = checked("scores", scores, self.scores_size), self._activated(activated)
        factors = self._factors("mask", features.mask), self._factors("dattention", dattention)
        outputs = self._gradients(gradients, workspace, dtype, dtype)
        how = self.node_width, self._params, cudnn_dtype(self.dtype), dtype
        load("cudnn").cudnnGnnMhaGatV2Backward(*self.graph.on(stream), *inputs, *saved, *factors, *outputs, *how)

    @property
    def workspace_sizes(self) -> tuple[int, int]:
        """Bytes of the two buffers of a workspace."""
        dtype = self._gradient_type(self.gradient)
        return self._workspace_sizes(dtype, dtype)

    def _activated(self, place: Any) -> int:
        return checked("activated", place, self.graph.edges * self.node_width * numpy_dtype(self.dtype).itemsize)

    @property
    def _weights(self) -> int:
        return self.node_width
