"""Attention in graphs on the card, forward and backward, by parts and as one operation, against NumPy in float64."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pytest

from gocudnn_py.cudnn import Handle
from gocudnn_py.cudnn.graph import Policy
from gocudnn_py.dtypes import numpy_dtype
from tests.gocudnn_py import graph_attention as graphs
from tests.gocudnn_py.graph_attention import B, D, H, S
from tests.gpu.running_graphs import COVERS, Array, U, needs, numbers, results

if TYPE_CHECKING:
    from gocunets.backends.cudnn import CudaBackend

pytestmark = COVERS
SCALE, KEEP, PAGE = D**-0.5, 0.75, 16
LENGTHS = {"lengths_q": np.array([100, S]), "lengths_kv": np.array([77, S])}
WIDE = Policy(tf32=True)


def drawn(names: str, dtype: str, heads: int = H) -> dict[str, Array]:
    """Normal numbers (B, heads, S, D) that a type holds, in float64."""
    seeds = {name: seed for seed, name in enumerate(("q", "k", "v", "do"))}
    return {name: numbers((B, heads, S, D), dtype, seeds[name]).astype(np.float64) for name in names.split()}


def turned(x: Array) -> Array:
    return x.swapaxes(2, 3)


class Attention(NamedTuple):
    """What attention is in float64, and of each row how far rounded products may take its scores."""

    weights: Array
    statistics: Array
    o: Array
    size: Array
    far: Array

    @staticmethod
    def of(q: Array, k: Array, v: Array, dtype: str, seen: Array | None = None) -> Attention:
        """Of heads that k and v share, and of what each query has `seen` of the keys (B, 1, S, S), all unless given."""
        k, v = (each.repeat(H // each.shape[1], axis=1) for each in (k, v))
        scores = SCALE * q @ turned(k)
        if seen is not None:
            scores = np.where(seen, scores, -np.inf)
        most = np.maximum(scores.max(-1, keepdims=True), -1e9)
        powers = np.exp(scores - most)
        total = np.maximum(powers.sum(-1, keepdims=True), 1e-300)
        weights = powers / total
        reach = SCALE * (np.abs(q) @ turned(np.abs(k))).max(-1, keepdims=True)
        far = reach * (4 * U["tf32"] if dtype == "float32" else 4 * U["float32"])
        return Attention(weights, most + np.log(total), weights @ v, weights @ np.abs(v), far)


def near(right: Attention, dtype: str) -> Array:
    """What the result may be off: weights and values rounded for their product, the result, and scores that are far."""
    u = 2 * U["tf32"] if dtype == "float32" else U[dtype]  # a product in TF32 may cut numbers off
    return (3 * u + 2 * right.far) * right.size


def seen_within(lengths: dict[str, Array], causal: bool = False) -> Array:
    """Which keys each query sees (B, 1, S, S)."""
    places = np.arange(S)
    of_q, of_kv = (places < lengths[name][:, None] for name in ("lengths_q", "lengths_kv"))
    seen = of_q[:, None, :, None] & of_kv[:, None, None, :]
    return seen & np.tri(S, dtype=bool) if causal else seen


def stored(lengths: dict[str, Array]) -> dict[str, Array]:
    """The lengths as the graphs have them."""
    return {name: each.reshape(B, 1, 1, 1) for name, each in lengths.items()}


def seeds(seed: int, offset: int = 0) -> dict[str, Array]:
    return {"seed": np.array(seed).reshape(1, 1, 1, 1), "offset": np.array(offset).reshape(1, 1, 1, 1)}


def check(made: dict[str, Array], right: Attention, dtype: str, rows: Array | None = None, name: str = "o") -> None:
    """The result, and the statistics if they are there, of all rows (B, 1, S) or those that count."""
    keep = np.broadcast_to(np.True_ if rows is None else rows, (B, H, S))
    assert (np.abs(made[name] - right.o) <= near(right, dtype))[keep].all()
    if "statistics" in made:
        off = right.far + 64 * U["float32"] * (1 + np.abs(right.statistics))
        assert (np.abs(made["statistics"] - right.statistics) <= off)[keep].all()


# --- by parts -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("causal", [False, True], ids=["full", "causal"])
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_attention_by_parts(dtype: str, causal: bool, backend: CudaBackend, handle: Handle) -> None:
    arrays = drawn("q k v", dtype)
    right = Attention.of(**arrays, dtype=dtype, seen=np.tri(S, dtype=bool) if causal else None)
    given = {"q": arrays["q"], "kt": turned(arrays["k"]), "v": arrays["v"]}
    for made in results(backend, handle, graphs.attention_by_parts(dtype, causal=causal), given, WIDE):
        check(made, right, dtype)


@pytest.mark.parametrize("heads", [1, 2])
def test_heads_share_keys_and_values(heads: int, backend: CudaBackend, handle: Handle) -> None:
    q, kv = drawn("q", "float16"), drawn("k v", "float16", heads)
    right = Attention.of(**q, **kv, dtype="float16")
    given = q | {"kt": turned(kv["k"]), "v": kv["v"]}
    for made in results(backend, handle, graphs.attention_by_parts(kv_heads=heads), given):
        check(made, right, "float16")


@pytest.mark.parametrize("causal", [False, True], ids=["full", "causal"])
def test_padding_is_not_attended_to(causal: bool, backend: CudaBackend, handle: Handle) -> None:
    arrays, seen = drawn("q k v", "float16"), seen_within(LENGTHS, causal)
    right = Attention.of(**arrays, dtype="float16", seen=seen)
    given = {"q": arrays["q"], "kt": turned(arrays["k"]), "v": arrays["v"], **stored(LENGTHS)}
    for made in results(backend, handle, graphs.attention_by_parts(causal=causal, padded=True), given):
        check(made, right, "float16", seen.any(-1))


def test_sequences_of_any_length_lie_one_after_another(backend: CudaBackend, handle: Handle) -> None:
    lengths = np.array([100, 90])
    both = dict.fromkeys(("lengths_q", "lengths_kv"), lengths)
    arrays, seen = drawn("q k v", "float16"), seen_within(both)
    right = Attention.of(**arrays, dtype="float16", seen=seen)
    starts = np.array([0, *lengths.cumsum()])
    # as it lies in memory: the tokens of one sequence after those of another
    given = {name: np.zeros((B * S, H, D)) for name in ("q", "kt", "v")}
    for entry, (start, stop) in enumerate(pairwise(starts)):
        for name, of in (("q", "q"), ("kt", "k"), ("v", "v")):
            given[name][start:stop] = arrays[of][entry, :, : stop - start].swapaxes(0, 1)
    given |= stored(both) | {"offsets": (starts * H * D).reshape(B + 1, 1, 1, 1)}
    for made in results(backend, handle, graphs.ragged_attention(), given):
        tokens = made["o"].swapaxes(1, 2).reshape(B * S, H, D)
        o = np.zeros((B, H, S, D))
        for entry, (start, stop) in enumerate(pairwise(starts)):
            o[entry, :, : stop - start] = tokens[start:stop].swapaxes(0, 1)
        check({"o": o}, right, "float16", seen.any(-1))


def paged(x: Array, table: Array, pages: int) -> Array:
    """The pages that keys or values lie in, NaN where none do."""
    made = np.full((pages, H, PAGE, D), np.nan)
    for entry, page in np.ndindex(table.shape):
        made[table[entry, page]] = x[entry, :, page * PAGE : (page + 1) * PAGE]
    return made


def test_keys_and_values_lie_in_pages(backend: CudaBackend, handle: Handle) -> None:
    both = dict.fromkeys(("lengths_q", "lengths_kv"), np.array([100, S]))
    arrays, seen = drawn("q k v", "float16"), seen_within(both)
    right = Attention.of(**arrays, dtype="float16", seen=seen)
    table = np.random.default_rng(5).permutation(2 * B * S // PAGE)[: B * S // PAGE].reshape(B, S // PAGE)
    given = {"q": arrays["q"], "table": table.reshape(B, 1, S // PAGE, 1), **stored(both)}
    given |= {f"pages_{of}": paged(arrays[of], table, 2 * B * S // PAGE) for of in "kv"}
    for made in results(backend, handle, graphs.paged_attention(), given):
        check(made, right, "float16", seen.any(-1))


# --- dropout --------------------------------------------------------------------------------------------------------


def test_dropped_weights_are_as_many_as_told_and_repeat(backend: CudaBackend, handle: Handle) -> None:
    arrays = drawn("q k v", "float16")
    right = Attention.of(**arrays, dtype="float16")
    given = {"q": arrays["q"], "kt": turned(arrays["k"]), "v": arrays["v"]}
    graph, masks = graphs.attention_by_parts(drop=True), []
    for seed in (seeds(7), seeds(7), seeds(8), seeds(7, 1 << 20)):
        (made,) = results(backend, handle, graph, given | seed, most=1)
        mask = made["mask"]
        assert np.isin(mask, (0, 1)).all()
        assert abs(mask.mean() - KEEP) <= 5 * (KEEP * (1 - KEEP) / mask.size) ** 0.5
        kept = right.weights * mask / KEEP
        dropped = right._replace(o=kept @ arrays["v"], size=kept @ np.abs(arrays["v"]))
        check(made, dropped, "float16")
        masks.append(mask)
    assert (masks[0] == masks[1]).all()
    expected = 2 * KEEP * (1 - KEEP)  # of two masks that have nothing to do with each other
    for other in masks[2:]:
        assert abs((other != masks[0]).mean() - expected) <= 5 * (expected * (1 - expected) / other.size) ** 0.5


# --- gradients ------------------------------------------------------------------------------------------------------


def gradients(arrays: dict[str, Array], right: Attention, dtype: str, mask: Array | None = None) -> dict[str, Array]:
    """dq, dk and dv, and by the names with a bar what each may be off."""
    q, k, v, do, o = (arrays[name] for name in ("q", "k", "v", "do", "o"))
    through = np.ones_like(right.weights) if mask is None else mask / KEEP
    sums, size_of_sums = ((of(do) * of(o)).sum(-1, keepdims=True) for of in (np.array, np.abs))
    dscores = SCALE * right.weights * (do @ turned(v) * through - sums)
    size = SCALE * right.weights * (np.abs(do) @ turned(np.abs(v)) * through + size_of_sums)
    dropped, u = right.weights * through, U[dtype]
    # two factors of which one is rounded to the type before the product, and what the scores are far off
    loss = u * np.abs(dscores) + (64 * U["float32"] + 2 * right.far) * size
    loss_of_weights = (u + 2 * right.far) * dropped
    products = {
        "dq": (dscores @ k, loss @ np.abs(k)),
        "dk": (turned(dscores) @ q, turned(loss) @ np.abs(q)),
        "dv": (turned(dropped) @ do, turned(loss_of_weights) @ np.abs(do)),
    }
    found = {name: product for name, (product, _) in products.items()}
    return found | {f"{name}-": 2 * off + u * np.abs(product) for name, (product, off) in products.items()}


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("done", [{}, {"causal": True}, {"padded": True}], ids=["full", "causal", "padded"])
def test_gradients_by_parts(done: dict[str, bool], dtype: str, backend: CudaBackend, handle: Handle) -> None:
    arrays, rows = drawn("q k v do", dtype), None
    seen = np.tri(S, dtype=bool) if done.get("causal") else None
    if done.get("padded"):
        seen = seen_within(LENGTHS)
        rows = {"dq": seen.any(-1), "dk": seen.any(-2), "dv": seen.any(-2)}
        arrays["do"] *= seen.any(-1)[..., None]
    right = Attention.of(*(arrays[name] for name in "qkv"), dtype=dtype, seen=seen)
    given = backward_inputs(arrays, right, dtype) | (stored(LENGTHS) if done.get("padded") else {})
    found = gradients(arrays, right, dtype)
    for made in results(backend, handle, graphs.attention_backward_by_parts(dtype, **done), given):
        for name in ("dq", "dk", "dv"):
            keep = np.broadcast_to(np.True_ if rows is None else rows[name], (B, H, S))
            assert (np.abs(made[name] - found[name]) <= found[f"{name}-"])[keep].all(), name


def backward_inputs(arrays: dict[str, Array], right: Attention, dtype: str) -> dict[str, Array]:
    """What the graphs of gradients by parts take; the attention is rounded to its type, in `arrays` too."""
    arrays["o"] = right.o.astype(numpy_dtype(dtype)).astype(np.float64)
    columns = {"kt": turned(arrays["k"]), "vt": turned(arrays["v"])}
    return {name: arrays[name] for name in ("q", "o", "do")} | columns | {"statistics": right.statistics}


def test_gradients_know_what_was_dropped(backend: CudaBackend, handle: Handle) -> None:
    arrays, seed = drawn("q k v do", "float16"), seeds(11, 3)
    right = Attention.of(*(arrays[name] for name in "qkv"), dtype="float16")
    given = {"q": arrays["q"], "kt": turned(arrays["k"]), "v": arrays["v"]} | seed
    (forward,) = results(backend, handle, graphs.attention_by_parts(drop=True), given, most=1)
    mask = forward["mask"]
    given = backward_inputs(arrays, right._replace(o=(right.weights * mask / KEEP) @ arrays["v"]), "float16") | seed
    found = gradients(arrays, right, "float16", mask)
    for made in results(backend, handle, graphs.attention_backward_by_parts(drop=True), given):
        for name in ("dq", "dk", "dv"):
            assert (np.abs(made[name] - found[name]) <= found[f"{name}-"]).all(), name


# --- as one operation -----------------------------------------------------------------------------------------------


def test_attention_as_one_operation(backend: CudaBackend, handle: Handle) -> None:
    arrays = drawn("q k v", "float16")
    right = Attention.of(**arrays, dtype="float16")
    for made in results(backend, handle, graphs.attention("statistics"), arrays):
        check(made, right, "float16", name="result")


def test_attention_as_one_operation_of_pages(backend: CudaBackend, handle: Handle) -> None:
    needs(9, 21)  # 9.19 makes a plan and refuses to run it
    both = dict.fromkeys(("lengths_q", "lengths_kv"), np.array([100, S]))
    arrays, seen = drawn("q k v", "float16"), seen_within(both)
    right = Attention.of(**arrays, dtype="float16", seen=seen)
    rng, given = np.random.default_rng(6), {"q": arrays["q"], **stored(both)}
    for of in "kv":
        table = rng.permutation(64)[: B * S // PAGE].reshape(B, S // PAGE)
        given |= {f"pages_{of}": paged(arrays[of], table, 64), f"table_{of}": table.reshape(B, 1, S // PAGE, 1)}
    for made in results(backend, handle, graphs.attention(pages=True, padded=True), given):
        check(made, right, "float16", seen.any(-1), "result")


def test_causal_attention_as_one_operation_with_its_gradients(backend: CudaBackend, handle: Handle) -> None:
    needs(9, 21)
    arrays = drawn("q k v do", "float16")
    right = Attention.of(*(arrays[name] for name in "qkv"), dtype="float16", seen=np.tri(S, dtype=bool))
    given = {name: arrays[name] for name in "qkv"}
    for made in results(backend, handle, graphs.attention("statistics", causal=True), given):
        check(made, right, "float16", name="result")
    whole = backward_inputs(arrays, right, "float16") | {"k": arrays["k"], "v": arrays["v"]}
    given = {name: whole[name] for name in ("q", "k", "v", "o", "do", "statistics")}
    found = gradients(arrays, right, "float16")
    for made in results(backend, handle, graphs.attention_backward(causal=True), given):
        for name in ("dq", "dk", "dv"):
            assert (np.abs(made[name] - found[name]) <= found[f"{name}-"]).all(), name
