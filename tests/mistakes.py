"""The commonest mistakes with the bindings, one table: the page docs/mistakes.md shows it, and tests make each.

python -m tests.mistakes            write the page
python -m tests.mistakes --check    fail if writing would change it
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gocudnn_py.cuda import Device, DeviceBuffer, Module, Scalar, capture
from gocudnn_py.cudnn import (
    ActivationDescriptor,
    ActivationMode,
    BatchNormalization,
    BatchNormMode,
    ConvolutionDescriptor,
    ConvolutionFwdAlgo,
    Direction,
    FilterDescriptor,
    Handle,
    Normalization,
    PoolingDescriptor,
    PoolingMode,
    TensorDescriptor,
    TensorFormat,
)
from gocudnn_py.cudnn.graph import Graph, plans

PAGE = Path(__file__).parents[1] / "docs" / "mistakes.md"
NOTHING = 'extern "C" __global__ void nothing(float* x, float a, int n) {}'


@dataclass(frozen=True)
class Mistake:
    """What goes wrong, code that does it, the exception and a pattern of its message, and what to change.

    `make` is called with a `Card`; `gpu` says that it needs one.
    """

    what: str
    make: Callable[[Any], object]
    error: str
    says: str
    change: str
    gpu: bool = False


class Card:
    """What mistakes are made with on a GPU."""

    def __init__(self) -> None:
        self.device = Device()
        self.stream = self.device.stream()
        self.handle = Handle(self.device.ordinal, self.stream)

    def buffer(self, nbytes: int = 1 << 20) -> DeviceBuffer:
        """Zeros."""
        return DeviceBuffer(self.stream, nbytes, zeroed=True)

    def kernel(self) -> Any:
        """A kernel of a pointer, a float and an int."""
        return Module(self.device, NOTHING).kernel("nothing", [Scalar.pointer, Scalar.float32, Scalar.int32])


def tensor(*dims: int, dtype: Any = np.float32, format: TensorFormat = TensorFormat.NCHW) -> TensorDescriptor:
    return TensorDescriptor().set(dtype, dims, format)


def weights(*dims: int, dtype: Any = np.float32) -> FilterDescriptor:
    return FilterDescriptor().set(dtype, dims)


def workspace_missing(card: Card) -> None:
    conv, x, w, y = ConvolutionDescriptor().set((1, 1)), tensor(2, 8, 9, 9), weights(8, 8, 3, 3), tensor(2, 8, 9, 9)
    operands = (each.at(card.buffer()) for each in (x, w, y))
    conv.forward(card.handle, *operands, algorithm=ConvolutionFwdAlgo.FFT)


def algorithm_without_dilation(card: Card) -> None:
    conv, shape = ConvolutionDescriptor().set((2, 2), dilation=(2, 2)), (2, 8, 16, 16)
    triple = tensor(*shape), weights(8, 8, 3, 3), tensor(*shape)
    conv.workspace_size(card.handle, Direction.FORWARD, *triple, ConvolutionFwdAlgo.FFT)


def int8_channels_first(card: Card) -> None:
    conv, shape = ConvolutionDescriptor().set((1, 1), compute=np.int32), (2, 8, 16, 16)
    triple = tensor(*shape, dtype=np.int8), weights(8, 8, 3, 3, dtype=np.int8), tensor(*shape, dtype=np.int8)
    conv.workspace_size(card.handle, Direction.FORWARD, *triple, ConvolutionFwdAlgo.IMPLICIT_PRECOMP_GEMM)


def fused_norm(card: Card, x: TensorDescriptor) -> None:
    relu = ActivationDescriptor().set(ActivationMode.RELU)
    norm = BatchNormalization(x, BatchNormMode.SPATIAL_PERSISTENT, activation=relu)
    norm.forward_workspace_size(card.handle, x, x)


def graph_of_convolution(dtype: str) -> tuple[Graph, Any, Any, Any]:
    graph = Graph()
    x, w = graph.tensor("x", (2, 8, 9, 9), dtype), graph.tensor("w", (8, 8, 3, 3), dtype)
    return graph, x, w, graph.output(graph.convolution(x, w, padding=1), "y", dtype=dtype)


def address_misaligned(card: Card) -> None:
    graph, x, w, y = graph_of_convolution("float32")
    plan, buffer = next(plans(graph, card.handle)), card.buffer()
    plan.bind({x: buffer.pointer + 4, w: buffer, y: buffer}, card.buffer(max(1, plan.workspace)))


def address_forgotten(card: Card) -> None:
    graph, x, w, _ = graph_of_convolution("float32")
    plan, buffer = next(plans(graph, card.handle)), card.buffer()
    plan.bind({x: buffer, w: buffer}, card.buffer(max(1, plan.workspace)))


def allocation_captured(card: Card) -> None:
    capture(card.stream, lambda stream: DeviceBuffer(stream, 256))


def closed_buffer(card: Card) -> None:
    buffer = card.buffer()
    buffer.close()
    tensor(1, 1, 1, 1).at(buffer)


def closed_descriptor(_: object) -> None:
    descriptor = tensor(1, 1, 1, 1)
    descriptor.close()
    descriptor.get()


class ElsewhereStream:
    """A stream of a second GPU."""

    class device:  # noqa: N801 - as a stream's attribute is called
        ordinal = 1

    def __cuda_stream__(self) -> tuple[int, int]:
        return 0, 16

    def __str__(self) -> str:
        return "Stream(0x10)"


MISTAKES = [
    Mistake(
        "x has other channels than the filters expect",
        lambda _: ConvolutionDescriptor().set((0, 0)).output_shape(tensor(2, 3, 8, 8), weights(4, 2, 3, 3)),
        "ValueError",
        r"conv: x has 3 channels, w expects 2",
        "give w (K, C / groups, *kernel), or set `groups`",
    ),
    Mistake(
        "filters that do not divide into groups",
        lambda _: ConvolutionDescriptor().set((0, 0), groups=2).output_shape(tensor(2, 4, 8, 8), weights(3, 2, 3, 3)),
        "ValueError",
        r"conv: 3 filters do not divide into 2 groups",
        "a multiple of `groups` filters",
    ),
    Mistake(
        "a dimension of 0, or beyond 32 bits",
        lambda _: tensor(1, 2**31, 1, 1),
        "ValueError",
        r"dims\[1\] is 2147483648, outside 1 to 2147483647",
        "split the tensor; cuDNN counts in 32 bits",
    ),
    Mistake(
        "strides that do not match the dimensions",
        lambda _: TensorDescriptor().set_strided(np.float32, (2, 3), (3,)),
        "ValueError",
        r"one number for each dimension is needed in all of dims=\(2, 3\), strides=\(3,\)",
        "one stride a dimension, in elements",
    ),
    Mistake(
        "a data type that cuDNN has not",
        lambda _: tensor(1, 1, 1, 1, dtype=np.uint16),
        "ValueError",
        r"cuDNN has no data type for uint16; it has float32",
        "convert the data, or view them as a type of that size",
    ),
    Mistake(
        "pooling of a tensor of another rank",
        lambda _: PoolingDescriptor().set(PoolingMode.MAX, (2, 2)).output_shape(tensor(2, 3, 8)),
        "ValueError",
        r"pooling: window \(2, 2\) needs x of 4 dimensions",
        "a window of as many numbers as x has spatial axes",
    ),
    Mistake(
        "a descriptor that is closed",
        closed_descriptor,
        "UnusableResource",
        r"this TensorDescriptor is closed",
        "keep it open as long as it is used; it closes itself when nobody holds it",
    ),
    Mistake(
        "an array of the host where memory of the GPU is wanted",
        lambda _: tensor(1, 1, 2, 2).at(np.zeros(4, np.float32)),
        "TypeError",
        r"a ndarray is no memory of a GPU: upload",
        "`DeviceBuffer.upload`, or an array of CuPy's or PyTorch's on the GPU",
    ),
    Mistake(
        "a stream of another GPU",
        lambda _: Handle(0, ElsewhereStream()),
        "ValueError",
        r"belongs to GPU 1, the handle to GPU 0",
        "a handle for each GPU: `current_handle(device, stream)`",
    ),
    Mistake(
        "a sum without an activation in batch normalisation",
        lambda _: BatchNormalization(tensor(2, 8, 4, 4)).forward_workspace_size(
            None,
            tensor(2, 8, 4, 4),
            tensor(2, 8, 4, 4),
            tensor(2, 8, 4, 4),  # type: ignore[arg-type]
        ),
        "ValueError",
        r"cuDNN adds z only before an activation",
        "give `activation`, or add with `cudnn.add`",
    ),
    Mistake(
        "groups in cuDNN's normalisation",
        lambda _: Normalization(tensor(2, 8, 4, 4), groups=2),
        "NotSupported",
        r"cudnnDeriveNormTensorDescriptor: CUDNN_STATUS_NOT_SUPPORTED",
        "one group: a group normalisation is a graph, or each group as a sample of its own",
    ),
    Mistake(
        "a graph whose channels do not divide",
        lambda _: Graph().convolution(
            (g := Graph()).tensor("x", (1, 3, 8, 8), "float32"), g.tensor("w", (4, 2, 3, 3), "float32")
        ),
        "ValueError",
        r"convolution: channels do not divide into groups \(x=\(1, 3, 8, 8\), w=\(4, 2, 3, 3\)\)",
        "w of (K, C / groups, *kernel)",
    ),
    Mistake(
        "a buffer that is too small for its descriptor",
        lambda card: tensor(2, 3, 4, 5).at(card.buffer(100)),
        "ValueError",
        r"takes 480 bytes, the buffer holds 100",
        "`DeviceBuffer(stream, descriptor.size_in_bytes)`",
        gpu=True,
    ),
    Mistake(
        "a buffer that was given back",
        closed_buffer,
        "UnusableResource",
        r"is closed",
        "hold it until the work is done; the stream need not be waited for",
        gpu=True,
    ),
    Mistake(
        "no workspace for an algorithm that needs one",
        workspace_missing,
        "BadParameter",
        r"workSpaceSizeInBytes < requiredWorkspace",
        "`workspace_size(...)` bytes, or an algorithm that needs none",
        gpu=True,
    ),
    Mistake(
        "an algorithm that cannot dilate",
        algorithm_without_dilation,
        "NotSupported",
        r"cudnnGetConvolutionForwardWorkspaceSize",
        "`propose(...)` lists the algorithms that do it",
        gpu=True,
    ),
    Mistake(
        "int8 in channels first",
        int8_channels_first,
        "NotSupported",
        r"cudnnGetConvolutionForwardWorkspaceSize",
        "channels last (NHWC) in multiples of 4, or NCHW_VECT_C",
        gpu=True,
    ),
    Mistake(
        "channels first where a fused operation wants them last",
        lambda card: fused_norm(card, tensor(2, 8, 4, 4, dtype=np.float16)),
        "NotSupported",
        r"cudnnGetBatchNormalizationForwardTrainingExWorkspaceSize",
        "`TensorFormat.NHWC` and half precision",
        gpu=True,
    ),
    Mistake(
        "an address that is not aligned as the graph says",
        address_misaligned,
        "ValueError",
        r"x lies at 0x\w+, declared is a multiple of 16",
        "begin at the buffer's start, or declare `alignment=4`, which costs the fast engines",
        gpu=True,
    ),
    Mistake(
        "a tensor of a graph without memory",
        address_forgotten,
        "ValueError",
        r"no address for y of graph",
        "an address for each of `graph.real`",
        gpu=True,
    ),
    Mistake(
        "a kernel declared otherwise than it was compiled",
        lambda card: Module(card.device, NOTHING).kernel("nothing", [Scalar.pointer, Scalar.float64, Scalar.int32]),
        "ValueError",
        r"kernel nothing takes parameters of \[8, 4, 4\] bytes, declared are \[8, 8, 4\]",
        "the C++ signature, parameter by parameter",
        gpu=True,
    ),
    Mistake(
        "a number that does not fit a kernel's parameter",
        lambda card: card.kernel().bind([1], [32], [card.buffer(), 1.0, 2**31]),
        "ValueError",
        r"argument 2 = 2147483648 does not fit int32",
        "declare int64 in the kernel and its signature",
        gpu=True,
    ),
    Mistake(
        "memory allocated while a CUDA graph is recorded",
        allocation_captured,
        "ValueError",
        r"256 bytes cannot be allocated while a CUDA graph is recorded",
        "allocate before `capture`, and name the buffer among what it keeps alive",
        gpu=True,
    ),
]


def page() -> str:
    """The page of the table."""
    lines = [
        "# Mistakes, and what they say",
        "",
        "What is made often, the exception that it raises, and what to change. `python -m tests.mistakes` writes this,",
        "and every row is a test that makes the mistake. What cuDNN refuses comes with its own words and a hint; with",
        "`gocudnn_py.cudnn.log.log_to_logging()` cuDNN logs the check that failed.",
        "",
        "| mistake | raises | what to change |",
        "|---|---|---|",
        *(f"| {each.what} | `{each.error}` | {each.change} |" for each in MISTAKES),
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    if "--check" not in sys.argv:
        PAGE.write_text(page(), encoding="utf-8")
    sys.exit(PAGE.read_text(encoding="utf-8") != page())
