"""NPP on a card: sums, means, extremes, histograms and integrals."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from gocudnn_py import npp
from gocudnn_py.cuda import DeviceBuffer
from tests.gpu.npp_images import HIGH, WIDE, Card, Variant, pixels, variants

if TYPE_CHECKING:
    from gocunets.backends.cudnn import CudaBackend


# Of a mean of squares in float32, of which the square of the mean leaves a quarter.
ROUNDING = 4 * HIGH * WIDE * 2.0**-24


@pytest.fixture(scope="module")
def card(backend: CudaBackend) -> Card:
    return Card(backend)


@pytest.mark.parametrize("variant", variants("Sum", "R", "nppiSumGetBufferHostSize_{}"))
def test_total(variant: Variant, card: Card) -> None:
    array = pixels(variant.shape, variant.dtype)
    found = npp.total(card.stream, card.put(array)).numpy()
    assert found.dtype == np.float64
    # Whole numbers, and sums below 2**24: exact in float32 too, in any order.
    np.testing.assert_array_equal(found, array.reshape(HIGH * WIDE, -1).sum(axis=0, dtype=float))


@pytest.mark.parametrize("variant", variants("Mean", "R", "nppiMeanGetBufferHostSize_{}"))
def test_mean(variant: Variant, card: Card) -> None:
    array = pixels(variant.shape, variant.dtype)
    found = npp.mean(card.stream, card.put(array)).numpy()
    np.testing.assert_allclose(found, array.reshape(HIGH * WIDE, -1).mean(axis=0, dtype=float), rtol=2.0**-22)


@pytest.mark.parametrize("variant", variants("Mean_StdDev", "R", "nppiMeanStdDevGetBufferHostSize_{}"))
def test_mean_and_deviation(variant: Variant, card: Card) -> None:
    array = pixels(variant.shape, variant.dtype)
    mean, deviation = npp.mean_std(card.stream, card.put(array)).numpy()
    np.testing.assert_allclose((mean, deviation), (array.mean(dtype=float), array.std(dtype=float)), rtol=ROUNDING)


@pytest.mark.parametrize("variant", variants("Mean_StdDev", "CR", "nppiMeanStdDevGetBufferHostSize_{}"))
def test_mean_and_deviation_of_a_channel(variant: Variant, card: Card) -> None:
    array = pixels(variant.shape, variant.dtype)
    image = card.put(array)
    for channel in range(3):
        found = npp.mean_std(card.stream, image, channel).numpy()
        one = array[..., channel].astype(float)
        np.testing.assert_allclose(found, (one.mean(), one.std()), rtol=ROUNDING)


@pytest.mark.parametrize("variant", variants("MinMax", "R", "nppiMinMaxGetBufferHostSize_{}"))
def test_extremes(variant: Variant, card: Card) -> None:
    array = np.clip(pixels(variant.shape, variant.dtype), 9, 250)
    flat = array.reshape(HIGH * WIDE, -1)
    for channel in range(flat.shape[1]):
        flat[17 + channel, channel], flat[-1 - channel, channel] = 3 + channel, 252 + channel % 4
    found = npp.min_max(card.stream, card.put(array)).numpy()
    assert found.dtype == variant.dtype
    np.testing.assert_array_equal(found, [flat.min(axis=0), flat.max(axis=0)])


@pytest.mark.parametrize("variant", variants("HistogramEven", "R", "nppiHistogramEvenGetBufferSize_{}"))
def test_histogram(variant: Variant, card: Card) -> None:
    array = pixels(variant.shape, variant.dtype)
    found = npp.histogram(card.stream, card.put(array)).numpy()
    flat = array.reshape(HIGH * WIDE, -1)
    np.testing.assert_array_equal(found, [np.bincount(column, minlength=256) for column in flat.T])


@pytest.mark.covers("nppiIntegral_8u32f_C1R_Ctx")
def test_integral(card: Card) -> None:
    array = pixels((HIGH, WIDE), np.uint8)
    target = card.put(np.full((HIGH + 1, WIDE + 1), 77, np.float32))
    npp.integral(card.stream, card.put(array), target, 12)
    right = np.full((HIGH + 1, WIDE + 1), 12.0)
    right[1:, 1:] += array.cumsum(axis=0, dtype=float).cumsum(axis=1)
    np.testing.assert_array_equal(card.get(target), right)


@pytest.mark.covers("nppiMinMax_8u_C3R_Ctx", "nppiMinMaxGetBufferHostSize_8u_C3R_Ctx")
def test_memory_may_be_given(card: Card) -> None:
    array = pixels((HIGH, WIDE, 3), np.uint8)
    image = card.put(array).view(3, 2, 9, 8)
    scratch, out = DeviceBuffer(card.stream, 2**20), DeviceBuffer(card.stream, 8)
    found = npp.min_max(card.stream, image, scratch=scratch, out=out)
    assert found.buffer is out
    part: Any = array[2:10, 3:12].reshape(-1, 3)
    np.testing.assert_array_equal(found.numpy(), [part.min(axis=0), part.max(axis=0)])
    with pytest.raises(ValueError, match=r"nppiMinMax_8u_C3R_Ctx needs \d+ bytes, 3 are given"):
        npp.min_max(card.stream, image, scratch=DeviceBuffer(card.stream, 3))
