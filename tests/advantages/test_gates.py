import jax
import jax.numpy as jnp
import numpy as np
import pytest
from arrays import EX

from pojax import advantages


def test_card():
    value = advantages.divergence_gate(EX.old, EX.rollout, EX.mask, delta=0.02)
    expected = [[0.980199, 0, 1], [0.904837, 1, 0], [1, 0, 1.05127], [1.2214, 0.904837, 0]]
    np.testing.assert_allclose(value, expected, rtol=1e-5)
    rows = advantages.divergence_gate(EX.old, EX.rollout, EX.mask, delta=0.02, level="sequence")
    np.testing.assert_allclose(rows, np.exp(EX.old - EX.rollout) * EX.mask * np.array([[0], [1], [0], [1]]), rtol=1e-5)


@pytest.mark.parametrize("divergence", ["binary_kl", "tv"])
@pytest.mark.parametrize("level", ["token", "sequence"])
def test_double_precision(x64, divergence, level):
    rng = np.random.default_rng(0)
    start, rollout, mask = -rng.uniform(0, 3, (40, 5)), -rng.uniform(0, 3, (40, 5)), rng.integers(0, 2, (40, 5))
    expected, kept = np.zeros((40, 5)), 0
    for b in range(40):
        d = {}
        for t in np.flatnonzero(mask[b]):
            p, q = (min(max(np.exp(x[b, t]), 1e-6), 1 - 1e-6) for x in (rollout, start))
            d[t] = abs(p - q) if divergence == "tv" else p * np.log(p / q) + (1 - p) * np.log((1 - p) / (1 - q))
        for t in d:
            if (np.mean(list(d.values())) if level == "sequence" else d[t]) <= 0.1:
                expected[b, t], kept = np.exp(start[b, t] - rollout[b, t]), kept + 1
    assert 0 < kept < mask.sum()
    value = advantages.divergence_gate(start, rollout, mask, delta=0.1, divergence=divergence, level=level)
    np.testing.assert_allclose(value, expected, rtol=1e-9)


def test_degenerate():
    """Equal policies: weight 1; a token that the sampler could not score has weight 1 and does not drop its row; no gradient."""
    np.testing.assert_array_equal(advantages.divergence_gate(EX.old, EX.old, EX.mask, delta=0.0), EX.mask)
    rollout = np.where(np.arange(3) == 1, np.nan, EX.old)
    np.testing.assert_array_equal(advantages.divergence_gate(EX.old, rollout, EX.mask, level="sequence"), EX.mask)
    gradient = jax.grad(lambda x: jnp.sum(advantages.divergence_gate(x, EX.rollout, EX.mask)))(jnp.asarray(EX.old))
    assert not np.any(gradient)
    with pytest.raises(ValueError, match="divergence is 'kl', allowed: {binary_kl, tv}"):
        advantages.divergence_gate(EX.old, EX.rollout, EX.mask, divergence="kl")


def test_flash_reinforce_card():
    """Batch mean as the baseline, the KL of later tokens added: 0.1 nats per token at coefficient 0.5."""
    a = advantages.batch_center(np.array([1.0, 0, 0.8, 0.1]), np.zeros(4, int))
    value = advantages.token_returns(a, EX.mask, -0.5 * 0.1 * EX.mask)
    expected = [[0.375, 0.425, 0.475], [-0.625, -0.575, -0.525], [0.175, 0.225, 0.275], [-0.475, -0.425, 0]]
    np.testing.assert_allclose(value, expected, rtol=1e-5)
