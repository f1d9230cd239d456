"""Descriptors on the real library: set, get and repr agree, sizes are right."""

from __future__ import annotations

import gc
from typing import Any

import numpy as np
import pytest

from gocudnn_py import cudnn as api
from gocudnn_py.cudnn.activation import ActivationSpec
from gocudnn_py.cudnn.convolution import ConvolutionSpec
from gocudnn_py.cudnn.descriptor import span
from gocudnn_py.cudnn.filter import FilterSpec
from gocudnn_py.cudnn.lrn import LrnSpec
from gocudnn_py.cudnn.optensor import OpTensorSpec
from gocudnn_py.cudnn.place import checked, within
from gocudnn_py.cudnn.pooling import PoolingSpec
from gocudnn_py.cudnn.reduce import ReduceSpec
from gocudnn_py.cudnn.tensor import TensorSpec
from gocudnn_py.errors import UnusableResource
from gocudnn_py.resource import drain, pending
from tests.gocudnn_py.recording import HANDLE, Recording, buffer

pytestmark = pytest.mark.usefixtures("cudnn")

FLOAT, HALF, DOUBLE, BF16 = (api.DataType[n] for n in ("FLOAT", "HALF", "DOUBLE", "BFLOAT16"))
NCHW, NHWC = api.TensorFormat.NCHW, api.TensorFormat.NHWC
IGNORE, PROPAGATE = api.NanPropagation.NOT_PROPAGATE_NAN, api.NanPropagation.PROPAGATE_NAN
CROSS = api.ConvolutionMode.CROSS_CORRELATION
REORDER = api.ReorderType.DEFAULT_REORDER

# class, arguments of set, keyword arguments, what get answers, what repr shows
ROUND_TRIPS: list[tuple[Any, tuple[Any, ...], dict[str, Any], Any, str]] = [
    (
        api.TensorDescriptor,
        (np.float32, (8, 3, 32, 16)),
        {},
        TensorSpec(FLOAT, (8, 3, 32, 16), (1536, 512, 16, 1)),
        "TensorDescriptor(FLOAT, (8, 3, 32, 16), strides=(1536, 512, 16, 1))",
    ),
    (
        api.TensorDescriptor,
        ("bfloat16", (8, 3, 32, 16), NHWC),
        {},
        TensorSpec(BF16, (8, 3, 32, 16), (1536, 1, 48, 3)),
        "TensorDescriptor(BFLOAT16, (8, 3, 32, 16), strides=(1536, 1, 48, 3))",
    ),
    (
        api.TensorDescriptor,
        (np.float64, (2, 3, 4, 5, 6), NHWC),
        {},
        TensorSpec(DOUBLE, (2, 3, 4, 5, 6), (360, 1, 90, 18, 3)),
        "TensorDescriptor(DOUBLE, (2, 3, 4, 5, 6), strides=(360, 1, 90, 18, 3))",
    ),
    (
        api.TensorDescriptor,
        (np.float16, (5, 7)),
        {},
        TensorSpec(HALF, (5, 7), (7, 1)),
        "TensorDescriptor(HALF, (5, 7), strides=(7, 1))",
    ),
    (
        api.TensorDescriptor,
        (np.float16, (2, 2, 2, 2, 2, 2, 2, 2)),
        {},
        TensorSpec(HALF, (2,) * 8, (128, 64, 32, 16, 8, 4, 2, 1)),
        "TensorDescriptor(HALF, (2, 2, 2, 2, 2, 2, 2, 2), strides=(128, 64, 32, 16, 8, 4, 2, 1))",
    ),
    (
        api.FilterDescriptor,
        (np.float32, (20, 1, 4, 4)),
        {},
        FilterSpec(FLOAT, (20, 1, 4, 4), NCHW),
        "FilterDescriptor(FLOAT, (20, 1, 4, 4), NCHW)",
    ),
    (
        api.FilterDescriptor,
        (np.float16, (8, 4, 3, 3, 3), NHWC),
        {},
        FilterSpec(HALF, (8, 4, 3, 3, 3), NHWC),
        "FilterDescriptor(HALF, (8, 4, 3, 3, 3), NHWC)",
    ),
    (
        api.ConvolutionDescriptor,
        ((6, 4), (2, 2), (3, 1)),
        {"groups": 4},
        ConvolutionSpec((6, 4), (2, 2), (3, 1), 4, FLOAT, api.MathType.FMA_MATH, CROSS, REORDER),
        "ConvolutionDescriptor(padding=(6, 4), stride=(2, 2), dilation=(3, 1), groups=4, compute=FLOAT, "
        "math=FMA_MATH, CROSS_CORRELATION, DEFAULT_REORDER)",
    ),
    (
        api.ConvolutionDescriptor,
        ((1, 1, 1),),
        {
            "compute": np.float64,
            "math": api.MathType.TENSOR_OP_MATH,
            "mode": api.ConvolutionMode.CONVOLUTION,
            "reorder": api.ReorderType.NO_REORDER,
        },
        ConvolutionSpec(
            (1, 1, 1),
            (1, 1, 1),
            (1, 1, 1),
            1,
            DOUBLE,
            api.MathType.TENSOR_OP_MATH,
            api.ConvolutionMode.CONVOLUTION,
            api.ReorderType.NO_REORDER,
        ),
        "ConvolutionDescriptor(padding=(1, 1, 1), stride=(1, 1, 1), dilation=(1, 1, 1), groups=1, "
        "compute=DOUBLE, math=TENSOR_OP_MATH, CONVOLUTION, NO_REORDER)",
    ),
    (
        api.PoolingDescriptor,
        (api.PoolingMode.MAX_DETERMINISTIC, (3, 2), (1, 0), (2, 2)),
        {"nan": PROPAGATE},
        PoolingSpec(api.PoolingMode.MAX_DETERMINISTIC, (3, 2), (1, 0), (2, 2), PROPAGATE),
        "PoolingDescriptor(MAX_DETERMINISTIC, window=(3, 2), padding=(1, 0), stride=(2, 2), PROPAGATE_NAN)",
    ),
    (
        api.PoolingDescriptor,
        (api.PoolingMode.AVERAGE_COUNT_EXCLUDE_PADDING, (2, 2, 2)),
        {},
        PoolingSpec(api.PoolingMode.AVERAGE_COUNT_EXCLUDE_PADDING, (2, 2, 2), (0, 0, 0), (2, 2, 2), IGNORE),
        "PoolingDescriptor(AVERAGE_COUNT_EXCLUDE_PADDING, window=(2, 2, 2), padding=(0, 0, 0), "
        "stride=(2, 2, 2), NOT_PROPAGATE_NAN)",
    ),
    (
        api.ActivationDescriptor,
        (api.ActivationMode.CLIPPED_RELU, 6.0),
        {},
        ActivationSpec(api.ActivationMode.CLIPPED_RELU, 6.0, IGNORE, 1.0),
        "ActivationDescriptor(CLIPPED_RELU, coefficient=6, NOT_PROPAGATE_NAN)",
    ),
    (
        api.ActivationDescriptor,
        (api.ActivationMode.SWISH,),
        {"swish_beta": 1.5},
        ActivationSpec(api.ActivationMode.SWISH, 0.0, IGNORE, 1.5),
        "ActivationDescriptor(SWISH, coefficient=0, swish_beta=1.5, NOT_PROPAGATE_NAN)",
    ),
    (
        api.LrnDescriptor,
        (7, 1e-3, 0.5, 1.0),
        {},
        LrnSpec(7, 1e-3, 0.5, 1.0),
        "LrnDescriptor(window=7, alpha=0.001, beta=0.5, k=1)",
    ),
    (
        api.OpTensorDescriptor,
        (api.OpTensorOp.SQRT, np.float64),
        {"nan": PROPAGATE},
        OpTensorSpec(api.OpTensorOp.SQRT, DOUBLE, PROPAGATE),
        "OpTensorDescriptor(SQRT, compute=DOUBLE, PROPAGATE_NAN)",
    ),
    (
        api.ReduceDescriptor,
        (api.ReduceTensorOp.AMAX,),
        {"indices": api.ReduceTensorIndices.FLATTENED_INDICES, "index_type": api.IndicesType.INDICES_64BIT},
        ReduceSpec(
            api.ReduceTensorOp.AMAX,
            FLOAT,
            IGNORE,
            api.ReduceTensorIndices.FLATTENED_INDICES,
            api.IndicesType.INDICES_64BIT,
        ),
        "ReduceDescriptor(AMAX, compute=FLOAT, NOT_PROPAGATE_NAN, FLATTENED_INDICES INDICES_64BIT)",
    ),
]
CLASSES = list(dict.fromkeys(row[0] for row in ROUND_TRIPS))


@pytest.mark.parametrize(
    ("kind", "arguments", "keywords", "spec", "text"), ROUND_TRIPS, ids=[row[4][:60] for row in ROUND_TRIPS]
)
def test_set_get_repr(kind: Any, arguments: tuple[Any, ...], keywords: dict[str, Any], spec: Any, text: str) -> None:
    descriptor = kind().set(*arguments, **keywords)
    assert descriptor.get() == spec
    assert repr(descriptor) == text
    assert hash(descriptor.get()) == hash(spec)


def functions(kind: str, *others: str) -> Any:
    """The mark of what makes and destroys a kind of descriptor, and of others."""
    return pytest.mark.covers(f"cudnnCreate{kind}Descriptor", f"cudnnDestroy{kind}Descriptor", *others)


# class, arguments of set, how it is read, what the reading holds
WAYS = [
    pytest.param(
        api.TensorDescriptor, "set", (np.float32, (8, 3, 32, 16)), "get_4d", (8, 3, 32, 16),
        marks=functions("Tensor", "cudnnSetTensor4dDescriptor", "cudnnGetTensor4dDescriptor"),
    ),
    pytest.param(
        api.TensorDescriptor, "set", (np.float32, (8, 3, 32, 16, 4)), "get", (8, 3, 32, 16, 4),
        marks=functions("Tensor", "cudnnSetTensorNdDescriptorEx", "cudnnGetTensorNdDescriptor"),
    ),
    pytest.param(
        api.TensorDescriptor, "set_strided", (np.float32, (2, 3, 4, 5), (99, 30, 6, 1)), "get_4d", (99, 30, 6, 1),
        marks=functions("Tensor", "cudnnSetTensor4dDescriptorEx", "cudnnGetTensor4dDescriptor"),
    ),
    pytest.param(
        api.TensorDescriptor, "set_strided", (np.float32, (2, 3, 4), (99, 30, 6)), "get", (99, 30, 6),
        marks=functions("Tensor", "cudnnSetTensorNdDescriptor", "cudnnGetTensorNdDescriptor"),
    ),
    pytest.param(
        api.FilterDescriptor, "set", (np.float16, (8, 4, 3, 5), NHWC), "get_4d", (8, 4, 3, 5),
        marks=functions("Filter", "cudnnSetFilter4dDescriptor", "cudnnGetFilter4dDescriptor"),
    ),
    pytest.param(
        api.FilterDescriptor, "set", (np.float16, (8, 4, 3, 5, 7)), "get", (8, 4, 3, 5, 7),
        marks=functions("Filter", "cudnnSetFilterNdDescriptor", "cudnnGetFilterNdDescriptor"),
    ),
    pytest.param(
        api.PoolingDescriptor, "set", (api.PoolingMode.MAX, (3, 2), (1, 0), (2, 5)), "get_2d", (2, 5),
        marks=functions("Pooling", "cudnnSetPooling2dDescriptor", "cudnnGetPooling2dDescriptor"),
    ),
    pytest.param(
        api.PoolingDescriptor, "set", (api.PoolingMode.MAX, (3, 2, 4)), "get", (3, 2, 4),
        marks=functions("Pooling", "cudnnSetPoolingNdDescriptor", "cudnnGetPoolingNdDescriptor"),
    ),
    pytest.param(
        api.ConvolutionDescriptor, "set", ((1, 2), (3, 4), (5, 6)), "get_2d", (5, 6),
        marks=functions(
            "Convolution", "cudnnSetConvolution2dDescriptor", "cudnnGetConvolution2dDescriptor",
            "cudnnSetConvolutionGroupCount", "cudnnGetConvolutionGroupCount", "cudnnSetConvolutionMathType",
            "cudnnGetConvolutionMathType", "cudnnSetConvolutionReorderType", "cudnnGetConvolutionReorderType",
        ),
    ),
    pytest.param(
        api.ConvolutionDescriptor, "set", ((1, 2, 0), (3, 4, 1), (5, 6, 2)), "get", (5, 6, 2),
        marks=functions("Convolution", "cudnnSetConvolutionNdDescriptor", "cudnnGetConvolutionNdDescriptor"),
    ),
    pytest.param(
        api.ActivationDescriptor, "set", (api.ActivationMode.ELU, 0.5), "get", 0.5,
        marks=functions(
            "Activation", "cudnnSetActivationDescriptor", "cudnnGetActivationDescriptor",
            "cudnnSetActivationDescriptorSwishBeta", "cudnnGetActivationDescriptorSwishBeta",
        ),
    ),
    pytest.param(
        api.LrnDescriptor, "set", (7, 1e-3, 0.5, 1.5), "get", 1.5,
        marks=functions("LRN", "cudnnSetLRNDescriptor", "cudnnGetLRNDescriptor"),
    ),
    pytest.param(
        api.OpTensorDescriptor, "set", (api.OpTensorOp.MAX,), "get", api.OpTensorOp.MAX,
        marks=functions("OpTensor", "cudnnSetOpTensorDescriptor", "cudnnGetOpTensorDescriptor"),
    ),
    pytest.param(
        api.ReduceDescriptor, "set", (api.ReduceTensorOp.AVG,), "get", api.ReduceTensorOp.AVG,
        marks=functions("ReduceTensor", "cudnnSetReduceTensorDescriptor", "cudnnGetReduceTensorDescriptor"),
    ),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "setter", "arguments", "getter", "held"), WAYS)
def test_every_way_to_set_and_to_read(
    kind: Any, setter: str, arguments: tuple[Any, ...], getter: str, held: object
) -> None:
    with kind() as descriptor:
        getattr(descriptor, setter)(*arguments)
        spec = getattr(descriptor, getter)()
        assert held in [getattr(spec, name) for name in spec.__dataclass_fields__]
        assert spec == descriptor.get()


@pytest.mark.parametrize("dims", [(4, 3), (4, 3, 2), (8, 3, 32, 16), (2, 3, 4, 5, 6)])
def test_strides_are_kept(dims: tuple[int, ...]) -> None:
    strides = tuple(7 * n for n in np.cumprod((1, *dims[:0:-1]))[::-1])
    spec = api.TensorDescriptor().set_strided(np.float32, dims, strides).get()
    assert spec == TensorSpec(FLOAT, dims, strides)


@pytest.mark.covers("cudnnGetTensorSizeInBytes")
@pytest.mark.parametrize("dims", [(4, 3, 2), (8, 3, 32, 16), (2, 3, 4, 5, 6)])
@pytest.mark.parametrize("layout", [NCHW, NHWC])
def test_a_layout_is_its_strides(dims: tuple[int, ...], layout: api.TensorFormat) -> None:
    packed = api.TensorDescriptor().set(np.float32, dims, layout)
    assert packed.size_in_bytes == 4 * np.prod(dims)
    again = api.TensorDescriptor().set_strided(np.float32, dims, packed.get().strides)
    assert again.get() == packed.get()
    assert again.size_in_bytes == packed.size_in_bytes


def test_vectorised_channels() -> None:
    x = api.TensorDescriptor().set(api.DataType.INT8x4, (1, 32, 4, 2), api.TensorFormat.NCHW_VECT_C)
    assert x.get().dtype is api.DataType.INT8x4
    assert x.size_in_bytes == 32 * 4 * 2


@pytest.mark.covers("cudnnGetFilterSizeInBytes")
def test_filter_size() -> None:
    assert api.FilterDescriptor().set("bfloat16", (8, 4, 3, 3)).size_in_bytes == 8 * 4 * 9 * 2


@pytest.mark.parametrize("kind", CLASSES)
def test_a_new_descriptor_has_a_repr(kind: Any) -> None:
    """Some kinds come uninitialised from cuDNN; ours never show that."""
    assert [repr(kind()) for _ in range(50)] == [repr(kind())] * 50


@pytest.mark.parametrize("kind", CLASSES)
def test_a_closed_descriptor_is_refused(kind: Any) -> None:
    descriptor = kind()
    descriptor.close()
    assert repr(descriptor) == f"{kind.__name__}(unusable)"
    with pytest.raises(UnusableResource, match=f"this {kind.__name__} is closed"):
        descriptor.get()


@pytest.mark.parametrize("kind", CLASSES)
def test_dropped_descriptors_are_released(kind: Any) -> None:
    drain()
    for _ in range(100):
        kind()
    gc.collect()
    drain()
    assert pending() == 0


class DeviceArray:
    """An array on the GPU as PyTorch and CuPy have them."""

    def __init__(self, pointer: int, nbytes: int) -> None:
        self.nbytes, self.__cuda_array_interface__ = nbytes, {"data": (pointer, False)}


def test_memory_in_every_form() -> None:
    for place in (buffer(0x100, 8), DeviceArray(0x100, 8), 0x100):
        assert within("a", place, 8) == checked("a", place, 8) == 0x100
    assert (within("a", None, 8), within("a", 0, 8), within("a", DeviceArray(0, 0), 0)) == (0, 0, 0)
    assert span(buffer(0x100, 8)) == span(DeviceArray(0x100, 8)) == (0x100, 8)
    assert span(None) == (0, 0)


@pytest.mark.parametrize("place", [buffer(0x100, 7), DeviceArray(0x100, 7)])
@pytest.mark.parametrize("function", [checked, within])
def test_memory_too_small(function: Any, place: Any) -> None:
    with pytest.raises(ValueError, match="a takes 8 bytes, the buffer holds 7"):
        function("a", place, 8)


def test_memory_that_cannot_be() -> None:
    with pytest.raises(ValueError, match="a is missing, it takes 8 bytes"):
        checked("a", None, 8)
    with pytest.raises(ValueError, match="a is at 0x108, which is no multiple of 16 bytes"):
        checked("a", DeviceArray(0x108, 8), 8, align=16)
    for function in (span, lambda place: checked("a", place, 8)):
        with pytest.raises(TypeError, match="a ndarray is no memory of a GPU"):
            function(np.zeros(1))


@pytest.mark.parametrize(
    ("dtype", "format", "groups", "size"),
    [
        (np.float32, NCHW, 1, 4 * 36 * 32 * 6),
        (np.float16, NHWC, 2, 2 * 36 * 32 * 6),
        (api.DataType.INT8x4, api.TensorFormat.NCHW_VECT_C, 1, 36 * 32 * 6),
    ],
)
def test_columns_have_to_be_large_enough(dtype: Any, format: api.TensorFormat, groups: int, size: int) -> None:
    conv, function = api.ConvolutionDescriptor().set((1, 0), (2, 1), groups=groups), "cudnnIm2Col"
    lib: Any = Recording(conv.lib, {function: None})
    conv.lib = lib
    x = api.TensorDescriptor().set(dtype, (2, 32, 6, 7), format).at(0x10)  # 3 x 6 outputs
    w = api.FilterDescriptor().set(dtype, (4, 32 // groups, 3, 2), format)
    with pytest.raises(ValueError, match=f"columns takes {size} bytes, the buffer holds {size - 1}"):
        conv.im2col(HANDLE, x, w, buffer(0x20, size - 1))
    assert not lib.calls
    conv.im2col(HANDLE, x, w, buffer(0x20, size))
    assert lib.only(function)["colBuffer"] == 0x20


def test_a_reordered_filter_has_to_be_large_enough() -> None:
    w = api.FilterDescriptor().set(api.DataType.INT8x32, (64, 32, 3, 3), api.TensorFormat.NCHW_VECT_C)
    size, function = 64 * 32 * 9, "cudnnReorderFilterAndBias"
    lib: Any = Recording(w.lib, {function: None})
    w.lib = lib
    for places, what in (((size - 1, size), "w"), ((size, size - 1), "to")):
        with pytest.raises(ValueError, match=f"{what} takes {size} bytes, the buffer holds {size - 1}"):
            w.reorder(HANDLE, *(buffer(0x10 * n, nbytes) for n, nbytes in enumerate(places, 1)))
    for biases in ((buffer(0x30, 255), 0x40), (0x30, buffer(0x40, 255))):
        with pytest.raises(ValueError, match="bias takes 256 bytes, the buffer holds 255"):
            w.reorder(HANDLE, 0x10, 0x20, bias=biases)
    assert not lib.calls
    w.reorder(HANDLE, buffer(0x10, size), 0x20, bias=(0x30, 0x40))
    found = lib.only(function)
    names = "filterData", "reorderedFilterData", "reorderBias", "biasData", "reorderedBiasData"
    assert [found[name] for name in names] == [0x10, 0x20, 1, 0x30, 0x40]
