"""Operations of a graph that move data without computing: reshape, transpose, slice, join, bands, pages, signals."""

from __future__ import annotations

from collections.abc import Sequence

from gocudnn_py._abi.cudnn import BackendAttributeType as Type
from gocudnn_py._abi.cudnn import BackendDescriptorType as Kind
from gocudnn_py._abi.cudnn import BackendReshapeMode as ReshapeMode
from gocudnn_py._abi.cudnn import SignalMode
from gocudnn_py.cudnn.graph.builder import Builder
from gocudnn_py.cudnn.graph.operations import Row, attributes, typed
from gocudnn_py.cudnn.graph.shapes import check_axis
from gocudnn_py.cudnn.graph.tensor import Tensor, check_dims, packed_strides

RESHAPE = Row(
    "reshape",
    Kind.OPERATION_RESHAPE_DESCRIPTOR,
    attributes("OPERATION_RESHAPE", x="XDESC"),
    attributes("OPERATION_RESHAPE", y="YDESC"),
    typed("OPERATION_RESHAPE", mode=("MODE", Type.RESHAPE_MODE)),
    factors=(),
)
TRANSPOSE = Row(
    "transpose",
    Kind.OPERATION_TRANSPOSE_DESCRIPTOR,
    attributes("OPERATION_TRANSPOSE", x="XDESC"),
    attributes("OPERATION_TRANSPOSE", y="YDESC"),
    typed("OPERATION_TRANSPOSE", permutation=("PERMUTATION", Type.INT64)),
    factors=(),
)
SLICE = Row(
    "slice",
    Kind.OPERATION_SLICE_DESCRIPTOR,
    attributes("OPERATION_SLICE", x="XDESC"),
    attributes("OPERATION_SLICE", y="YDESC"),
    typed(
        "OPERATION_SLICE",
        start=("START_INDICES", Type.INT64),
        stop=("LIMIT_INDICES", Type.INT64),
        step=("STRIDES", Type.INT64),
    ),
    factors=(),
)
CONCATENATE = Row(
    "concatenate",
    Kind.OPERATION_CONCAT_DESCRIPTOR,
    attributes("OPERATION_CONCAT", x="INPUT_DESCS"),
    attributes("OPERATION_CONCAT", y="OUTPUT_DESC"),
    typed("OPERATION_CONCAT", axis=("AXIS", Type.INT64), in_place=("INPLACE_INDEX", Type.INT64)),
    factors=(),
)
_BAND = {
    "lower": ("LOWER_BANDWIDTH", Type.INT64),
    "upper": ("UPPER_BANDWIDTH", Type.INT64),
    "axis": ("AXIS", Type.INT64),
    "padding": ("PAD_VALUE", Type.FLOAT),
}
EXPAND_BAND = Row(
    "expand_band",
    Kind.OPERATION_EXPAND_BAND_MATRIX_DESCRIPTOR,
    attributes("OPERATION_EXPAND_BAND_MATRIX", x="XDESC", offset="KV_TOKEN_OFFSET_DESC", mask="SPECULATIVE_MASK_DESC"),
    attributes("OPERATION_EXPAND_BAND_MATRIX", y="YDESC"),
    typed("OPERATION_EXPAND_BAND_MATRIX", **_BAND),
    factors=(),
)
CONTRACT_BAND = Row(
    "contract_band",
    Kind.OPERATION_CONTRACT_BAND_MATRIX_DESCRIPTOR,
    attributes("OPERATION_CONTRACT_BAND_MATRIX", x="XDESC"),
    attributes("OPERATION_CONTRACT_BAND_MATRIX", y="YDESC"),
    typed("OPERATION_CONTRACT_BAND_MATRIX", **_BAND)
    | typed("OPERATION_CONTRACT_BAND", most=("MAX_TOKEN_VALUE", Type.INT64)),
    factors=(),
)
LOAD_PAGES = Row(
    "load_pages",
    Kind.OPERATION_PAGED_CACHE_LOAD_DESCRIPTOR,
    attributes("OPERATION_PAGED_CACHE_LOAD", pages="CONTAINER_DESC", lengths="SEQUENCE_DESC", table="PAGE_TABLE_DESC"),
    attributes("OPERATION_PAGED_CACHE_LOAD", y="YDESC"),
    factors=(),
)
SIGNAL = Row(
    "signal",
    Kind.OPERATION_SIGNAL_DESCRIPTOR,
    attributes("OPERATION_SIGNAL", x="XDESC", flag="FLAGDESC"),
    attributes("OPERATION_SIGNAL", y="YDESC"),
    typed("OPERATION_SIGNAL", mode=("MODE", Type.SIGNAL_MODE), value=("VALUE", Type.INT64)),
    factors=(),
)
ROWS = (RESHAPE, TRANSPOSE, SLICE, CONCATENATE, EXPAND_BAND, CONTRACT_BAND, LOAD_PAGES, SIGNAL)


class Moving(Builder):
    """What a `Graph` has of moving data."""

    def reshape(
        self,
        x: Tensor,
        dims: Sequence[int],
        *,
        strides: Sequence[int] | None = None,
        mode: ReshapeMode | None = None,
    ) -> Tensor:
        """x with other dimensions, row-major unless `strides` say how its memory is read; as many elements as before.

        LOGICAL keeps the elements' order in row-major terms and may move them, VIEW_ONLY reads the same memory.
        """
        dims = check_dims("dims", dims)
        y = self._inner(dims, None, x.dtype)
        if y.size != x.size:
            self.tensors.remove(y)
            raise ValueError(f"reshape: {x} has {x.size} elements, {dims} {y.size}")
        y.strides = packed_strides(dims) if strides is None else check_dims("strides", strides, 0)
        return self._operate(RESHAPE, {"x": x}, {"y": y}, {"mode": mode}, f"reshape({{x}}, {dims})")

    def transpose(self, x: Tensor, permutation: Sequence[int]) -> Tensor:
        """x with its axes in another order: axis i of the result is axis `permutation[i]` of x."""
        axes = tuple(permutation)
        if sorted(axes) != list(range(len(x.dims))):
            raise ValueError(f"transpose: {axes} does not order the axes of {x}")
        y = self._inner([x.dims[axis] for axis in axes], None, x.dtype)
        return self._operate(TRANSPOSE, {"x": x}, {"y": y}, {"permutation": axes}, f"transpose({{x}}, {axes})")

    def slice(self, x: Tensor, start: Sequence[int], stop: Sequence[int], step: Sequence[int] | None = None) -> Tensor:
        """Elements `start` to `stop` of x along each axis, every `step`-th; the result reads x's memory."""
        steps = (1,) * len(x.dims) if step is None else tuple(step)
        if not len(start) == len(stop) == len(steps) == len(x.dims):
            raise ValueError(f"slice: {x} has {len(x.dims)} axes, start={start} stop={stop} step={steps}")
        ends = zip(x.dims, start, stop, steps, strict=True)
        if any(not 0 <= first < last <= n or s < 1 for n, first, last, s in ends):
            raise ValueError(f"slice: start={start} stop={stop} step={steps} of {x}")
        dims = [-(-(last - first) // s) for first, last, s in zip(start, stop, steps, strict=True)]
        y = self._inner(dims, None, x.dtype)
        y.strides = tuple(stride * s for stride, s in zip(x.strides, steps, strict=True))
        settings = {"start": tuple(start), "stop": tuple(stop), "step": steps}
        said = ", ".join(
            f"{first}:{last}" + (f":{s}" if s > 1 else "") for first, last, s in zip(start, stop, steps, strict=True)
        )
        return self._operate(SLICE, {"x": x}, {"y": y}, settings, f"{{x}}[{said}]")

    def concatenate(self, tensors: Sequence[Tensor], axis: int, *, in_place: int | None = None) -> Tensor:
        """The tensors one after another along an axis; the one numbered `in_place` lies in the result already."""
        if not tensors:
            raise ValueError("concatenate: no tensors")
        first = tensors[0]
        axis = check_axis("concatenate", axis, first)
        shapes = [each.dims for each in tensors]
        if len({(*dims[:axis], *dims[axis + 1 :]) for dims in shapes}) > 1 or len({len(dims) for dims in shapes}) > 1:
            raise ValueError(f"concatenate along axis {axis}: {', '.join(map(str, shapes))}")
        if in_place is not None and not 0 <= in_place < len(tensors):
            raise ValueError(f"concatenate: in_place={in_place} of {len(tensors)} tensors")
        dims = (*first.dims[:axis], sum(dims[axis] for dims in shapes), *first.dims[axis + 1 :])
        y = self._inner(dims, first, first.dtype)
        settings = {"axis": axis, "in_place": in_place}
        return self._operate(CONCATENATE, {"x": tuple(tensors)}, {"y": y}, settings, f"concatenate({{x}}, axis={axis})")

    def expand_band(
        self,
        x: Tensor,
        dims: Sequence[int],
        axis: int,
        *,
        lower: int,
        upper: int,
        padding: float | None = None,
        offset: Tensor | None = None,
        mask: Tensor | None = None,
    ) -> Tensor:
        """The whole matrix of dimensions `dims` of a band of `lower` and `upper` diagonals, `padding` outside of it."""
        settings = {"lower": lower, "upper": upper, "axis": check_axis("expand_band", axis, x), "padding": padding}
        inputs = {"x": x, "offset": offset, "mask": mask}
        text = f"expand_band({{x}}, axis={axis}, lower={lower}, upper={upper})"
        return self._operate(EXPAND_BAND, inputs, {"y": self._inner(dims, None, x.dtype)}, settings, text)

    def contract_band(
        self,
        x: Tensor,
        dims: Sequence[int],
        axis: int,
        *,
        lower: int,
        upper: int,
        padding: float | None = None,
        most: int | None = None,
    ) -> Tensor:
        """The band of `lower` and `upper` diagonals of a matrix, of dimensions `dims`; `most` is the most tokens."""
        settings = {"lower": lower, "upper": upper, "axis": check_axis("contract_band", axis, x)}
        text = f"contract_band({{x}}, axis={axis}, lower={lower}, upper={upper})"
        y = self._inner(dims, None, x.dtype)
        return self._operate(CONTRACT_BAND, {"x": x}, {"y": y}, {**settings, "padding": padding, "most": most}, text)

    def load_pages(
        self,
        pages: Tensor,
        table: Tensor,
        lengths: Tensor,
        dims: Sequence[int],
        *,
        strides: Sequence[int] | None = None,
    ) -> Tensor:
        """Keys or values (`dims`) of attention out of `pages` (blocks, H, block size, D) that lie anywhere.

        `table` (B, 1, blocks of a sequence, 1) says which block is where, `lengths` (B, 1, 1, 1) how long each
        sequence is; both are int32.
        """
        y = self._inner(dims, None, pages.dtype)
        y.strides = y.strides if strides is None else check_dims("strides", strides, 0)
        inputs = {"pages": pages, "table": table, "lengths": lengths}
        return self._operate(LOAD_PAGES, inputs, {"y": y}, {}, "load_pages({pages}, {table}, {lengths})")

    def signal(self, mode: SignalMode, x: Tensor, flag: Tensor, value: int) -> Tensor:
        """x as it is, once `flag` has been SET to `value`, or after a WAIT until it is that."""
        y = self._inner(x.dims, x, x.dtype)
        text = f"{mode.name.lower()}({{x}}, {{flag}}, {value})"
        return self._operate(SIGNAL, {"x": x, "flag": flag}, {"y": y}, {"mode": mode, "value": value}, text)
