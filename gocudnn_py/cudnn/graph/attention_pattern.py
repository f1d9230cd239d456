"""Attention written out in a graph: the products, softmax and masks that cuDNN's engines know as one pattern.

The order of the operations and the types of the tensors between them are what the engines look for.
"""

from __future__ import annotations

from gocudnn_py._abi.cudnn import DataType, PointwiseMode, ReduceTensorOp
from gocudnn_py.cudnn.graph.moving import Moving
from gocudnn_py.cudnn.graph.noise import Noise
from gocudnn_py.cudnn.graph.products import Products
from gocudnn_py.cudnn.graph.recipe import Attended, AttendedBackward, Recipe
from gocudnn_py.cudnn.graph.scores import Scores
from gocudnn_py.cudnn.graph.statistics import Statistics
from gocudnn_py.cudnn.graph.tensor import Tensor


class AttentionPattern(Scores, Statistics, Products, Moving, Noise):
    """What a `Graph` has of attention by parts: in every cuDNN, with masks, where one operation is not yet known."""

    def attention_by_parts(self, q: Tensor, kt: Tensor, v: Tensor, recipe: Recipe | None = None) -> Attended:
        """softmax(q kt) v of q (B, H, S_q, D), kt (B, H_k, D, S_kv) and v (B, H_v, S_kv, D_v), by a recipe.

        Beside it are always the statistics, and the mask of a dropout; they have memory when `output` gives it.
        """
        recipe = recipe or Recipe()
        of_q, of_kv = recipe.lengths or (None, None)
        scores = self._scores(q, kt, recipe, padding=0.0 if recipe.lengths else None)
        row = (*scores.dims[:-1], 1)
        most = self.reduction(ReduceTensorOp.MAX, scores, row)
        powers = self.pointwise(PointwiseMode.EXP, self.subtract(scores, most))
        total = self.reduction(ReduceTensorOp.ADD, powers, row)
        kept = self.add(most, self.pointwise(PointwiseMode.LOG, total))
        weights, beside = self.divide(powers, total), {"statistics": kept}
        if recipe.drop is not None:
            beside["mask"] = self._mask(q, kt, recipe)
            weights = self.multiply(self.multiply(weights, beside["mask"]), 1 / (1 - recipe.drop))
        weights.dtype = q.dtype
        return Attended(self.matmul(weights, v, m=of_q, k=of_kv), beside)

    def attention_backward_by_parts(
        self,
        q: Tensor,
        kt: Tensor,
        vt: Tensor,
        o: Tensor,
        do: Tensor,
        statistics: Tensor,
        recipe: Recipe | None = None,
    ) -> AttendedBackward:
        """The gradients of q, k and v, these as (B, H, S_kv, D), from do and what the attention gave, by its recipe.

        vt is (B, H, D_v, S_kv). The heads of q, k and v must be as many. Beside them are the sums of do * o, which
        have memory too.
        """
        recipe = recipe or Recipe()
        keep = 1.0 if recipe.drop is None else 1 - recipe.drop
        of_q, of_kv = recipe.lengths or (None, None)
        mask = None if recipe.drop is None else self._mask(q, kt, recipe)
        sums = self.reduction(ReduceTensorOp.ADD, self.multiply(do, o), (*q.dims[:3], 1))
        sums = self.output(self.multiply(sums, keep), "sums of do * o", dtype="float32")
        scores = self._scores(q, kt, recipe)
        weights = self.pointwise(PointwiseMode.EXP, self.subtract(scores, statistics))
        dropped = weights if mask is None else self.multiply(self.multiply(weights, mask), 1 / keep)
        dv = self.matmul(self._turned(dropped, q.dtype), do, m=of_kv, k=of_q)
        dweights = self.matmul(do, vt, m=of_q, n=of_kv)
        dweights = dweights if mask is None else self.multiply(dweights, mask)
        dscores = self.multiply(self.subtract(dweights, sums), weights)
        for factor in (None if mask is None else 1 / keep, recipe.scale):
            dscores = dscores if factor is None else self.multiply(dscores, factor)
        dk = self.matmul(self._turned(dscores, q.dtype), q, m=of_kv, k=of_q)
        dq = self.matmul(dscores, self._turned(kt, kt.dtype), m=of_q, k=of_kv)
        return AttendedBackward(dq, dk, dv, {"sums": sums})

    def _scores(self, q: Tensor, kt: Tensor, recipe: Recipe, padding: float | None = None) -> Tensor:
        of_q, of_kv = recipe.lengths or (None, None)
        scores = self.matmul(q, kt, m=of_q, n=of_kv, padding=padding)
        if recipe.scale is not None:
            scores = self.multiply(scores, recipe.scale)
        if recipe.lengths is not None:
            scores = self.within(scores, *recipe.lengths)
        return scores if recipe.modify is None else recipe.modify(scores)

    def _mask(self, q: Tensor, kt: Tensor, recipe: Recipe) -> Tensor:
        """1 where a weight is kept."""
        assert recipe.drop is not None
        assert recipe.seed is not None
        return self.bernoulli((*q.dims[:3], kt.dims[3]), 1 - recipe.drop, recipe.seed, recipe.offset)

    def _turned(self, x: Tensor, dtype: DataType) -> Tensor:
        """The transpose of the last two axes, of the same memory."""
        y = self.reshape(x, (*x.dims[:2], x.dims[3], x.dims[2]), strides=(*x.strides[:2], x.strides[3], x.strides[2]))
        y.dtype = dtype
        return y
