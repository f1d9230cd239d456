"""Groups of nodes that one kernel of ours does, found in a training graph."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace

from ...dtypes import DType
from ...graph import Graph, Node, Phase, Value
from ...ops.activation import Activation, ActivationBackward
from ...ops.base import Op
from ...ops.conv import (
    Convolution,
    ConvolutionBackwardBias,
    ConvolutionBackwardData,
    ConvolutionBackwardFilter,
)
from ...ops.elementwise import Full
from ...ops.loss import CountCorrect, CrossEntropy, CrossEntropyBackward, MaskedMean, MaskedMeanBackward
from ...ops.update import FlagNonFinite, LossScale
from ...passes.layout import channels_first
from .fused import (
    ActivatedConvolution,
    FinishGradients,
    FusedBackward,
    FusedConvolution,
    Geometry,
    GradientPart,
    SoftmaxLoss,
)
from .tiling import fits, leads

LARGEST_LOSS = 4096  # samples that one block takes
MOST_CLASSES = 64
ONE = Full((), DType.float32, 1.0)


def fuse(graph: Graph, keep: Collection[Value], shared_limit: int, large: Callable[[int], bool]) -> Graph:
    """Replace groups of nodes in place; what is kept, put out or assigned is still made.

    `shared_limit` is how many bytes of shared memory a block may take on the card; `large` says of a number of
    multiply-adds whether the libraries do them.
    """
    _Fusion(graph, keep, shared_limit, large).run()
    return graph


def is_for_libraries(graph: Graph, shared_limit: int, large: Callable[[int], bool]) -> bool:
    """Whether a row-major graph has a convolution that the libraries would do rather than our kernels."""
    fusion = _Fusion(graph, (), shared_limit, large)
    return any(fusion.is_for_libraries(node) for node in graph.nodes if isinstance(node.op, Convolution))


class _Fusion:
    def __init__(self, graph: Graph, keep: Collection[Value], shared_limit: int, large: Callable[[int], bool]) -> None:
        self.graph, self.shared_limit, self.large = graph, shared_limit, large
        self.wanted = {*keep, *graph.outputs.values(), *graph.assigned.values()}

    def run(self) -> None:
        self._loss()
        self._forward()
        self._backward_data()
        self._gradients()
        self._join_gradients()

    def _forward(self) -> None:
        """Convolution, alone or with the activation that follows it."""
        for node in self._nodes(Convolution):
            geometry = self._geometry(node, node.inputs[0].shape, node.inputs[1].shape)
            user = self._only_user(node.outputs[0])
            if geometry is None:
                self._activate(node, user)
            elif user is not None and isinstance(user.op, Activation):
                op: Op = FusedConvolution(geometry, user.op.kind, user.op.parameter)
                self._replace([node, user], op, node.inputs, user.outputs)
            else:
                self._replace([node], FusedConvolution(geometry), node.inputs, node.outputs)

    def is_for_libraries(self, node: Node) -> bool:
        """Whether a convolution is none of our small ones, and large enough."""
        x, w = node.inputs[:2]
        return self._is_large(node) and self._geometry(node, x.shape, w.shape) is None

    def _activate(self, node: Node, user: Node | None) -> None:
        """A convolution of the libraries' with the activation that follows it."""
        assert isinstance(node.op, Convolution)
        if user is not None and isinstance(user.op, Activation) and self._is_large(node):
            op = ActivatedConvolution(node.op, user.op.kind, user.op.parameter)
            self._replace([node, user], op, node.inputs, user.outputs)

    def _backward_data(self) -> None:
        """The data gradient, alone or with the gradient of the activation whose output was the input."""
        for node in self._nodes(ConvolutionBackwardData):
            assert isinstance(node.op, ConvolutionBackwardData)
            geometry = self._geometry(node, node.op.x_shape, node.inputs[1].shape)
            if geometry is None:
                continue
            user = self._only_user(node.outputs[0])
            if user is not None and isinstance(user.op, ActivationBackward) and user.inputs[1] is node.outputs[0]:
                kind = user.op.kind
                op = FusedBackward(geometry, data=True, kind=kind, parameter=user.op.parameter)
                x = () if kind == "identity" else (user.inputs[0],)
                self._replace([node, user], op, (*x, *node.inputs), user.outputs)
            else:
                self._replace([node], FusedBackward(geometry, data=True), node.inputs, node.outputs)

    def _gradients(self) -> None:
        """Filter and bias gradients become partial sums, added up where the non-finite flag is set."""
        flag = next(iter(self._nodes(FlagNonFinite)), None)
        if flag is None or flag.op != FlagNonFinite():  # with a loss scale, gradients are divided first
            return
        if len(flag.inputs) < 3 or any(value.dtype is not DType.float32 for value in flag.inputs[1:]):
            return
        sources: list[Value] = []
        parts: list[GradientPart] = []
        targets: list[Value] = []
        for value in flag.inputs[2:]:
            assert value.node is not None
            if isinstance(value.node.op, ConvolutionBackwardFilter):
                self._split_filter_gradient(value.node, flag, sources, parts, targets)
        complete = [value for value in flag.inputs[2:] if value not in targets]
        inputs = (*flag.inputs[:2], *sources, *complete)
        op = FinishGradients(len(sources), tuple(parts))
        # In the backward slice, whose gradients are complete only then.
        self._replace([flag], op, inputs, (*flag.outputs, *targets), phase="backward")

    def _split_filter_gradient(
        self, node: Node, flag: Node, sources: list[Value], parts: list[GradientPart], targets: list[Value]
    ) -> None:
        assert isinstance(node.op, ConvolutionBackwardFilter)
        x, dy = node.inputs
        geometry = self._geometry(node, x.shape, node.op.w_shape)
        if geometry is None or self._only_late_users(node.outputs[0], flag) is False:
            return
        bias = self._bias_gradient(dy, flag)
        op = FusedBackward(geometry, _parts(x.shape[0], geometry))
        (type,) = op.infer(x.type, dy.type)
        partial = Value(self.graph, f"{node.outputs[0].name}.parts", type)
        filters = geometry.filters
        parts.append(GradientPart(len(sources), 0, node.op.w_shape))
        targets.append(node.outputs[0])
        if bias is not None:
            parts.append(GradientPart(len(sources), filters * geometry.taps, (filters,)))
            targets.append(bias.outputs[0])
        sources.append(partial)
        self._replace([node] if bias is None else [node, bias], op, (x, dy), (partial,), at=node)

    def _join_gradients(self) -> None:
        """The filter and the data gradient of one convolution as one launch, where the later of them stands."""
        for node in self._nodes(FusedBackward):
            other = next((each for each in self._nodes(FusedBackward) if self._join(node, each)), None)
            if other is None:
                continue
            assert isinstance(node.op, FusedBackward)
            assert isinstance(other.op, FusedBackward)
            op, inputs = replace(other.op, parts=node.op.parts), (*node.inputs, other.inputs[-1])
            at = max(node, other, key=self.graph.nodes.index)
            self._replace([node, other], op, inputs, (*node.outputs, *other.outputs), at=at)

    def _join(self, node: Node, other: Node) -> bool:
        """Whether a filter gradient and a data gradient are of one convolution, and nobody between reads either."""
        first, second = node.op, other.op
        assert isinstance(first, FusedBackward)
        assert isinstance(second, FusedBackward)
        if first.data or second.parts or first.geometry != second.geometry:
            return False
        x, dy, _ = first.inputs(node.inputs)
        data_x, data_dy, _ = second.inputs(other.inputs)
        if dy is not data_dy or data_x not in (None, x):
            return False
        later = max(node, other, key=self.graph.nodes.index)
        return all(self._only_late_users(value, later) for value in (*node.outputs, *other.outputs))

    def _bias_gradient(self, dy: Value, flag: Node) -> Node | None:
        for user in self.graph.consumers().get(dy, ()):
            if isinstance(user.op, ConvolutionBackwardBias) and self._only_late_users(user.outputs[0], flag):
                return user
        return None

    def _only_late_users(self, value: Value, node: Node) -> bool:
        """Whether nothing before a node reads a value."""
        first = self.graph.nodes.index(node)
        return all(self.graph.nodes.index(user) >= first for user in self.graph.consumers().get(value, ()))

    def _loss(self) -> None:
        """Cross-entropy, its mean, the count of right answers and the gradient of the logits, as one."""
        for node in self._nodes(CrossEntropy):
            logits, labels = node.inputs
            if len(logits.shape) != 2 or logits.shape[0] > LARGEST_LOSS or logits.shape[1] > MOST_CLASSES:
                continue
            if logits.dtype is not DType.float32 or labels.dtype is not DType.int64:
                continue
            group = self._loss_group(node, logits, labels)
            if group is not None:
                mean, count, seed, *_, backward = group
                step = mean.inputs[1]
                scaled = isinstance(seed.op, LossScale)
                outputs = (mean.outputs[0], count.outputs[0], backward.outputs[0])
                self._replace([node, *group], SoftmaxLoss(scaled), (logits, labels, step), outputs, at=node)

    def _loss_group(self, node: Node, logits: Value, labels: Value) -> list[Node] | None:
        users = self.graph.consumers()
        losses, probabilities = node.outputs
        mean = _single(users.get(losses, ()), MaskedMean)
        count = _single([n for n in users.get(logits, ()) if isinstance(n.op, CountCorrect)], CountCorrect)
        backward = _single(users.get(probabilities, ()), CrossEntropyBackward)
        if mean is None or count is None or backward is None or count.inputs[1] is not labels:
            return None
        spread = backward.inputs[2].node
        if spread is None or not isinstance(spread.op, MaskedMeanBackward):
            return None
        seed = spread.inputs[0].node
        if seed is None or not (isinstance(seed.op, LossScale) or seed.op == ONE):
            return None
        inner = [losses, probabilities, spread.outputs[0], seed.outputs[0]]
        alone = all(value not in self.wanted and len(users.get(value, ())) == 1 for value in inner)
        return [mean, count, seed, spread, backward] if alone else None

    def _geometry(self, node: Node, x_shape: Sequence[int], w_shape: Sequence[int]) -> Geometry | None:
        """The geometry for our small-channel kernels, of row-major float32; None where they do not apply."""
        fields, types = node.op.fields(), [value.type for value in (*node.inputs, *node.outputs)]
        if len(x_shape) != 4 or fields["groups"] != 1:
            return None
        if any(type.dtype is not DType.float32 or type.order != channels_first(type) for type in types):
            return None
        geometry = Geometry(
            x_shape[1],
            x_shape[2],
            x_shape[3],
            w_shape[0],
            (w_shape[2], w_shape[3]),
            fields["stride"],
            fields["padding"],
            fields["dilation"],
        )
        if not fits(geometry, self.shared_limit):
            return None
        return geometry if leads(geometry) or not self._is_large(node) else None

    def _is_large(self, node: Node) -> bool:
        """Whether the libraries do a product."""
        flops = node.op.flops([x.type for x in node.inputs], [y.type for y in node.outputs])
        return self.large(flops // 2)

    def _nodes(self, op: type[Op]) -> list[Node]:
        return [node for node in self.graph.nodes if isinstance(node.op, op)]

    def _only_user(self, value: Value) -> Node | None:
        users = self.graph.consumers().get(value, [])
        return users[0] if len(users) == 1 and value not in self.wanted else None

    def _replace(
        self,
        nodes: Sequence[Node],
        op: Op,
        inputs: Sequence[Value],
        outputs: Sequence[Value],
        at: Node | None = None,
        phase: Phase | None = None,
    ) -> None:
        """Put one node where the last of `nodes` stands, or where `at` does."""
        place = at or nodes[-1]
        node = Node(op, tuple(inputs), tuple(outputs), place.scope, phase or place.phase)
        for value in outputs:
            value.node = node
        position = self.graph.nodes.index(place)
        self.graph.nodes[position] = node
        gone = {id(other) for other in nodes if other is not place}
        self.graph.nodes = [other for other in self.graph.nodes if id(other) not in gone]


def _single(nodes: Sequence[Node], op: type[Op]) -> Node | None:
    return nodes[0] if len(nodes) == 1 and isinstance(nodes[0].op, op) else None


def _parts(samples: int, geometry: Geometry) -> int:
    """Into how many groups the samples of a filter gradient are cut."""
    return min(samples, 64 if geometry.whole else 200)
