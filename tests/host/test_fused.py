"""The fused kernels and ops, as on the card, in small batches."""

from __future__ import annotations

import pytest

pytest.importorskip("cuda.core", reason="cuda-core is missing: pip install 'gocunets[cu13]'")

from tests.gpu import test_fused as on_the_card

test_finish_gradients = on_the_card.test_finish_gradients
test_softmax_loss = on_the_card.test_softmax_loss
test_gather_is_bit_equal_to_the_cpu = on_the_card.test_gather_is_bit_equal_to_the_cpu
test_forward = on_the_card.test_forward
test_backward_data = on_the_card.test_backward_data
test_backward_filter = on_the_card.test_backward_filter
test_both_gradients_by_one_launch = on_the_card.test_both_gradients_by_one_launch
