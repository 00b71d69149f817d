import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pojax import trackers
from pojax.sampling.processors import entropy_temperature, float8_logits

WORKED = np.array([[0.05, 1.2, 0.4], [2.0, 0.1, 9.0]]), np.array([[1, 1, 1], [1, 1, 0]]), np.zeros(2, int)


def with_entropy(wanted):
    """Logits over 400 tokens whose entropy is the wanted one, by bisection of the temperature."""
    base = np.random.default_rng(0).normal(size=400)
    low, high = 1e-3, 1e3
    for _ in range(200):
        middle = np.sqrt(low * high)
        x = base / middle
        p = np.exp(x - x.max())
        p /= p.sum()
        entropy = -np.sum(p * np.log(np.maximum(p, 1e-300)))
        low, high = (middle, high) if entropy < wanted else (low, middle)
    return base / low


@pytest.mark.parametrize("form", ["signed", "released"])
def test_worked_example_of_the_temperature(x64, form):
    """Temperatures of tokens with entropies .05, 1.2, 2 and 5; released code is hotter where the entropy is low, too."""
    statistics = trackers.entropy_statistics.update(trackers.entropy_statistics.init(), *WORKED)
    logits = jnp.asarray([with_entropy(h) for h in (0.05, 1.2, 2.0, 5.0)])
    expected = [0.95 if form == "signed" else 1.05, 1.0, 1.05, 1.05]
    found = entropy_temperature(logits, statistics, tau=0.05, form=form)
    np.testing.assert_allclose(found, logits / np.array(expected)[:, None], rtol=1e-6)


def test_temperature_without_bounds(x64):
    """T = 1 + tau z of the worked example's Q = 0.182322 (log 1.2) and s = 1.88376; certain tokens stay at 0.05."""
    statistics = trackers.entropy_statistics.update(trackers.entropy_statistics.init(), *WORKED)
    entropies = np.array([0.05, 1.2, 5.0])
    logits = jnp.asarray([with_entropy(h) for h in entropies])
    expected = 1 + 0.5 * (np.log(entropies) - 0.182322) / 1.88376
    np.testing.assert_allclose(entropy_temperature(logits, statistics, tau=0.5, form="z_score"), logits / expected[:, None], rtol=3e-5)
    certain = jnp.asarray([[100.0, 0.0, 0.0]])
    np.testing.assert_allclose(entropy_temperature(certain, statistics, tau=0.5, form="z_score"), certain / 0.05, rtol=1e-6)


def test_before_the_first_iteration_nothing_changes():
    logits = jax.random.normal(jax.random.key(0), (3, 7))
    np.testing.assert_array_equal(entropy_temperature(logits, trackers.entropy_statistics.init(), tau=0.5), logits)
    with pytest.raises(ValueError, match="tau"):
        entropy_temperature(logits, trackers.entropy_statistics.init(), tau=1.0)


def test_float8_logits_round_to_three_bits_of_mantissa():
    logits = jnp.array([[5.1, -5.3, 1.06, 0.0, 13.2, 700.0]])
    found = float8_logits(logits, jnp.zeros((1, 4), jnp.int32), 0)
    np.testing.assert_array_equal(found, [[5.0, -5.5, 1.0, 0.0, 13.0, 704.0]])
    grid = jnp.linspace(-8, 8, 2001)[None]
    error = np.asarray(float8_logits(grid, jnp.zeros((1, 4), jnp.int32), 0) - grid)
    assert 0.2 < np.abs(error).max() <= 0.25 + 1e-6 and error.min() < -0.2 < 0.2 < error.max()  # to both sides
