"""Graph networks without a GPU: what is refused, what is passed on, and what an older cuDNN answers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from gocudnn_py._abi.cudnn import FUNCTIONS, DataType, GnnActivationOp, GnnAggOp
from gocudnn_py.cudnn import gnn, gnn_attention
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
from gocudnn_py.errors import NotInThisVersion
from tests.gocudnn_py.cudnn_calls import STREAM, Recorder, buffers, older_library, stream

SIZES = {"sources": 4, "destinations": 3, "edges": 6}
FLOAT, HALF, BF16, INT64 = DataType.FLOAT, DataType.HALF, DataType.BFLOAT16, DataType.INT64


@pytest.fixture
def lib(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    recorder = Recorder()
    for module in (gnn, gnn_attention):
        monkeypatch.setattr(module, "load", lambda name: recorder)
    return recorder


def graph(**changed: Any) -> CscGraph:
    at = buffers(offsets=32, indices=48)
    given: dict[str, Any] = {"offsets": at.offsets, "indices": at.indices, "index": np.int64, **SIZES}
    return CscGraph(**(given | changed))


def reversible() -> CscGraph:
    at = buffers(unused=1, too=1, reverse_offsets=40, reverse_rows=48, edge_rows=48)
    places = {name: getattr(at, name) for name in ("reverse_offsets", "reverse_rows", "edge_rows")}
    return graph(**places)


def test_the_structure_of_a_graph() -> None:
    made = reversible()
    fields = {name: getattr(made.struct, name) for name, *_ in made.struct._fields_}
    assert fields == {
        "cscOffsets": 0x10000,
        "cscIndices": 0x20000,
        "mapCscToCoo": 0x50000,
        "mapRevToCoo": 0x40000,
        "nSrcNodes": 4,
        "nDstNodes": 3,
        "nIndices": 6,
        "idxType": INT64,
        "cscRevOffsets": 0x30000,
    }
    assert repr(made) == "CscGraph(4 to 3 by 6 edges, INT64, reversible)"
    assert repr(graph(index=np.int32)) == "CscGraph(4 to 3 by 6 edges, INT32)"
    plain = graph().struct
    assert (plain.mapCscToCoo, plain.mapRevToCoo, plain.cscRevOffsets) == (None, None, None)


def test_edges_are_reversed() -> None:
    indices, rows = np.array([0, 2, 1, 2, 3], np.int32), np.array([3, 0, 4, 1, 2], np.int32)
    offsets, order = reversed_edges(indices, 5)
    assert (offsets.tolist(), order.tolist()) == ([0, 1, 2, 4, 5, 5], [0, 2, 1, 3, 4])
    assert reversed_edges(indices, 5, rows)[1].tolist() == [3, 4, 0, 1, 2]
    assert (offsets.dtype, order.dtype) == (np.int32, np.int32)


AT = buffers(output=10**4, nodes=10**4, edges=10**4, concat=10**4, positions=10**4)


def test_aggregation_passes_everything_on(lib: Recorder) -> None:
    made, on = Aggregation(reversible(), GnnAggOp.MAX, 5, 3, 2, HALF), stream()
    made.forward(on, AT.output, nodes=AT.nodes, edges=AT.edges, concat=AT.concat, positions=AT.positions)
    made.backward(on, AT.output, dnodes=AT.nodes, dedges=AT.edges, dconcat=AT.concat, positions=AT.positions)
    shared = {"stream": STREAM, "graph": made.graph.struct, "outPositions": AT.positions.pointer}
    shared |= {"nodeFeatDim": 5, "edgeFeatDim": 3, "concatFeatDim": 2, "dataType": HALF, "aggOp": GnnAggOp.MAX}
    parts = {"odeFeatures": AT.nodes, "dgeFeatures": AT.edges, "oncatFeatures": AT.concat}
    inputs = {first + name: at.pointer for first, (name, at) in zip("nec", parts.items(), strict=True)}
    outputs = {f"grad{first}{name}": at.pointer for first, (name, at) in zip("NEC", parts.items(), strict=True)}
    assert lib.calls == [
        ("cudnnGnnAggSimpleForward", shared | inputs | {"output": AT.output.pointer}),
        ("cudnnGnnAggSimpleBackward", shared | outputs | {"gradOutput": AT.output.pointer}),
    ]
    assert on.entered == 2


def test_what_has_no_width_is_null(lib: Recorder) -> None:
    Aggregation(graph(), GnnAggOp.SUM, edge_width=3).forward(stream(), AT.output, edges=AT.edges)
    _, values = lib.only
    names = ("nodeFeatures", "edgeFeatures", "concatFeatures", "outPositions")
    assert [values[name] for name in names] == [0, AT.edges.pointer, 0, 0]


KINDS = ("sources", "destinations", "weights", "scores", "edges")
BIG = buffers(**dict.fromkeys((*KINDS, "mask", "output", "activated", "dattention", "w0", "w1"), 10**5))
OTHER = buffers(**{f"unused{i}": 1 for i in range(20)}, **dict.fromkeys(KINDS, 10**5))
FEATURES = GraphFeatures(BIG.sources, BIG.destinations, BIG.weights, BIG.edges, BIG.mask)
GRADIENTS = GraphGradients(*(getattr(OTHER, name) for name in KINDS))
WORKSPACE = GraphWorkspace(BIG.w0, BIG.w1)
C_INPUTS = {
    "srcFeatures": BIG.sources, "dstFeatures": BIG.destinations, "edgeFeatures": BIG.edges, "attnWeights": BIG.weights,
    "dropoutMask": BIG.mask, "smScores": BIG.scores,
}  # fmt: skip
C_GRADIENTS = {
    "gradOut": BIG.output, "gradAttention": BIG.dattention, "gradSrcFeatures": OTHER.sources,
    "gradDstFeatures": OTHER.destinations, "gradEdgeFeatures": OTHER.edges, "gradWeights": OTHER.weights,
    "gradSmScores": OTHER.scores, "gradWspaceFeat": BIG.w0, "gradWspaceWeights": BIG.w1,
}  # fmt: skip


def pointers(places: dict[str, Any]) -> dict[str, int]:
    return {name: place.pointer for name, place in places.items()}


def params_of(values: dict[str, Any]) -> tuple[Any, ...]:
    params = values.pop("params")
    return params.activation, round(params.activationAlpha, 6), params.numHeads, params.concatHeads


def test_gat_passes_everything_on(lib: Recorder) -> None:
    made = GraphAttention(reversible(), 8, 4, 2, False, GnnActivationOp.ELU, 0.3, HALF, HALF, FLOAT)
    on, options = stream(), {"dattention": BIG.dattention, "workspace": WORKSPACE}
    made.forward(on, FEATURES, BIG.output, BIG.scores)
    made.backward(on, BIG.output, FEATURES, BIG.scores, GRADIENTS, **options)
    (first, forward), (second, backward) = lib.calls
    assert params_of(forward) == params_of(backward) == (GnnActivationOp.ELU, 0.3, 2, 0)
    shared = {"stream": STREAM, "graph": made.graph.struct, "dimNode": 8, "dimEdge": 4, "dataType": HALF}
    shared |= pointers(C_INPUTS)
    assert (first, forward) == ("cudnnGnnMhaGatForward", shared | {"output": BIG.output.pointer})
    types = {"gradDataType": HALF, "gradWeightType": FLOAT}
    assert (second, backward) == ("cudnnGnnMhaGatBackward", shared | pointers(C_GRADIENTS) | types)
    assert on.entered == 2


def test_gat_v2_passes_everything_on(lib: Recorder) -> None:
    made = GraphAttentionV2(reversible(), 8, 8, 4, dtype="bfloat16", gradient=np.float32)
    on, options = stream(), {"dattention": BIG.dattention, "workspace": WORKSPACE}
    made.forward(on, FEATURES, BIG.output, BIG.scores, BIG.activated)
    made.backward(on, BIG.output, FEATURES, BIG.scores, BIG.activated, GRADIENTS, **options)
    (first, forward), (second, backward) = lib.calls
    assert params_of(forward) == params_of(backward) == (GnnActivationOp.LEAKY_RELU, 0.2, 4, 1)
    shared = {"stream": STREAM, "graph": made.graph.struct, "dimNode": 8, "dataType": BF16}
    shared |= pointers(C_INPUTS | {"actScores": BIG.activated})
    assert (first, forward) == ("cudnnGnnMhaGatV2Forward", shared | {"output": BIG.output.pointer})
    assert (second, backward) == ("cudnnGnnMhaGatV2Backward", shared | pointers(C_GRADIENTS) | {"gradType": FLOAT})


def test_what_is_not_given_is_null(lib: Recorder) -> None:
    features = FEATURES._replace(edges=None, mask=None)
    gradients = GRADIENTS._replace(edges=None)
    GraphAttention(graph(), 8).backward(stream(), BIG.output, features, BIG.scores, gradients)
    GraphAttentionV2(graph(), 8).backward(stream(), BIG.output, features, BIG.scores, BIG.activated, gradients)
    nulls = (
        "edgeFeatures", "dropoutMask", "gradAttention", "gradEdgeFeatures", "gradWspaceFeat", "gradWspaceWeights",
    )  # fmt: skip
    for _, values in lib.calls:
        assert {name for name, value in values.items() if value == 0 and "Type" not in name and name != "dimEdge"} == {
            *nulls
        }


def test_sizes() -> None:
    first = GraphAttention(graph(), 8, 4, 2, False, dtype=HALF, weight_gradient=FLOAT)
    assert (first.output_width, first.scores_size) == (4, 2 * 2 * 6 * 4)
    assert first.workspace_sizes == (6 * 8 * 2, 3 * (16 + 4) * 4)
    assert GraphAttentionV2(graph(), 8, 8, 2).workspace_sizes == (6 * 8 * 4, 3 * 8 * 4)


def aggregation(**changed: Any) -> Aggregation:
    return Aggregation(**({"graph": graph(), "op": GnnAggOp.SUM, "node_width": 5} | changed))


WRONG: list[tuple[Any, str]] = [
    (lambda: graph(index=np.int16), "has no data type for int16"),
    (lambda: graph(index=np.float32), "indices are INT32 or INT64, not FLOAT"),
    (lambda: graph(edges=0), "edges is 0, outside 1"),
    (lambda: graph(index=np.int32, edges=2**31), "edges is 2147483648, outside 1 to 2147483647"),
    (lambda: graph(destinations=4), "offsets takes 40 bytes, the buffer holds 32"),
    (lambda: graph(edges=7), "indices takes 56 bytes, the buffer holds 48"),
    (lambda: graph(indices=None), "indices is missing, it takes 48 bytes"),
    (lambda: graph(reverse_rows=1), "reverse_offsets and reverse_rows are given together"),
    (lambda: aggregation(node_width=0), "node_width and edge_width are both 0"),
    (lambda: aggregation(node_width=-1), "node_width is -1, outside 0"),
    (lambda: aggregation(dtype=np.float64), "an aggregation takes FLOAT, HALF, BFLOAT16, not DOUBLE"),
    (lambda: aggregation().forward(stream(), AT.output), "nodes is missing, it takes 80 bytes"),
    (lambda: aggregation().forward(stream(), AT.output, nodes=1, edges=1), "edges was given, and takes 0 bytes"),
    (lambda: aggregation().forward(stream(), AT.output, nodes=1, positions=1), "positions was given"),
    (lambda: aggregation(op=GnnAggOp.MIN).forward(stream(), AT.output, nodes=1), "positions is missing"),
    (lambda: aggregation().forward(stream(), buffers(a=59).a, nodes=1), "output takes 60 bytes, the buffer holds 59"),
    (lambda: GraphAttention(graph(), 8, heads=3), "widths do not divide into 3 heads .node_width=8, edge_width=0"),
    (lambda: GraphAttention(graph(), 8, 3, 2), "do not divide into 2 heads .node_width=8, edge_width=3"),
    (lambda: GraphAttention(graph(), 8, dtype=np.float64), "graph attention takes FLOAT, HALF, BFLOAT16, not DOUBLE"),
    (lambda: GraphAttention(graph(), 8, gradient=HALF), "gradients of FLOAT are of that type or FLOAT, not HALF"),
    (lambda: GraphAttention(graph(), 8, dtype=HALF, weight_gradient=BF16), "gradients of HALF are .*, not BFLOAT16"),
    (lambda: GraphAttentionV2(graph(), 8, 4), "GATv2: edge_width is 4, not 0 or node_width=8"),
    (
        lambda: GraphAttention(graph(), 8, 4).backward(
            stream(), BIG.output, FEATURES, BIG.scores, GRADIENTS, workspace=WORKSPACE
        ),
        "deterministic gradient needs reverse_offsets and reverse_rows",
    ),
    (
        lambda: GraphAttention(graph(), 8, 4).forward(stream(), FEATURES, BIG.output, buffers(a=47).a),
        "scores takes 48 bytes, the buffer holds 47",
    ),
]


@pytest.mark.parametrize(("mistake", "message"), WRONG, ids=[row[1][:40] for row in WRONG])
def test_mistakes_are_refused(mistake: Any, message: str, lib: Recorder) -> None:
    with pytest.raises(ValueError, match=message):
        mistake()
    assert not lib.calls


def test_an_older_library_says_what_it_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    old = older_library()
    for module in (gnn, gnn_attention):
        monkeypatch.setattr(module, "load", lambda name: old)
    first, second, features = GraphAttention(graph(), 8), GraphAttentionV2(graph(), 8), FEATURES._replace(edges=None)
    gradients = GRADIENTS._replace(edges=None)
    scores, activated, out = BIG.scores, BIG.activated, BIG.output
    runs = {
        "cudnnGnnAggSimpleForward": lambda: aggregation().forward(stream(), AT.output, nodes=AT.nodes),
        "cudnnGnnAggSimpleBackward": lambda: aggregation().backward(stream(), AT.output, dnodes=AT.nodes),
        "cudnnGnnMhaGatForward": lambda: first.forward(stream(), features, out, scores),
        "cudnnGnnMhaGatBackward": lambda: first.backward(stream(), out, features, scores, gradients),
        "cudnnGnnMhaGatV2Forward": lambda: second.forward(stream(), features, out, scores, activated),
        "cudnnGnnMhaGatV2Backward": lambda: second.backward(stream(), out, features, scores, activated, gradients),
    }
    assert runs.keys() == {name for name, row in FUNCTIONS.items() if row.header == "cudnn_gnn_ops.h"}
    for name, run in runs.items():
        assert not hasattr(old, name)
        with pytest.raises(NotInThisVersion, match=rf"^{name} is not in cuDNN 9\.19\.0, loaded from "):
            run()


def test_this_library_has_the_functions_or_none(cudnn: Any) -> None:
    """They come with 9.26 (aggregation) and 9.28 (attention), but for the jit package."""
    names = [name for name, row in FUNCTIONS.items() if row.header == "cudnn_gnn_ops.h"]
    there = {name for name in names if hasattr(cudnn, name)}
    if cudnn.version < (9, 26):
        assert not there
    if cudnn.version >= (9, 28) and cudnn.parts.present("ext"):
        assert there == {*names}
