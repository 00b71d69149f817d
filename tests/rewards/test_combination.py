import jax
import numpy as np
import pytest

from pojax import rewards

CORRECT, FORMAT = np.array([1.0, 0.0, 1.0]), np.array([1.0, 1.0, 0.0])


def test_weighted_sum():
    components = {"correct": CORRECT, "format": FORMAT, "length": np.array([np.nan, 3.0, 9.0])}
    np.testing.assert_allclose(rewards.weighted_sum(components, weights={"correct": 1.0, "format": 0.1}), [1.1, 0.1, 1.0], rtol=1e-6)
    np.testing.assert_array_equal(rewards.weighted_sum({"correct": CORRECT.astype(bool)}, weights={"correct": 2}), [2.0, 0.0, 2.0])


def test_weights_may_be_one_per_row_and_are_traced():
    weight = np.array([1.0, 2.0, 3.0])
    expected = CORRECT * weight
    np.testing.assert_array_equal(rewards.weighted_sum({"c": CORRECT}, weights={"c": weight}), expected)
    np.testing.assert_array_equal(rewards.weighted_sum({"c": CORRECT}, weights={"c": weight[:, None]}), expected)
    rule = jax.jit(lambda w: rewards.weighted_sum({"c": CORRECT, "f": FORMAT}, weights=w))
    np.testing.assert_array_equal(rule({"c": 1.0, "f": -0.5}), [0.5, -0.5, 1.0])
    np.testing.assert_array_equal(rule({"c": 0.0, "f": 1.0}), FORMAT)
    assert rule._cache_size() <= 1  # 0: JAX has dropped it since, its cache is shared by all functions


def test_order_of_a_config_does_not_change_bits():
    rng = np.random.default_rng(0)
    components = {name: rng.normal(size=50).astype(np.float32) for name in "abcd"}
    weights = {name: 0.1 * i + 0.3 for i, name in enumerate("abcd")}
    backwards = dict(reversed(weights.items()))
    np.testing.assert_array_equal(rewards.weighted_sum(components, weights=weights), rewards.weighted_sum(components, weights=backwards))


@pytest.mark.parametrize(
    ("weights", "message"), [({}, "weights is empty"), ({"corect": 1.0}, r"weights names \['corect'\], allowed: \['c'\]")]
)
def test_bad_weights(weights, message):
    with pytest.raises(ValueError, match=message):
        rewards.weighted_sum({"c": CORRECT}, weights=weights)
