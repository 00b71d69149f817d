import jax
import jax.numpy as jnp
import numpy as np
import pytest
from arrays import EX
from frozen import CASE

from pojax import advantages, losses
from pojax.losses import aggregations as aggregate

CODE = {"low_end": 0.8, "low_steps": 4, "high_end": 2.0, "high_steps": 16, "order": "low_first", "measure": "quotient", "weighted": False}
RATIOS, A, ON = np.log([[1.8, 1.1, 0.5, 0.95]]), np.array([[1, 0.3, -1, -1]]), np.ones((1, 4))
SAMPLER = np.log([[0.05, 0.6, 0.1, 0.5]])


def bounds(*data, **hyper):
    low, high = advantages.bapo_bounds(*data, **hyper)
    assert np.ptp(low) == np.ptp(high) == 0 and low.shape == high.shape == data[0].shape[:1]
    return 1 - low[0], 1 + high[0]


def test_card():
    found = bounds(RATIOS, 0 * RATIOS, A, ON, target=1.0, **CODE)
    np.testing.assert_allclose(found, (0.8, 1.45), rtol=1e-5)
    loss = losses.ppo_clip(RATIOS, 0 * RATIOS, A, epsilon=1 - found[0], epsilon_high=found[1] - 1, dual_clip=3.0)
    np.testing.assert_allclose(jnp.mean(loss), -0.0075, rtol=1e-4)  # what is left of terms of order 1, in float32
    np.testing.assert_allclose(bounds(RATIOS, 0 * RATIOS, A, ON, target=0.5, weighted=False), (0.6, 1.25), rtol=1e-5)
    np.testing.assert_allclose(bounds(RATIOS + SAMPLER, SAMPLER, A, ON, target=0.5), (0.9, 3.0), rtol=1e-5)  # missed


def test_card_on_the_shared_example():
    low, high = advantages.bapo_bounds(EX.logprobs, EX.old, EX.advantages, EX.mask, target=0.5, **CODE)
    np.testing.assert_allclose((1 - low[0], 1 + high[0]), (0.8, 2.0), rtol=1e-5)
    loss = losses.ppo_clip(EX.logprobs, EX.old, EX.advantages, epsilon=low, epsilon_high=high, dual_clip=3.0)
    np.testing.assert_allclose(jnp.sum(aggregate.token_mean(EX.mask) * loss), 0.424306, rtol=1e-5)


def walk(logprobs, old, a, on, *, target, order, measure, weighted, low=(0.6, 0.9, 15), high=(1.2, 3.0, 36)):
    """The search as a loop that stops when the measure is reached."""

    def reached(c_low, c_high):
        pos = neg = 0.0
        for b, t in np.argwhere(on):
            r, w = np.exp(logprobs[b, t] - old[b, t]), np.exp(old[b, t]) if weighted else 1.0
            if a[b, t] >= 0:
                pos += w * min(r, c_high) * a[b, t]
            else:
                neg -= w * max(r, c_low) * a[b, t]
        if neg <= 0:
            return True
        return (pos / (pos + neg) if measure == "share" else pos / (neg + 1e-8)) >= target

    now = {"low": low[0], "high": high[0]}
    for which in ("high", "low") if order == "high_first" else ("low", "high"):
        start, end, steps = low if which == "low" else high
        for i in range(1, steps + 1):
            if reached(now["low"], now["high"]):
                break
            now[which] = start + i * (end - start) / steps
    return now["low"], now["high"]


@pytest.mark.parametrize("order", ["high_first", "low_first"])
@pytest.mark.parametrize("measure", ["share", "quotient"])
@pytest.mark.parametrize("weighted", [False, True])
def test_double_precision(x64, order, measure, weighted):
    hyper = {"order": order, "measure": measure, "weighted": weighted}
    rng = np.random.default_rng(8)
    old, a, on = -rng.uniform(0.05, 2, (8, 5)), rng.normal(size=(8, 5)) - 0.3, rng.integers(0, 2, (8, 5))
    logprobs = old + 0.8 * rng.normal(size=(8, 5))
    rule = jax.jit(lambda target: advantages.bapo_bounds(logprobs, old, a, on, target=target, **hyper))
    seen = set()
    for target in np.linspace(0.05, 1.5, 80):
        expected = walk(logprobs, old, a, on, target=target, **hyper)
        low, high = rule(target)
        np.testing.assert_allclose((1 - low[0], 1 + high[0]), expected, rtol=1e-9)
        seen.add(expected)
    assert len(seen) > 2  # the start, the end, and bounds in between


def test_one_advantage_per_row_and_tokens_that_do_not_count():
    row = bounds(CASE.logprobs, CASE.old, CASE.row_advantages, CASE.mask)
    assert row == bounds(CASE.logprobs, CASE.old, CASE.advantages, CASE.mask)
    junk = np.where(CASE.mask, CASE.logprobs, np.nan), np.where(CASE.mask, CASE.old, np.inf)
    assert row == bounds(*junk, CASE.advantages, CASE.mask)


@pytest.mark.parametrize("hyper", [{}, CODE])
def test_degenerate_batches(hyper):
    data = (CASE.logprobs, CASE.old)
    end = 0.8 if hyper else 0.9, 2.0 if hyper else 3.0
    for a, on in ((np.ones((5, 4)), CASE.mask), (np.zeros((5, 4)), CASE.mask), (CASE.advantages, 0 * CASE.mask)):
        np.testing.assert_allclose(bounds(*data, a, on, **hyper), (0.6, 1.2), rtol=1e-6)  # no negative token: the start
    np.testing.assert_allclose(bounds(*data, -np.ones((5, 4)), CASE.mask, **hyper), end, rtol=1e-6)  # no positive token: the ends
    fixed = bounds(*data, -np.ones((5, 4)), CASE.mask, **{**hyper, "low_steps": 0, "high_steps": 0})
    np.testing.assert_allclose(fixed, (0.6, 1.2), rtol=1e-6)


def test_what_is_refused():
    for hyper, message in [
        ({"order": "both"}, r"bapo_bounds: order is 'both', allowed: \{high_first, low_first\}"),
        ({"low": 1.1}, r"bapo_bounds: low is 1.1, allowed: \[0, 1\]"),
        ({"high_steps": -1}, r"bapo_bounds: high_steps is -1, allowed: \[0, inf\)"),
    ]:
        with pytest.raises(ValueError, match=message):
            advantages.bapo_bounds(RATIOS, RATIOS, A, ON, **hyper)
