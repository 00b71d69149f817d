import jax.numpy as jnp
import numpy as np
from arrays import EX

from pojax import advantages, losses
from pojax.losses import aggregations as aggregate


def test_worked_example():
    keep = advantages.off_policy_keep(EX.advantages, EX.logprobs, EX.old, EX.mask, delta=-0.2)
    np.testing.assert_array_equal(keep, [1, 0, 1, 1])
    surrogate = losses.ppo_clip(EX.logprobs, EX.old, EX.advantages, epsilon=0.2)
    np.testing.assert_allclose(jnp.sum(aggregate.sequence_mean(EX.mask) * keep[:, None] * surrogate), 0.265321, rtol=1e-5)


def test_against_loops(x64):
    rng = np.random.default_rng(0)
    a, mask = rng.normal(size=12), rng.random((12, 5)) < 0.7
    mask[4] = False
    new, sampled = -rng.gamma(1.0, size=(12, 5)), -rng.gamma(1.0, size=(12, 5))
    sampled[2, 1] = np.nan
    found = advantages.off_policy_keep(a, new, sampled, mask, delta=0.1)
    expected = []
    for b in range(12):
        gaps = [np.nan_to_num(sampled[b, t] - new[b, t]) for t in range(5) if mask[b, t]]
        expected.append(not (a[b] < 0 and len(gaps) > 0 and sum(gaps) / len(gaps) > 0.1))
    np.testing.assert_array_equal(found, expected)
    assert 0 < sum(expected) < 12
    np.testing.assert_array_equal(
        advantages.off_policy_keep(np.repeat(a[:, None], 5, axis=1), new, sampled, mask, delta=0.1)[4:], found[4:]
    )


def test_on_policy_and_empty_rows_are_kept():
    bad = -np.ones(4)
    assert np.all(advantages.off_policy_keep(bad, EX.old, EX.old, EX.mask, delta=0.0))
    assert np.all(advantages.off_policy_keep(bad, EX.old - 9.0, EX.old, 0 * EX.mask))
    assert not np.any(advantages.off_policy_keep(bad, EX.old - 9.0, EX.old, EX.mask))
    assert np.all(advantages.off_policy_keep(-bad, EX.old - 9.0, EX.old, EX.mask))
    assert np.all(advantages.off_policy_keep(bad, EX.old - 9.0, np.full((4, 3), np.nan), EX.mask))  # nothing is known of the sampler
