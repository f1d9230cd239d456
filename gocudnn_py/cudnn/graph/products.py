"""Products of matrices in a graph, also those of a mixture of experts."""

from __future__ import annotations

from gocudnn_py._abi.cudnn import BackendAttributeName as Attribute
from gocudnn_py._abi.cudnn import BackendAttributeType as Type
from gocudnn_py._abi.cudnn import BackendDescriptorType as Kind
from gocudnn_py._abi.cudnn import MoeGroupedMatmulMode
from gocudnn_py.cudnn.graph.builder import Builder
from gocudnn_py.cudnn.graph.operations import Row, attributes, typed
from gocudnn_py.cudnn.graph.shapes import broadcast
from gocudnn_py.cudnn.graph.tensor import Tensor

MATMUL = Row(
    "matmul",
    Kind.OPERATION_MATMUL_DESCRIPTOR,
    attributes(
        "OPERATION_MATMUL",
        a="ADESC",
        b="BDESC",
        m="GEMM_M_OVERRIDE_DESC",
        n="GEMM_N_OVERRIDE_DESC",
        k="GEMM_K_OVERRIDE_DESC",
    ),
    attributes("OPERATION_MATMUL", c="CDESC"),
    typed("OPERATION_MATMUL", batches=("IRREGULARLY_STRIDED_BATCH_COUNT", Type.INT64)),
    Kind.MATMUL_DESCRIPTOR,
    Attribute.OPERATION_MATMUL_DESC,
    typed("MATMUL", compute=("COMP_TYPE", Type.DATA_TYPE), padding=("PADDING_VALUE", Type.DOUBLE)),
    factors=("a", "b"),
)
GROUPED = Row(
    "grouped_matmul",
    Kind.OPERATION_MOE_GROUPED_MATMUL_DESCRIPTOR,
    attributes(
        "OPERATION_MOE_GROUPED_MATMUL",
        tokens="TOKEN_DESC",
        weights="WEIGHT_DESC",
        offsets="FIRST_TOKEN_OFFSET_DESC",
        index="TOKEN_INDEX_DESC",
        ks="TOKEN_KS_DESC",
    ),
    attributes("OPERATION_MOE_GROUPED_MATMUL", y="OUTPUT_DESC"),
    typed(
        "OPERATION_MOE_GROUPED_MATMUL",
        mode=("MODE", Type.MOE_GROUPED_MATMUL_MODE),
        compute=("MATH_PREC", Type.DATA_TYPE),
        top_k=("TOP_K", Type.INT32),
    ),
    factors=("tokens", "weights"),
)
GROUPED_BACKWARD = Row(
    "grouped_matmul_backward_weights",
    Kind.OPERATION_MOE_GROUPED_MATMUL_BWD_DESCRIPTOR,
    attributes(
        "OPERATION_MOE_GROUPED_MATMUL_BWD",
        tokens="TOKEN_DESC",
        dy="DOUTPUT_DESC",
        offsets="FIRST_TOKEN_OFFSET_DESC",
    ),
    attributes("OPERATION_MOE_GROUPED_MATMUL_BWD", dweights="DWEIGHT_DESC"),
    typed("OPERATION_MOE_GROUPED_MATMUL_BWD", compute=("MATH_PREC", Type.DATA_TYPE)),
    factors=("tokens", "dy"),
)
ROWS = (MATMUL, GROUPED, GROUPED_BACKWARD)


class Products(Builder):
    """What a `Graph` has of products of matrices."""

    def matmul(
        self,
        a: Tensor,
        b: Tensor,
        *,
        m: Tensor | None = None,
        n: Tensor | None = None,
        k: Tensor | None = None,
        padding: float | None = None,
        batches: int | None = None,
    ) -> Tensor:
        """c (batch, m, n) of a (batch, m, k) and b (batch, k, n), one batch or more axes of them.

        `m`, `n` and `k` are tensors with the true extents of each entry of a batch, outside of which `padding` is
        read; `batches` is how many matrices lie at no regular distance. Attention's engines alone take these.
        """
        if len(a.dims) != len(b.dims) or len(a.dims) < 3 or a.dims[-1] != b.dims[-2]:
            raise ValueError(f"matmul: a={a.dims} and b={b.dims} are not (batch, m, k) and (batch, k, n)")
        batch = _batch(a.dims[:-2], b.dims[:-2])
        result = self._inner((*batch, a.dims[-2], b.dims[-1]))
        inputs = {"a": a, "b": b, "m": m, "n": n, "k": k}
        settings = {"compute": self.compute, "padding": padding, "batches": batches}
        extents = "".join(f", {name}={{{name}}}" for name in "mnk" if inputs[name] is not None)
        text = "{a} @ {b}" if not extents else f"matmul({{a}}, {{b}}{extents})"
        return self._operate(MATMUL, inputs, {"c": result}, settings, text)

    def grouped_matmul(
        self,
        tokens: Tensor,
        weights: Tensor,
        offsets: Tensor,
        *,
        mode: MoeGroupedMatmulMode = MoeGroupedMatmulMode.NONE,
        index: Tensor | None = None,
        ks: Tensor | None = None,
        top_k: int | None = None,
    ) -> Tensor:
        """Each token (1, T, K) times its expert's weights (E, K, N): (1, T, N).

        `offsets` (E, 1, 1) are the first token of each expert, in int32. `mode` GATHER takes the tokens that `index`
        (1, T', 1) lists; SCATTER puts the result of a token that was sent to `top_k` experts in row index * top_k + ks,
        where `ks` are its numbers among them. cuDNN 9.19 gathers, and 9.28 scatters before sm_100, wrongly: refused.
        """
        if len(tokens.dims) != 3 or len(weights.dims) != 3 or tokens.dims[2] != weights.dims[1]:
            raise ValueError(
                f"grouped_matmul: tokens={tokens.dims} and weights={weights.dims}; (1, T, K) and (E, K, N)"
            )
        if offsets.dims != (weights.dims[0], 1, 1):
            raise ValueError(f"grouped_matmul: offsets={offsets.dims}, weights={weights.dims}; (E, 1, 1) and (E, K, N)")
        if mode is not MoeGroupedMatmulMode.NONE and index is None:
            raise ValueError(f"grouped_matmul: {mode.name} needs an index")
        rows = index.dims[1] if index is not None and mode is MoeGroupedMatmulMode.GATHER else tokens.dims[1]
        inputs = {"tokens": tokens, "weights": weights, "offsets": offsets, "index": index, "ks": ks}
        settings = {"mode": mode, "compute": self.compute, "top_k": top_k}
        text = "grouped_matmul({tokens}, {weights}, offsets={offsets}"
        text += "" if index is None else f", {mode.name.lower()}={{index}}"
        text += ")" if ks is None else ", ks={ks})"
        return self._operate(GROUPED, inputs, {"y": self._inner((1, rows, weights.dims[2]))}, settings, text)

    def grouped_matmul_backward_weights(self, tokens: Tensor, dy: Tensor, offsets: Tensor) -> Tensor:
        """The gradient of the experts' weights (E, K, N) from tokens (1, T, K), dy (1, T, N) and the first tokens."""
        if len(tokens.dims) != 3 or len(dy.dims) != 3 or tokens.dims[1] != dy.dims[1]:
            raise ValueError(f"grouped_matmul_backward_weights: tokens={tokens.dims} and dy={dy.dims}")
        inputs = {"tokens": tokens, "dy": dy, "offsets": offsets}
        dims = (offsets.dims[0], tokens.dims[2], dy.dims[2])
        text = "grouped_matmul_backward_weights({tokens}, {dy}, offsets={offsets})"
        return self._operate(GROUPED_BACKWARD, inputs, {"dweights": self._inner(dims)}, {"compute": self.compute}, text)


def _batch(a: tuple[int, ...], b: tuple[int, ...]) -> tuple[int, ...]:
    """The batch axes of a product: equal, or one a whole multiple of the other, as grouped-query attention has it."""
    if all(n % m == 0 or m % n == 0 for n, m in zip(a, b, strict=True)):
        return tuple(max(n, m) for n, m in zip(a, b, strict=True))
    return broadcast("matmul", [a, b])
