"""Transforms, copies, sums, scales and fills of tensors on the card, against NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from gocudnn_py._abi.cudnn import FoldingDirection
from gocudnn_py.cudnn import ConvolutionBwdDataAlgo, ConvolutionDescriptor, Handle
from gocudnn_py.cudnn import transform as tensors
from gocudnn_py.cudnn.convolution import Direction
from gocudnn_py.cudnn.folding import fold_backward_data
from gocudnn_py.cudnn.transform import TransformDescriptor
from gocunets import convnetgo
from tests.gpu.card import NCHW, NHWC, Card, numbers


@pytest.mark.covers("cudnnTransformTensor")
def test_a_copy_changes_layout_and_type(card: Card, handle: Handle) -> None:
    x, y = numbers(2, 3, 4, 5), numbers(2, 3, 4, 5, seed=1)
    on_y = card.put(y, format=NHWC)
    tensors.copy(handle, card.put(x), on_y, alpha=2.0, beta=-1.0)
    np.testing.assert_allclose(card.get(on_y), 2 * x - y, rtol=1e-6, atol=1e-6)


@pytest.mark.covers("cudnnAddTensor", "cudnnScaleTensor", "cudnnSetTensor")
def test_add_scale_and_fill(card: Card, handle: Handle) -> None:
    b, y = numbers(1, 3, 1, 1), numbers(2, 3, 4, 5, seed=1)
    on_y = card.put(y)
    tensors.add(handle, card.put(b), on_y, alpha=2.0, beta=0.5)
    np.testing.assert_allclose(card.get(on_y), 2 * b + 0.5 * y, rtol=1e-6, atol=1e-6)
    tensors.scale(handle, on_y, -3.0)
    np.testing.assert_allclose(card.get(on_y), -3 * (2 * b + 0.5 * y), rtol=1e-6, atol=1e-6)
    tensors.fill(handle, on_y, 1.25)
    assert (card.get(on_y) == 1.25).all()
    half = card.empty((1, 2, 3, 4), dtype=np.float16)
    tensors.fill(handle, half, -0.5)
    assert (card.get(half) == -0.5).all()


@pytest.mark.covers(
    "cudnnCreateTensorTransformDescriptor",
    "cudnnSetTensorTransformDescriptor",
    "cudnnGetTensorTransformDescriptor",
    "cudnnInitTransformDest",
    "cudnnTransformTensorEx",
    "cudnnDestroyTensorTransformDescriptor",
)
def test_padding_to_channels_last_and_back(card: Card, handle: Handle) -> None:
    x = numbers(2, 3, 4, 5, dtype=np.float16)
    on_x = card.put(x, dtype=np.float16)
    before, after = (0, 0, 1, 0), (0, 5, 0, 2)
    with TransformDescriptor().set(4, NHWC, before=before, after=after) as pad:
        spec = pad.get()
        assert (spec.format, spec.before, spec.after, spec.fold) == (NHWC, before, after, (1, 1))
        assert spec.direction is FoldingDirection.FOLD
        assert "to NHWC, before=(0, 0, 1, 0), after=(0, 5, 0, 2)" in repr(pad)
        described = pad.result(on_x.descriptor)  # type: ignore[arg-type]
        assert described.get().dims == (2, 8, 5, 7)
        on_y = described.at(card.scratch(described.size_in_bytes))
        pad.run(handle, on_x, on_y)
        right = np.pad(x, [(0, 0), (0, 5), (1, 0), (0, 2)])
        np.testing.assert_array_equal(card.get(on_y), right)


@pytest.mark.covers("cudnnInitTransformDest", "cudnnTransformTensorEx")
def test_strides_fold_into_channels(card: Card, handle: Handle) -> None:
    x = numbers(2, 4, 6, 8, dtype=np.float16)
    on_x = card.put(x, dtype=np.float16, format=NHWC)
    fold = TransformDescriptor().set(4, NHWC, fold=(2, 2))
    described = fold.result(on_x.descriptor)  # type: ignore[arg-type]
    assert described.get().dims == (2, 16, 3, 4)
    on_y = described.at(card.scratch(described.size_in_bytes))
    fold.run(handle, on_x, on_y)
    found = card.get(on_y)
    assert sorted(found.ravel()) == sorted(x.ravel())
    back = TransformDescriptor().set(4, NHWC, fold=(2, 2), direction=FoldingDirection.UNFOLD)
    on_z = card.empty(x.shape, dtype=np.float16, format=NHWC)
    back.run(handle, on_y, on_z)
    np.testing.assert_array_equal(card.get(on_z), x)


@pytest.mark.covers("cudnnTransformFilter")
def test_a_filter_changes_its_layout(card: Card, handle: Handle) -> None:
    w = numbers(8, 4, 3, 3, dtype=np.float16)
    on_w = card.put(w, filter=True, dtype=np.float16)
    on_v = card.empty(w.shape, filter=True, dtype=np.float16, format=NHWC)
    TransformDescriptor().set(4, NHWC).run_filter(handle, on_w, on_v)
    np.testing.assert_array_equal(card.get(on_v), w)


@pytest.mark.covers("cudnnGetFoldedConvBackwardDataDescriptors", "cudnnTransformFilter", "cudnnTransformTensorEx")
def test_a_folded_data_gradient_is_the_same(card: Card, handle: Handle) -> None:
    half: Any = {"dtype": np.float16, "format": NCHW}
    window: Any = {"padding": (1, 1), "stride": (2, 2)}
    x_shape, w = (2, 8, 12, 12), numbers(16, 8, 3, 3, seed=1, dtype=np.float16)
    dy = numbers(2, 16, 6, 6, seed=2, dtype=np.float16)
    conv = ConvolutionDescriptor().set(**window)
    on_w, on_dy, on_dx = card.put(w, filter=True, **half), card.put(dy, **half), card.empty(x_shape, **half)
    triple: Any = on_w.descriptor, on_dy.descriptor, on_dx.descriptor
    folded = fold_backward_data(handle, conv, *triple)
    w_folded = folded.w.at(card.scratch(folded.w.size_in_bytes))
    dy_padded = folded.dy.at(card.scratch(folded.dy.size_in_bytes))
    dx_folded = folded.dx.at(card.scratch(folded.dx.size_in_bytes))
    folded.fold_w.run_filter(handle, on_w, w_folded)
    folded.pad_dy.run(handle, on_dy, dy_padded)
    algorithm = ConvolutionBwdDataAlgo.ALGO_1
    descriptors = folded.w, folded.dy, folded.dx
    room = card.scratch(folded.convolution.workspace_size(handle, Direction.BACKWARD_DATA, *descriptors, algorithm))
    folded.convolution.backward_data(handle, w_folded, dy_padded, dx_folded, algorithm=algorithm, workspace=room)
    folded.unfold_dx.run(handle, dx_folded, on_dx)
    right = convnetgo.convolution_backward_data(dy, w, x_shape, **window)
    size = convnetgo.convolution_backward_data(np.abs(dy), np.abs(w), x_shape, **window)
    assert (np.abs(card.get(on_dx) - right) <= 8 * 2.0**-11 * (size + 1)).all()
