"""Attention as one operation of a graph, forward and backward."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gocudnn_py._abi.cudnn import BackendAttributeName as Attribute
from gocudnn_py._abi.cudnn import BackendAttributeType as Type
from gocudnn_py._abi.cudnn import BackendDescriptorType as Kind
from gocudnn_py._abi.cudnn import DataType
from gocudnn_py.cudnn.graph.builder import Builder
from gocudnn_py.cudnn.graph.descriptor import BackendDescriptor
from gocudnn_py.cudnn.graph.operations import Nested, Operation, Row, attributes, typed
from gocudnn_py.cudnn.graph.recipe import Attended, AttendedBackward, Recipe
from gocudnn_py.cudnn.graph.scores import SOFTMAX
from gocudnn_py.cudnn.graph.shapes import check_names
from gocudnn_py.cudnn.graph.tensor import Tensor

_LENGTHS = {
    "lengths_q": "SEQ_LEN_QDESC",
    "lengths_kv": "SEQ_LEN_KVDESC",
    "bounds_q": "CU_SEQ_LEN_QDESC",
    "bounds_kv": "CU_SEQ_LEN_KVDESC",
    "seed": "DROPOUT_SEED_DESC",
    "offset": "DROPOUT_OFFSET_DESC",
}
_SUBGRAPH = {
    "input_uid": ("SUBGRAPH_INPUT_UID", Type.INT64),
    "output_uid": ("SUBGRAPH_OUTPUT_UID", Type.INT64),
    "drop": ("DROPOUT_PROBABILITY", Type.FLOAT),
}
ATTENTION = Row(
    "attention",
    Kind.OPERATION_SDPA_FWD_DESCRIPTOR,
    attributes(
        "OPERATION_SDPA_FWD",
        q="QDESC",
        k="KDESC",
        v="VDESC",
        scale="SCALEDESC",
        blocks="BLOCK_MASK_DESC",
        pages_k="PAGE_TABLE_KDESC",
        pages_v="PAGE_TABLE_VDESC",
        descale_q="DESCALE_QDESC",
        descale_k="DESCALE_KDESC",
        descale_v="DESCALE_VDESC",
        descale_s="DESCALE_SDESC",
        scale_s="SCALE_SDESC",
        scale_o="SCALE_ODESC",
        **_LENGTHS,
    ),
    attributes(
        "OPERATION_SDPA_FWD",
        o="ODESC",
        statistics="STATSDESC",
        mask="DROPOUT_RNG_DUMP_DESC",
        amax_s="AMAX_SDESC",
        amax_o="AMAX_ODESC",
    ),
    typed("OPERATION_SDPA_FWD", unfuse_fma=("UNFUSE_FMA", Type.BOOLEAN), **_SUBGRAPH),
    nested=attributes("OPERATION_SDPA_FWD", modify="SUBGRAPH", softmax="SOFTMAX_DESC"),
    factors=("q", "k", "v"),
)
ATTENTION_BACKWARD = Row(
    "attention_backward",
    Kind.OPERATION_SDPA_BWD_DESCRIPTOR,
    attributes(
        "OPERATION_SDPA_BWD",
        q="QDESC",
        k="KDESC",
        v="VDESC",
        o="ODESC",
        do="DODDESC",
        statistics="STATSDESC",
        scale="SCALEDESC",
        sink="SINK_DESC",
        **_LENGTHS,
    ),
    attributes("OPERATION_SDPA_BWD", dq="DQDESC", dk="DKDESC", dv="DVDESC", dsink="DSINK_DESC", dbias="DBIAS_DESC"),
    typed(
        "OPERATION_SDPA_BWD",
        most_q=("MAX_TOTAL_SEQ_LEN_Q", Type.INT64),
        most_kv=("MAX_TOTAL_SEQ_LEN_KV", Type.INT64),
        **_SUBGRAPH,
    ),
    nested=attributes("OPERATION_SDPA_BWD", modify="SUBGRAPH"),
    factors=("q", "k", "v", "o", "do"),
)
ROWS = (ATTENTION, ATTENTION_BACKWARD)
SOFTMAX_GIVES = ("max", "sum")  # what only a softmax that is told of apart can give
AMAX = ("amax_s", "amax_o")


@dataclass(frozen=True, eq=False)
class Subgraph:
    """The operations between the scores and the softmax, as the operation of attention holds them."""

    operations: Sequence[Operation]

    def build(self, tensors: Mapping[int, BackendDescriptor]) -> BackendDescriptor:
        """The finalized graph of them (cudnnBackendFinalize)."""
        made = BackendDescriptor(Kind.OPERATIONGRAPH_DESCRIPTOR)
        operations = [each.build(tensors) for each in self.operations]
        return made.set(Attribute.OPERATIONGRAPH_OPS, Type.BACKEND_DESCRIPTOR, *operations).finalize()

    def key(self) -> list[object]:
        """What distinguishes it."""
        return [operation.key() for operation in self.operations]

    @property
    def made(self) -> list[Tensor]:
        """What they make."""
        return [tensor for each in self.operations for tensor in each.made]

    @property
    def line(self) -> str:
        """The operations one after another."""
        return "; ".join(each.line for each in self.operations)


class Attention(Builder):
    """What a `Graph` has of attention as one operation."""

    def attention(
        self,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        recipe: Recipe | None = None,
        *,
        beside: Sequence[str] = (),
        unfuse_fma: bool | None = None,
        **others: Tensor,
    ) -> Attended:
        """softmax(q k^T) v of q (B, H, S_q, D), k (B, H_k, S_kv, D) and v (B, H_v, S_kv, D_v), by a recipe.

        `beside` names what else is wanted: statistics, max, sum, the dropout's mask, amax_s, amax_o. The `others` are
        inputs of the row ATTENTION: `pages_k` and `pages_v` of keys and values in pages, `blocks` that count, the
        scales of float8; and a `sink` of the softmax.
        """
        recipe = recipe or Recipe()
        sink = others.pop("sink", None)
        check_names("attention", others, ATTENTION.inputs)
        _check_heads(q, k, v, others)
        inputs = {"q": q, "k": k, "v": v, **self._inputs(recipe), **others}
        scores = (*q.dims[:3], _keys(k, others))
        kept = self._beside(beside, scores)
        nested, settings = self._modified(scores, recipe)
        softmax = self._softmax(scores, kept, sink)
        if softmax is not None:
            nested["softmax"] = softmax
        o = self._inner((*q.dims[:3], v.dims[3]), q)
        outputs = {"o": o} | {name: each for name, each in kept.items() if softmax is None or name in ("mask", *AMAX)}
        text = "attention({q}, {k}, {v}" + _said(inputs) + ")"
        self._operate(ATTENTION, inputs, outputs, settings | {"unfuse_fma": unfuse_fma}, text, nested)
        return Attended(o, kept)

    def attention_backward(
        self,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        o: Tensor,
        do: Tensor,
        statistics: Tensor,
        recipe: Recipe | None = None,
        *,
        beside: Mapping[str, Sequence[int]] | None = None,
        most: tuple[int, int] | None = None,
        **others: Tensor,
    ) -> AttendedBackward:
        """The gradients of q, k and v from do, with what the attention gave, by its recipe.

        `beside` has the dimensions of more gradients, dsink and dbias; `most` are the most queries and keys of ragged
        sequences. The `others` are inputs of the row ATTENTION_BACKWARD.
        """
        recipe, wanted = recipe or Recipe(), beside or {}
        check_names("attention_backward", others, ATTENTION_BACKWARD.inputs)
        check_names("attention_backward", wanted, ("dsink", "dbias"))
        _check_heads(q, k, v, others)
        if do.dims != o.dims or o.dims != (*q.dims[:3], v.dims[3]):
            raise ValueError(f"attention_backward: o={o.dims} and do={do.dims}, q={q.dims} and v={v.dims}")
        inputs = {"q": q, "k": k, "v": v, "o": o, "do": do, "statistics": statistics, **self._inputs(recipe), **others}
        nested, settings = self._modified((*q.dims[:3], k.dims[2]), recipe)
        settings |= {"most_q": most[0], "most_kv": most[1]} if most else {}
        gradients = {name: self._inner(each.dims, each) for name, each in {"dq": q, "dk": k, "dv": v}.items()}
        more = {name: self._inner(dims) for name, dims in wanted.items()}
        text = "attention_backward({q}, {k}, {v}, {o}, {do}, {statistics}" + _said(inputs) + ")"
        self._operate(ATTENTION_BACKWARD, inputs, gradients | more, settings, text, nested)
        return AttendedBackward(gradients["dq"], gradients["dk"], gradients["dv"], more)

    def _inputs(self, recipe: Recipe) -> dict[str, Tensor | None]:
        lengths = recipe.lengths or (None, None)
        return {
            "scale": None if recipe.scale is None else self.scalar(recipe.scale),
            "lengths_q": lengths[0],
            "lengths_kv": lengths[1],
            "seed": recipe.seed,
            "offset": recipe.offset,
        }

    def _beside(self, names: Sequence[str], scores: tuple[int, ...]) -> dict[str, Tensor]:
        check_names("attention", names, (*SOFTMAX_GIVES, *(name for name in ATTENTION.outputs if name != "o")))
        shapes = {"mask": scores, **dict.fromkeys(AMAX, (1, 1, 1, 1))}
        return {name: self._inner(shapes.get(name, (*scores[:3], 1)), None, DataType.FLOAT) for name in names}

    def _softmax(self, scores: tuple[int, ...], kept: Mapping[str, Tensor], sink: Tensor | None) -> Operation | None:
        """The softmax told of apart, where it gives or takes what the operation of attention has no place for."""
        if sink is None and not kept.keys() & set(SOFTMAX_GIVES):
            return None
        self._check_own("attention", [] if sink is None else [sink])
        inputs = {"x": self._inner(scores)} | ({} if sink is None else {"sink": sink})
        outputs = {"y": self._inner(scores)} | {n: each for n, each in kept.items() if n in SOFTMAX.outputs}
        return Operation(SOFTMAX, inputs, outputs, {}, "softmax({x})" if sink is None else "softmax({x}, sink={sink})")

    def _modified(self, scores: tuple[int, ...], recipe: Recipe) -> tuple[dict[str, Nested], dict[str, Any]]:
        """The operations on the scores, and the numbers of the first and the last of their tensors."""
        if recipe.modify is None:
            return {}, {"drop": recipe.drop}
        first = self._inner(scores)
        outside, self.operations = self.operations, []
        try:
            last = recipe.modify(first)
            inside = self.operations
        finally:
            self.operations = outside
        self._check_own("attention: modify", [last])
        if all(last is not made for each in inside for made in each.made):
            raise ValueError(f"attention: modify gives {last}, which no operation of its own makes")
        return {"modify": Subgraph(inside)}, {"drop": recipe.drop, "input_uid": first.uid, "output_uid": last.uid}


def _check_heads(q: Tensor, k: Tensor, v: Tensor, others: Mapping[str, Tensor]) -> None:
    shapes = f"q={q.dims}, k={k.dims}, v={v.dims}"
    if not len(q.dims) == len(k.dims) == len(v.dims) == 4:
        raise ValueError(f"attention: {shapes} are not (B, H, S, D)")
    paged = "pages_k" in others or "pages_v" in others
    if q.dims[3] != k.dims[3] or (not paged and (q.dims[0] != k.dims[0] or k.dims[2] != v.dims[2])):
        raise ValueError(f"attention: {shapes} do not belong together")
    if q.dims[1] % k.dims[1] or q.dims[1] % v.dims[1]:
        raise ValueError(f"attention: {shapes}: the heads of q are not a multiple of those of k and v")


def _keys(k: Tensor, others: Mapping[str, Tensor]) -> int:
    """How many keys there are at most: with pages, as many as the table has room for."""
    table = others.get("pages_k")
    return k.dims[2] if table is None else k.dims[2] * table.dims[2]


def _said(inputs: Mapping[str, Tensor | None]) -> str:
    """The inputs that are named in an operation's text."""
    usual = ("q", "k", "v", "o", "do", "statistics")
    return "".join(f", {name}={{{name}}}" for name, each in inputs.items() if each is not None and name not in usual)
