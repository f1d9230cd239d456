"""Mistakes with descriptors: refused before cuDNN is asked, with the numbers, or in cuDNN's own words."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from gocudnn_py import cudnn as api
from gocudnn_py import errors
from gocudnn_py.errors import BadParameter
from tests.mistakes import MISTAKES, PAGE, Mistake, page

pytestmark = pytest.mark.usefixtures("cudnn")
NHWC = api.TensorFormat.NHWC


def tensor(*dims: int) -> api.TensorDescriptor:
    return api.TensorDescriptor().set(np.float32, dims)


def weights(*dims: int) -> api.FilterDescriptor:
    return api.FilterDescriptor().set(np.float32, dims)


WRONG: list[tuple[Any, str]] = [
    (
        lambda: tensor(1, 2**31, 1, 1),
        r"dims\[1\] is 2147483648, outside 1 to 2147483647 \(dims=\(1, 2147483648",
    ),
    (lambda: tensor(1, 2**32 + 1, 1, 1), r"dims\[1\] is 4294967297, outside"),
    (lambda: tensor(1, 0, 1, 1), r"dims\[1\] is 0, outside 1 to"),
    (lambda: tensor(7), r"a NCHW tensor has 1 dimensions; cuDNN takes 2 to 8"),
    (lambda: tensor(*[1] * 9), r"has 9 dimensions; cuDNN takes 2 to 8"),
    (
        lambda: api.TensorDescriptor().set("f4", (2, 3), NHWC),
        r"a NHWC tensor has 2 dimensions; cuDNN takes 3 to 8",
    ),
    (lambda: api.TensorDescriptor().set_strided("f4", (2, 3), (3,)), r"dims=\(2, 3\), strides=\(3,\)"),
    (lambda: api.TensorDescriptor().set_strided("f4", (2, 3), (2**31, 1)), r"strides\[0\] is 2147483648"),
    (lambda: weights(2, 3), r"a filter has 2 dimensions; cuDNN takes 3 to 8"),
    (lambda: api.ConvolutionDescriptor().set((-1, 0)), r"padding\[0\] is -1, outside 0 to"),
    (
        lambda: api.ConvolutionDescriptor().set((1, 1), (1,)),
        r"padding=\(1, 1\), stride=\(1,\), dilation=\(1, 1\)",
    ),
    (lambda: api.ConvolutionDescriptor().set((1, 1), (0, 1)), r"stride\[0\] is 0, outside 1 to"),
    (
        lambda: api.ConvolutionDescriptor().set(()),
        r"a convolution's padding has 0 dimensions; cuDNN takes 1 to 6",
    ),
    (lambda: api.ConvolutionDescriptor().set((1, 1), groups=2**33), r"groups is 8589934592, outside 1 to"),
    (
        lambda: api.PoolingDescriptor().set(0, (2, 2), (0,)),
        r"window=\(2, 2\), padding=\(0,\), stride=\(2, 2\)",
    ),
    (lambda: api.LrnDescriptor().set(2**32), r"window is 4294967296, outside"),
    (
        lambda: api.ConvolutionDescriptor().set((0, 0)).output_shape(tensor(2, 3, 8, 8), weights(4, 2, 3, 3)),
        r"conv: x has 3 channels, w expects 2 \(x=\(2, 3, 8, 8\), w=\(4, 2, 3, 3\), groups=1\)",
    ),
    (
        lambda: api.ConvolutionDescriptor().set((0, 0), groups=2).output_shape(tensor(2, 4, 8, 8), weights(3, 2, 3, 3)),
        r"conv: 3 filters do not divide into 2 groups",
    ),
    (
        lambda: api.ConvolutionDescriptor().set((0,)).output_shape(tensor(2, 3, 8, 8), weights(4, 3, 3, 3)),
        r"conv: x, w and padding=\(0,\) do not have matching ranks",
    ),
    (
        lambda: api.PoolingDescriptor().set(api.PoolingMode.MAX, (2, 2)).output_shape(tensor(2, 3, 8)),
        r"pooling: window \(2, 2\) needs x of 4 dimensions, not x=\(2, 3, 8\)",
    ),
]


@pytest.mark.parametrize(("mistake", "message"), WRONG, ids=[row[1][:50] for row in WRONG])
def test_mistakes_are_refused_with_their_numbers(mistake: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        mistake()


def test_what_only_cudnn_knows_is_in_its_words() -> None:
    with pytest.raises(BadParameter, match="cudnnSetLRNDescriptor: CUDNN_STATUS_BAD_PARAM"):
        api.LrnDescriptor().set(17)
    with pytest.raises(BadParameter, match="is_tensor_supported_datatype"):
        api.TensorDescriptor().set(np.int64, (1, 1, 1, 1))


def test_floats_are_no_dimensions() -> None:
    with pytest.raises(TypeError):
        api.TensorDescriptor().set(np.float32, (1, 1.5, 1, 1))  # type: ignore[list-item]


def test_numpy_integers_are_dimensions() -> None:
    assert tensor(*np.array([2, 3, 4, 5])).get().dims == (2, 3, 4, 5)


@pytest.mark.parametrize("mistake", [each for each in MISTAKES if not each.gpu], ids=lambda each: each.what)
def test_a_common_mistake_is_told(mistake: Mistake) -> None:
    kind = getattr(errors, mistake.error, None) or {"ValueError": ValueError, "TypeError": TypeError}[mistake.error]
    with pytest.raises(kind, match=mistake.says):
        mistake.make(None)


def test_the_page_shows_the_table() -> None:
    assert PAGE.read_text(encoding="utf-8") == page()
