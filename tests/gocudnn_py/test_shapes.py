"""Output shapes: an own formula and cuDNN's query agree on seeded random cases."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest

from gocudnn_py import cudnn as api

pytestmark = pytest.mark.usefixtures("cudnn")
CONVOLUTIONS, POOLINGS, SEED = 3000, 300, 20200513


class Case(NamedTuple):
    x: tuple[int, ...]
    w: tuple[int, ...]
    padding: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int

    def expected(self) -> tuple[int, ...]:
        """Floor of (padded input minus the dilated filter) over the stride, plus one."""
        axes = zip(self.x[2:], self.w[2:], self.padding, self.stride, self.dilation, strict=True)
        return tuple((n + 2 * p - (d * (k - 1) + 1)) // s + 1 for n, k, p, s, d in axes)


def convolution(random: np.random.Generator) -> Case:
    spatial = int(random.integers(1, 4))
    groups = int(random.choice([1, 1, 2, 3, 4, 8]))

    def draw(least: int, most: int) -> tuple[int, ...]:
        return tuple(map(int, random.integers(least, most + 1, spatial)))

    kernel, padding, stride, dilation = draw(1, 5), draw(0, 6), draw(1, 4), draw(1, 4)
    span = [d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True)]
    image = tuple(max(1, s - 2 * p) + e for s, p, e in zip(span, padding, draw(0, 40), strict=True))
    channels, filters = groups * int(random.integers(1, 6)), groups * int(random.integers(1, 6))
    x = (int(random.integers(1, 9)), channels, *image)
    return Case(x, (filters, channels // groups, *kernel), padding, stride, dilation, groups)


def cases() -> list[Case]:
    random = np.random.default_rng(SEED)
    return [convolution(random) for _ in range(CONVOLUTIONS)]


def test_the_cases_cover_what_they_should() -> None:
    drawn = cases()
    assert {len(case.x) for case in drawn} == {3, 4, 5}
    assert sum(case.groups > 1 for case in drawn) > 1000
    assert sum(max(case.dilation) > 1 for case in drawn) > 1000
    assert sum(max(case.stride) > 1 for case in drawn) > 1000


@pytest.mark.covers("cudnnGetConvolutionNdForwardOutputDim", "cudnnGetConvolution2dForwardOutputDim")
@pytest.mark.parametrize("layout", [api.TensorFormat.NCHW, api.TensorFormat.NHWC])
def test_convolutions(layout: api.TensorFormat) -> None:
    x, w, conv = api.TensorDescriptor(), api.FilterDescriptor(), api.ConvolutionDescriptor()
    for case in cases():
        x.set(np.float32, case.x, layout)
        w.set(np.float32, case.w, layout)
        conv.set(case.padding, case.stride, case.dilation, groups=case.groups)
        assert conv.output_shape(x, w) == (case.x[0], case.w[0], *case.expected()), case


@pytest.mark.covers("cudnnGetPoolingNdForwardOutputDim", "cudnnGetPooling2dForwardOutputDim")
def test_poolings() -> None:
    random = np.random.default_rng(SEED + 1)
    x, pooling = api.TensorDescriptor(), api.PoolingDescriptor()
    for _ in range(POOLINGS):
        spatial = int(random.integers(1, 4))
        window = random.integers(1, 6, spatial)
        padding = random.integers(0, window)  # cuDNN wants padding smaller than the window
        stride = random.integers(1, 4, spatial)
        dims = (2, 3, *(window + random.integers(0, 30, spatial)))
        x.set(np.float32, dims)
        pooling.set(api.PoolingMode.MAX, window, padding, stride)
        spatial_out = (np.array(dims[2:]) + 2 * padding - window) // stride + 1
        assert pooling.output_shape(x) == (2, 3, *spatial_out), pooling
