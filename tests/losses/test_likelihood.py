import jax.numpy as jnp
import numpy as np
import pytest
from arrays import EX, assert_gradient

from pojax import losses
from pojax.losses import aggregations


@pytest.mark.parametrize(("aggregation", "expected"), [(aggregations.token_mean, 1.13182), (aggregations.sequence_mean, 1.12708)])
def test_card(aggregation, expected):
    loss = jnp.sum(aggregation(EX.mask) * losses.negative_log_likelihood(EX.logprobs))
    np.testing.assert_allclose(loss, expected, rtol=1e-5)


def test_card_of_rejection_sampling_fine_tuning():
    where = EX.mask * EX.correct[:, None]
    loss = jnp.sum(aggregations.token_mean(where) * losses.negative_log_likelihood(EX.logprobs))
    np.testing.assert_allclose(loss, 1.09167, rtol=1e-5)
    nothing = aggregations.token_mean(0 * where) * losses.negative_log_likelihood(EX.logprobs)
    np.testing.assert_array_equal(nothing, 0)  # no correct row


def test_gradient(x64):
    assert_gradient(losses.negative_log_likelihood, EX.logprobs)
