import jax
import jax.numpy as jnp
import numpy as np
import pytest
from arrays import LOGPROBS, MASK, REF

from pojax import advantages, losses

TWO = np.zeros(2, int)


def reference(logprobs, ref, r, mask, lists, kl, entropy):
    """The mean over lists of -sum w z + kl KL(w || v) - entropy H(w), in numpy; lists: arrays of row indices."""
    total = 0.0
    for rows in lists:
        big = np.array([sum(logprobs[b, t] for t in range(mask.shape[1]) if mask[b, t]) for b in rows])
        small = np.array([sum(ref[b, t] for t in range(mask.shape[1]) if mask[b, t]) for b in rows])
        w, v = np.exp(big - big.max()), np.exp(small - small.max())
        w, v = w / w.sum(), v / v.sum()
        x = r[rows]
        z = (x - x.mean()) / (x.std() + 1e-8)
        total += -np.sum(w * z) + kl * np.sum(w * np.log(w / v)) + entropy * np.sum(w * np.log(w))
    return total / max(len(lists), 1)


def loss(logprobs, ref, r, mask, groups, **hyper):
    """As an update computes it: the rule without gradient, then the linear loss."""
    value, slope = advantages.listwise_slopes(jax.lax.stop_gradient(logprobs), ref, r, mask, groups, **hyper)
    return jnp.sum(losses.listwise_likelihood(logprobs, mask, value, slope))


def test_card():
    value, gradient = jax.value_and_grad(lambda x: loss(x, REF, np.array([1.0, 0]), MASK, TWO))(jnp.asarray(LOGPROBS))
    np.testing.assert_allclose(value, 0.0928172, rtol=1e-5)
    np.testing.assert_allclose(gradient, [[-0.494291] * 3, [0.494291, 0.494291, 0]], rtol=1e-5)
    same, _ = advantages.listwise_slopes(LOGPROBS, LOGPROBS, np.ones(2), MASK, TWO, kl=0.0, entropy=1.0)  # w log w
    np.testing.assert_allclose(np.asarray(same), [0.450166 * np.log(0.450166), 0.549834 * np.log(0.549834)], rtol=1e-5)


@pytest.mark.parametrize("lists", ["batch", "group"])
def test_double_precision(x64, lists):
    rng = np.random.default_rng(0)
    groups = np.array([4, 9, 4, -1, 9, 9, 4, 7])
    mask = np.arange(5) < np.array([5, 3, 1, 4, 2, 5, 0, 3])[:, None]
    logprobs, ref, r = -rng.uniform(0, 1, (8, 5)), -rng.uniform(0, 1, (8, 5)), rng.normal(size=8)
    used = mask.any(1) & (groups >= 0)  # row 6 has no token: in no list
    rows = [np.flatnonzero(used)] if lists == "batch" else [np.flatnonzero(used & (groups == g)) for g in (4, 9, 7)]
    hyper = {"kl": 0.3, "entropy": 0.2}
    dirty = [np.where(mask & (groups >= 0)[:, None], x, np.nan) for x in (logprobs, ref)]
    value = loss(dirty[0], dirty[1], np.where(used, r, np.nan), mask, groups, lists=lists, **hyper)
    np.testing.assert_allclose(value, reference(logprobs, ref, r, mask, rows, **hyper), rtol=1e-9)
    gradient = jax.grad(lambda x: loss(x, ref, r, mask, groups, lists=lists, **hyper))(jnp.asarray(logprobs))
    step = 1e-6
    for b, t in np.ndindex(8, 5):
        up, down = logprobs.copy(), logprobs.copy()
        up[b, t] += step
        down[b, t] -= step
        slope = (reference(up, ref, r, mask, rows, **hyper) - reference(down, ref, r, mask, rows, **hyper)) / (2 * step)
        np.testing.assert_allclose(gradient[b, t], slope, rtol=1e-6, atol=1e-8)


def test_slopes_of_a_list_add_up_to_0(x64):
    _, slope = advantages.listwise_slopes(LOGPROBS, REF, np.array([0.3, 0.9]), MASK, TWO)
    np.testing.assert_allclose(np.sum(slope), 0, atol=1e-15)


def test_linear_loss_in_double_precision(x64):
    value, slope = np.array([0.3, -2.0]), np.array([1.5, -0.5])
    np.testing.assert_allclose(losses.listwise_likelihood(LOGPROBS, MASK, value, slope), value, rtol=1e-12)
    gradient = jax.grad(lambda x: jnp.sum(losses.listwise_likelihood(x, MASK, value, slope)))(jnp.asarray(LOGPROBS))
    np.testing.assert_allclose(gradient, slope[:, None] * MASK, rtol=1e-12)


def test_degenerate():
    """A list of one: weight 1, no gradient; equal rewards leave the regularisers; log-likelihoods far apart saturate and stay finite."""
    one = advantages.listwise_slopes(LOGPROBS, REF, np.array([1.0, 0]), MASK, np.array([0, -1]))
    np.testing.assert_array_equal(one, np.zeros((2, 2)))
    none = advantages.listwise_slopes(LOGPROBS, REF, np.full(2, 0.7), MASK, TWO, kl=0.0, entropy=0.0)
    np.testing.assert_array_equal(none, np.zeros((2, 2)))
    value, slope = advantages.listwise_slopes(LOGPROBS * np.array([[1], [1e5]]), REF, np.array([1.0, 0]), MASK, TWO)
    assert np.isfinite(value).all() and np.isfinite(slope).all() and np.abs(slope).max() < 1e-6
    with pytest.raises(ValueError, match="lists is 'row', allowed: {batch, group}"):
        advantages.listwise_slopes(LOGPROBS, REF, np.ones(2), MASK, TWO, lists="row")
