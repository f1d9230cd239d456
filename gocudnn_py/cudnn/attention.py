"""Multi-head attention: its descriptor, its weights, forward and gradients.

cuDNN calls these functions deprecated in favour of the graph API's scaled dot product attention, which has neither
projections nor float64.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any, Self

import numpy as np

from gocudnn_py._abi.cudnn import DataType, MathType, MultiHeadAttnWeightKind, WgradMode
from gocudnn_py.cudnn.attention_space import BIASES, whole_window
from gocudnn_py.cudnn.attention_space import AttentionSizes as AttentionSizes
from gocudnn_py.cudnn.attention_space import AttentionSpace as AttentionSpace
from gocudnn_py.cudnn.attention_space import AttentionSpec as AttentionSpec
from gocudnn_py.cudnn.attention_space import AttentionWindow as AttentionWindow
from gocudnn_py.cudnn.attention_space import QueryMap as QueryMap
from gocudnn_py.cudnn.attention_space import WeightSlot as WeightSlot
from gocudnn_py.cudnn.descriptor import Descriptor, Operand, handle_of, int32, int32s
from gocudnn_py.cudnn.dropout import DropoutDescriptor
from gocudnn_py.cudnn.handle import Handle
from gocudnn_py.cudnn.place import checked, optional, sized, within
from gocudnn_py.cudnn.seqdata import SeqDataDescriptor
from gocudnn_py.cudnn.tensor import TensorDescriptor
from gocudnn_py.dtypes import DType, cudnn_dtype

BASE = 1 << 20  # where cuDNN is told that the weights are: it answers with addresses, of which the offset counts


class AttentionDescriptor(Descriptor):
    """Multi-head attention: the sum over heads of W_o softmax(scale (W_q q)' (W_k k)) (W_v v), plus a residual."""

    kind = "Attn"
    _dropouts: tuple[DropoutDescriptor | None, DropoutDescriptor | None] = (None, None)

    def set(
        self,
        heads: int,
        vectors: Sequence[int],
        projections: Sequence[int],
        longest: Sequence[int],
        *,
        batch: int = 1,
        beam: int = 1,
        scale: float = 1.0,
        dtype: DType = np.float32,
        compute: DType | None = None,
        math: MathType = MathType.FMA_MATH,
        query_map: QueryMap = QueryMap.ALL_TO_ONE,
        biases: bool = False,
        attention_dropout: DropoutDescriptor | None = None,
        output_dropout: DropoutDescriptor | None = None,
    ) -> Self:
        """Describe an attention of some heads (cudnnSetAttnDescriptor).

        `vectors` are the lengths of a query, a key and a value, `projections` those after each head's projection
        of query, key and value and after that of the output, where 0 leaves one out: then the heads' outputs follow
        one another; several heads with a projection of the output need one of the value, for cuDNN computes wrong
        numbers without. `longest` are the most steps of queries and of keys, `batch` and `beam` the most sequences.
        `biases` adds one to each projection. Types are float32, float64 and float16; `compute` is `dtype` unless
        given, and `math` FMA, for cuDNN's own default may round float32 factors to TF32. `attention_dropout` works on
        the softmax, `output_dropout` before the residual.
        """
        sizes = *_vectors(vectors, projections), *_numbers("longest", longest, 2, least=1)
        heads = int32("heads", heads, least=1)
        if heads > 1 and sizes[6] and not sizes[5]:
            raise ValueError(f"attention: {heads} heads that project the output project the value: {projections=}")
        batch, beam = int32("batch", batch, least=1), int32("beam", beam, least=1)
        if not scale >= 0:
            raise ValueError(f"attention: scale is {scale}, which has to be 0 or more")
        dropouts = _dropout("attention_dropout", attention_dropout), _dropout("output_dropout", output_dropout)
        codes = cudnn_dtype(dtype), cudnn_dtype(dtype if compute is None else compute)
        mode = QueryMap(query_map) | (BIASES if biases else 0)
        ends = *map(handle_of, dropouts), *sizes, batch, beam
        self.lib.cudnnSetAttnDescriptor(self.handle, mode, heads, scale, *codes, math, *ends)
        self._dropouts = dropouts
        return self

    def get(self) -> AttentionSpec:
        """Read everything back (cudnnGetAttnDescriptor)."""
        mode, heads, scale = ctypes.c_uint(), ctypes.c_int(), ctypes.c_double()
        types, sizes = [ctypes.c_int() for _ in range(3)], [ctypes.c_int() for _ in range(11)]
        dropouts = [ctypes.c_void_p() for _ in range(2)]
        out: list[Any] = [mode, heads, scale, *types, *dropouts, *sizes]
        self.lib.cudnnGetAttnDescriptor(self.handle, *map(ctypes.byref, out))
        dtype, compute, math = (value.value for value in types)
        *numbers, batch, beam = (value.value for value in sizes)
        by_handle = {each.handle: each for each in self._dropouts if each is not None and each.usable}
        return AttentionSpec(
            heads=heads.value,
            vectors=tuple(numbers[:3]),
            projections=tuple(numbers[3:7]),
            longest=tuple(numbers[7:]),
            batch=batch,
            beam=beam,
            scale=scale.value,
            dtype=DataType(dtype),
            compute=DataType(compute),
            math=MathType(math),
            query_map=QueryMap(mode.value & ~BIASES),
            biases=bool(mode.value & BIASES),
            attention_dropout=by_handle.get(dropouts[0].value or 0),
            output_dropout=by_handle.get(dropouts[1].value or 0),
        )

    def sizes(self, handle: Handle, *, training: bool = True) -> AttentionSizes:
        """Bytes of weights, workspace and reserve (cudnnGetMultiHeadAttnBuffers)."""
        self._check_dropouts()
        weights, workspace, reserve = (ctypes.c_size_t() for _ in range(3))
        out = ctypes.byref(weights), ctypes.byref(workspace), ctypes.byref(reserve) if training else None
        self.lib.cudnnGetMultiHeadAttnBuffers(handle.handle, self.handle, *out)
        return AttentionSizes(weights.value, workspace.value, reserve.value)

    def weights(self, handle: Handle) -> dict[MultiHeadAttnWeightKind, WeightSlot]:
        """Where each kind of weights and biases lies, of those that there are; gradients lie in the same places.

        Weights are (heads, length after the projection, length before). cudnnGetMultiHeadAttnBuffers,
        cudnnGetMultiHeadAttnWeights.
        """
        nbytes = self.sizes(handle).weights
        slots = {kind: self._slot(handle, kind, nbytes) for kind in MultiHeadAttnWeightKind} if nbytes else {}
        return {kind: slot for kind, slot in slots.items() if slot is not None}

    def _slot(self, handle: Handle, kind: MultiHeadAttnWeightKind, nbytes: int) -> WeightSlot | None:
        place = ctypes.c_void_p()
        with TensorDescriptor() as shape:
            out = shape.handle, ctypes.byref(place)
            self.lib.cudnnGetMultiHeadAttnWeights(handle.handle, self.handle, kind, nbytes, BASE, *out)
            return None if place.value is None else WeightSlot(place.value - BASE, shape.get())

    def forward(
        self,
        handle: Handle,
        q: Operand,
        k: Operand,
        v: Operand,
        out: Operand,
        *,
        space: AttentionSpace,
        lengths: tuple[Any, Any],
        window: AttentionWindow | None = None,
        residual: Any = None,
        step: int | None = None,
    ) -> None:
        """The attention of queries to keys and values, plus the residual (cudnnMultiHeadAttnForward).

        `lengths` are those of q and out and those of k and v, as int32 on the GPU. Without a `window` queries see
        every key. The residual is laid out as q, whose vectors are then as long as out's. With a reserve in `space`
        gradients can follow; without, `step` may name the one step of the queries to compute.
        """
        if residual is not None and _sequences(q).dims != _sequences(out).dims:
            raise ValueError(f"attention: a residual like q={_sequences(q).dims} for out={_sequences(out).dims}")
        self._check_dropouts()
        where = _step(step, q, space), *_seen(window, q), *_on_gpu(lengths, q, k)
        operands = *q.pair, within("residual", residual, _sequences(q).size_in_bytes), *k.pair, *v.pair, *out.pair
        ends = *sized(space.weights), *space.scratch
        self.lib.cudnnMultiHeadAttnForward(handle.handle, self.handle, *where, *operands, *ends)

    def backward_data(
        self,
        handle: Handle,
        dout: Operand,
        q: Operand,
        dq: Any,
        k: Operand,
        dk: Any,
        v: Operand,
        dv: Any,
        *,
        space: AttentionSpace,
        lengths: tuple[Any, Any],
        window: AttentionWindow | None = None,
    ) -> None:
        """dq, dk and dv, laid out as q, k and v, after a forward with reserve (cudnnMultiHeadAttnBackwardData).

        All else has to be what forward was given. The residual's gradient is dout, which is not added to dq.
        """
        self._check_dropouts()
        where = *_seen(window, q), *_on_gpu(lengths, q, k)
        operands = *dout.pair, *_with("dq", dq, q), *_with("dk", dk, k), *_with("dv", dv, v)
        ends = *sized(space.weights), *space.trained().scratch
        self.lib.cudnnMultiHeadAttnBackwardData(handle.handle, self.handle, *where, *operands, *ends)

    def backward_weights(
        self,
        handle: Handle,
        q: Operand,
        k: Operand,
        v: Operand,
        dout: Operand,
        dweights: Any,
        *,
        space: AttentionSpace,
        mode: WgradMode = WgradMode.SET,
    ) -> None:
        """The gradient of the weight space, after backward_data (cudnnMultiHeadAttnBackwardWeights).

        WgradMode.ADD adds it to what `dweights` holds.
        """
        self._check_dropouts()
        nbytes, weights = sized(space.weights)
        operands = *q.pair, *k.pair, *v.pair, *dout.pair
        ends = nbytes, weights, optional("dweights", dweights, nbytes), *space.trained().scratch
        self.lib.cudnnMultiHeadAttnBackwardWeights(handle.handle, self.handle, mode, *operands, *ends)

    def _check_dropouts(self) -> None:
        """Raise as their `check` does: cuDNN keeps the dropouts' addresses, and follows them."""
        for dropout in self._dropouts:
            if dropout is not None:
                dropout.check()

    def _describe(self) -> str:
        s = self.get()
        if not s.heads:
            return "not set"
        sizes = f"heads={s.heads}, vectors={s.vectors}, projections={s.projections}, longest={s.longest}"
        types = f"{s.dtype.name}, compute={s.compute.name}, math={s.math.name}, {s.query_map.name}"
        drops = s.attention_dropout is not None or s.output_dropout is not None
        more = f"{', biases' * s.biases}{', dropout' * drops}"
        return f"{sizes}, batch={s.batch}, beam={s.beam}, scale={s.scale:g}, {types}{more}"


def _numbers(what: str, values: Sequence[int], count: int, *, least: int = 0) -> tuple[int, ...]:
    numbers = int32s(what, values, least=least)
    if len(numbers) != count:
        raise ValueError(f"attention: {what} are {count} numbers, not {numbers}")
    return numbers


def _vectors(vectors: Sequence[int], projections: Sequence[int]) -> tuple[int, ...]:
    vectors, projections = _numbers("vectors", vectors, 3, least=1), _numbers("projections", projections, 4)
    query, key = (projection or vector for projection, vector in zip(projections[:2], vectors[:2], strict=True))
    if query != key:
        given = f"(vectors={vectors}, projections={projections})"
        raise ValueError(f"attention: queries of length {query} meet keys of length {key} {given}")
    return *vectors, *projections


def _dropout(what: str, descriptor: DropoutDescriptor | None) -> DropoutDescriptor | None:
    if descriptor is not None and not isinstance(descriptor, DropoutDescriptor):
        raise TypeError(f"{what} is a dropout descriptor, not {type(descriptor).__name__}")
    return descriptor


def _sequences(operand: Operand) -> SeqDataDescriptor:
    if not isinstance(operand.descriptor, SeqDataDescriptor):
        raise TypeError(f"attention works on sequence data, not on a {type(operand.descriptor).__name__}")
    return operand.descriptor


def _step(step: int | None, q: Operand, space: AttentionSpace) -> int:
    steps = _sequences(q).dims[0]
    if step is None:
        return -1
    if space.reserve is not None or not 0 <= step < steps:
        raise ValueError(f"attention: step {step} of {steps}, for which there must be no reserve")
    return step


def _seen(window: AttentionWindow | None, q: Operand) -> tuple[Any, Any]:
    steps = _sequences(q).dims[0]
    arrays = (window or whole_window(steps)).arrays
    if len(arrays[0]) < steps:
        raise ValueError(f"attention: a window for {len(arrays[0])} steps, and queries of {steps}")
    return arrays


def _on_gpu(lengths: tuple[Any, Any], q: Operand, k: Operand) -> tuple[int, int]:
    of_q, of_k = (4 * dims[1] * dims[2] for dims in (_sequences(q).dims, _sequences(k).dims))
    return checked("lengths[0]", lengths[0], of_q), checked("lengths[1]", lengths[1], of_k)


def _with(what: str, gradient: Any, operand: Operand) -> tuple[int, int, int]:
    """Descriptor, gradient and data, as backward takes each of them."""
    descriptor, data = operand.pair
    return descriptor, checked(what, gradient, _sequences(operand).size_in_bytes), data
