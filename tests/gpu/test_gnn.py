"""Graph networks on the card against float64, where cuDNN has them (9.26, attention 9.28)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from gocudnn_py._abi.cudnn import GnnActivationOp, GnnAggOp
from gocudnn_py.cuda import DeviceBuffer
from gocudnn_py.cudnn.gnn import (
    Aggregation,
    CscGraph,
    GraphAttention,
    GraphAttentionV2,
    GraphFeatures,
    GraphGradients,
    GraphWorkspace,
    reversed_edges,
)
from gocudnn_py.dtypes import numpy_dtype
from tests.convnetgo.bound import unit_roundoff
from tests.gocudnn_py.cudnn_calls import skip_what_is_missing
from tests.gpu.card import Array, Card, numbers
from tests.oracles.gnn import Attention, Edges, aggregate, total

OFFSETS, INDICES, ROWS = np.array([0, 2, 4, 6]), np.array([0, 1, 1, 2, 2, 3]), np.array([4, 0, 5, 1, 3, 2])
EDGES = Edges.of(OFFSETS, INDICES, ROWS)
SOURCES, DESTINATIONS = 4, 3
AGGREGATE = "cudnnGnnAggSimpleForward", "cudnnGnnAggSimpleBackward"
GAT = "cudnnGnnMhaGatForward", "cudnnGnnMhaGatBackward"
GAT_V2 = "cudnnGnnMhaGatV2Forward", "cudnnGnnMhaGatV2Backward"
TYPES = [np.float32, np.float16, "bfloat16"]


@pytest.fixture(autouse=True)
def there(request: pytest.FixtureRequest, card: Card) -> None:
    skip_what_is_missing(request)


def check(found: Array, right: Array, dtype: Any, terms: int) -> None:
    """Every number hangs on a chain of sums of so many terms, which all round, and on fast exponentials.

    The sums of narrow types are of float32: there each of 16 roundings of the type counts, and no sum.
    """
    chain = 16 * terms if dtype == np.float32 else 16
    allowed = chain * unit_roundoff(numpy_dtype(dtype)) * max(1.0, float(np.abs(right).max()))
    error = np.abs(found - right).max()
    assert error <= allowed, f"{error}, {allowed} allowed"


def graph(card: Card, index: Any = np.int32, *, mapped: bool = True, reversible: bool = False) -> CscGraph:
    def put(array: Array | None) -> DeviceBuffer | None:
        return None if array is None else card.row(array, index)

    rows = ROWS if mapped else None
    back = reversed_edges(INDICES, SOURCES, rows) if reversible else (None, None)
    sizes = {"sources": SOURCES, "destinations": DESTINATIONS, "edges": len(INDICES)}
    more = {"edge_rows": put(rows), "reverse_offsets": put(back[0]), "reverse_rows": put(back[1])}
    return CscGraph(put(OFFSETS), put(INDICES), index=index, **sizes, **more)


@pytest.mark.covers(*AGGREGATE)
@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("index", [np.int32, np.int64])
@pytest.mark.parametrize("op", GnnAggOp)
def test_aggregation(op: GnnAggOp, index: Any, dtype: Any, card: Card) -> None:
    nodes, edges, concat = (numbers(n, w, seed=w, dtype=dtype) for n, w in ((SOURCES, 5), (6, 3), (DESTINATIONS, 2)))
    dout = numbers(DESTINATIONS, 10, seed=9, dtype=dtype)
    name = op.name.lower()
    by_node, node_share = aggregate(nodes[INDICES], EDGES.destinations, DESTINATIONS, name)
    by_edge, edge_share = aggregate(edges[ROWS], EDGES.destinations, DESTINATIONS, name)
    put = {what: card.row(x, dtype) for what, x in (("nodes", nodes), ("edges", edges), ("concat", concat))}
    positions = None
    if op in (GnnAggOp.MAX, GnnAggOp.MIN):
        positions = card.row(np.full((DESTINATIONS, 8), -1), index)
    output = card.row(np.full((DESTINATIONS, 10), np.nan), dtype)
    made = Aggregation(graph(card, index), op, 5, 3, 2, dtype)
    made.forward(card.stream, output, **put, positions=positions)
    check(card.read(output, dout.shape, dtype), np.concatenate([by_node, by_edge, concat], axis=1), dtype, 3)
    gradients = {
        f"d{what}": card.row(np.zeros(x.shape), dtype)
        for what, x in (("nodes", nodes), ("edges", edges), ("concat", concat))
    }
    made.backward(card.stream, card.row(dout, dtype), **gradients, positions=positions)
    spread = dout[EDGES.destinations]
    dedges = np.zeros(edges.shape)
    dedges[ROWS] = edge_share * spread[:, 5:8]
    check(
        card.read(gradients["dnodes"], nodes.shape, dtype),
        total(node_share * spread[:, :5], INDICES, SOURCES),
        dtype,
        3,
    )
    check(card.read(gradients["dedges"], edges.shape, dtype), dedges, dtype, 3)
    check(card.read(gradients["dconcat"], concat.shape, dtype), dout[:, 8:], dtype, 1)


@dataclass
class Case:
    """GAT or GATv2 of two heads over 8 numbers a node, with what it reads and the gradients of what it writes."""

    second: bool
    concat: bool = True
    with_edges: bool = True
    activation: GnnActivationOp = GnnActivationOp.LEAKY_RELU
    dtype: Any = np.float32
    mapped: bool = True

    def __post_init__(self) -> None:
        self.width = (8 if self.second else 4) if self.with_edges else 0
        self.rows = ROWS if self.mapped else np.arange(len(ROWS))
        weights = 8 if self.second else 16 + self.width
        self.sources, self.destinations = self._draw(SOURCES, 8), self._draw(DESTINATIONS, 8)
        self.weights, self.edges = self._draw(weights), self._draw(6, self.width) if self.with_edges else None
        self.mask = np.array([[0.0, 1.25, 1.25, 1.25, 0.0, 1.25], [1.25, 0.0, 1.25, 1.25, 1.25, 1.25]])
        self.dout, self.dattention = self._draw(DESTINATIONS, 8 if self.concat else 4), numbers(2, 6, seed=8)
        edges = Edges.of(OFFSETS, INDICES, self.rows)
        self.oracle = Attention(edges, 2, self.concat, self.activation.name, 0.3, self.second)

    def _draw(self, *shape: int) -> Array:
        return numbers(*shape, seed=sum(shape), dtype=self.dtype) / 2

    def right(self) -> tuple[Array, Array, tuple[Array | None, ...]]:
        given = self.sources, self.destinations, self.weights, self.edges, self.mask
        output, attention, _ = self.oracle.forward(*given)
        return output, attention, self.oracle.backward(*given, self.dout, self.dattention)

    def attention(self, graph: CscGraph) -> Any:
        kind: Any = GraphAttentionV2 if self.second else GraphAttention
        how = {"heads": 2, "concat": self.concat, "activation": self.activation, "alpha": 0.3, "dtype": self.dtype}
        return kind(graph, 8, self.width, **how)

    def terms(self) -> int:
        return 2 * 8 + self.width + len(INDICES)


def run(case: Case, card: Card, deterministic: bool) -> tuple[Array, Array, list[Array | None]]:
    """The output, the attention, and gradients of sources, destinations, weights and edges, off the card."""
    dtype, made = case.dtype, case.attention(graph(card, mapped=case.mapped, reversible=deterministic))
    arrays = case.sources, case.destinations, case.weights, case.edges
    put = [None if x is None else card.row(x, dtype) for x in arrays]
    features = GraphFeatures(*put, mask=card.row(case.mask))
    output, scores = card.row(np.full(case.dout.shape, np.nan), dtype), card.row(np.full((2, 2, 6), np.nan))
    saved = (scores, card.row(np.full((6, 8), np.nan), dtype)) if case.second else (scores,)
    made.forward(card.stream, features, output, *saved)
    rooms = [None if x is None else card.row(np.full(x.shape, np.nan), dtype) for x in arrays]
    gradients = GraphGradients(*rooms[:3], card.row(np.full((2, 2, 6), np.nan)), rooms[3])
    workspace = GraphWorkspace(*map(card.scratch, made.workspace_sizes)) if deterministic else None
    more = {"dattention": card.row(case.dattention), "workspace": workspace}
    made.backward(card.stream, card.row(case.dout, dtype), features, *saved, gradients, **more)
    found = [None if x is None else card.read(room, x.shape, dtype) for x, room in zip(arrays, rooms, strict=True)]
    return card.read(output, case.dout.shape, dtype), card.read(scores, (2, 2, 6))[1], found


def compare(case: Case, card: Card, deterministic: bool) -> None:
    output, attention, gradients = run(case, card, deterministic)
    right, right_attention, right_gradients = case.right()
    check(output, right, case.dtype, case.terms())
    check(attention, right_attention, case.dtype, case.terms())
    for found, gradient in zip(gradients, right_gradients, strict=True):
        assert (found is None) == (gradient is None)
        if gradient is not None:
            check(found, gradient, case.dtype, case.terms())


@pytest.mark.covers(*GAT)
@pytest.mark.parametrize("deterministic", [False, True])
@pytest.mark.parametrize("concat", [False, True])
@pytest.mark.parametrize("with_edges", [False, True])
def test_gat(deterministic: bool, concat: bool, with_edges: bool, card: Card) -> None:
    compare(Case(False, concat, with_edges), card, deterministic)


@pytest.mark.covers(*GAT_V2)
@pytest.mark.parametrize("deterministic", [False, True])
@pytest.mark.parametrize("concat", [False, True])
@pytest.mark.parametrize("with_edges", [False, True])
def test_gat_v2(deterministic: bool, concat: bool, with_edges: bool, card: Card) -> None:
    compare(Case(True, concat, with_edges), card, deterministic)


@pytest.mark.covers(*GAT, *GAT_V2)
@pytest.mark.parametrize("activation", GnnActivationOp)
def test_activations(activation: GnnActivationOp, card: Card) -> None:
    for second in (False, True):
        compare(Case(second, activation=activation, mapped=False), card, deterministic=False)


@pytest.mark.covers(*GAT, *GAT_V2)
@pytest.mark.parametrize("dtype", TYPES[1:])
def test_half_precision(dtype: Any, card: Card) -> None:
    for second in (False, True):
        compare(Case(second, dtype=dtype), card, deterministic=True)


@pytest.mark.covers(*GAT, *GAT_V2)
def test_a_workspace_makes_every_run_the_same(card: Card) -> None:
    for second in (False, True):
        case = Case(second)
        _, _, first = run(case, card, deterministic=True)
        for _ in range(3):
            _, _, again = run(case, card, deterministic=True)
            for one, other in zip(first, again, strict=True):
                np.testing.assert_array_equal(one, other)


@pytest.mark.covers(*GAT)
def test_sources_that_are_destinations_share_their_gradient(card: Card) -> None:
    case = Case(False)
    case.destinations = case.sources[:DESTINATIONS]
    _, _, (dsources, ddestinations, *_) = case.right()
    assert dsources is not None
    assert ddestinations is not None
    made = case.attention(graph(card))
    nodes, weights, edges = (card.row(x) for x in (case.sources, case.weights, case.edges) if x is not None)
    features = GraphFeatures(nodes, nodes, weights, edges, card.row(case.mask))
    output, scores = card.row(np.zeros(case.dout.shape)), card.row(np.zeros((2, 2, 6)))
    made.forward(card.stream, features, output, scores)
    room, dweights, dedges = (
        card.row(np.full(x.shape, np.nan)) for x in (case.sources, case.weights, case.edges) if x is not None
    )
    gradients = GraphGradients(room, room, dweights, card.row(np.zeros((2, 2, 6))), dedges)
    made.backward(card.stream, card.row(case.dout), features, scores, gradients, dattention=card.row(case.dattention))
    dsources[:DESTINATIONS] += ddestinations
    check(card.read(room, dsources.shape), dsources, np.float32, case.terms())
