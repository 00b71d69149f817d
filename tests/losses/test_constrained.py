import jax
import jax.numpy as jnp
import numpy as np
from arrays import EX, assert_gradient

from pojax import advantages, losses

PAIRS, ROLE = np.array([0, 0, 1, 1]), np.array([1, -1, -1, 1])


def test_card():
    """A pair with log-likelihoods -10 and -12, the reference's -11 and -11.5, 20 tokens in the chosen response."""
    mask = np.array([np.ones(20), np.arange(20) < 7])
    spread = [np.where(mask, np.array([[a / 20], [b / 7]]), np.nan) for a, b in ((-10.0, -12.0), (-11.0, -11.5))]
    value = losses.codpo(*spread, mask, np.array([1, -1]), np.zeros(2, int))
    np.testing.assert_allclose(value, [1.12096, 0], rtol=1e-5)


def test_double_precision(x64):
    rng = np.random.default_rng(0)
    groups = np.array([4, 9, 4, -1, 9, 9, 4, 7])
    role = np.array([1, 0, -1, 1, -1, 1, 0, 0])
    mask = np.arange(5) < np.array([5, 3, 1, 4, 2, 5, 0, 3])[:, None]
    logprobs, ref = -rng.uniform(0, 1, (8, 5)), -rng.uniform(0, 1, (8, 5))
    expected = np.zeros(8)
    for chosen, rejected in ((0, 2), (5, 4)):
        d = [np.sum((logprobs - ref)[b][mask[b]]) for b in (chosen, rejected)]
        likelihood = np.mean(logprobs[chosen][mask[chosen]])
        expected[chosen] = np.log1p(np.exp(-0.5 * (d[0] - d[1]))) - 0.7 * likelihood

    def rule(x):
        return losses.codpo(x, ref, mask, role, groups, beta=0.5, likelihood=0.7)

    dirty = np.where(mask & (groups >= 0)[:, None], logprobs, np.nan)
    np.testing.assert_allclose(rule(dirty), expected, rtol=1e-9)
    assert_gradient(rule, logprobs)


def test_the_gradient_raises_the_chosen_and_lowers_the_rejected():
    gradient = jax.grad(lambda x: jnp.sum(losses.codpo(x, EX.ref, EX.mask, ROLE, PAIRS)))(jnp.asarray(EX.logprobs))
    assert np.all(np.where(EX.mask == 1, ROLE[:, None] * gradient, -1) < 0)


def test_no_pair_no_loss():
    value, gradient = jax.value_and_grad(lambda x: jnp.sum(losses.codpo(x, EX.ref, EX.mask, 0 * ROLE, PAIRS)))(jnp.asarray(EX.logprobs))
    assert value == 0 and not np.any(gradient)


def test_the_pairs_of_a_batch_reach_the_loss():
    role, chosen = advantages.constrained_pairs(EX.rewards, EX.correct, PAIRS)
    value = losses.codpo(EX.logprobs, EX.ref, EX.mask, role, PAIRS)
    np.testing.assert_array_equal(value != 0, chosen == 1)
