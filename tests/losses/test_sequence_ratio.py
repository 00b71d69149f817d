import jax
import jax.numpy as jnp
import numpy as np
import pytest
from arrays import EX
from frozen import CASE, assert_like, rows, tokens

from pojax import losses
from pojax.losses import aggregations as aggregate

DAPO = {"epsilon": 0.2, "epsilon_high": 0.28}
ROWS, TOKENS = aggregate.sequence_mean(EX.mask[:, 0]), aggregate.sequence_mean(EX.mask)


def value_and_gradient(name, coefficients, **hyper):
    def loss(x):
        return jnp.sum(coefficients * getattr(losses, name)(x, EX.old, EX.advantages, EX.mask, **hyper))

    return jax.value_and_grad(loss)(jnp.asarray(EX.logprobs))


def per_row(*numbers):
    return np.array(numbers)[:, None] * EX.mask


@pytest.mark.parametrize(("name", "coefficients"), [("gspo", ROWS), ("gspo_token", TOKENS)])
def test_card_of_gspo(name, coefficients):
    value, slope = value_and_gradient(name, coefficients, **DAPO)
    np.testing.assert_allclose(value, 0.459699, rtol=1e-5)
    np.testing.assert_allclose(slope, per_row(-0.0847339, 0.100101, 0, 0.286798), rtol=1e-5, atol=1e-9)
    np.testing.assert_allclose(value_and_gradient(name, coefficients)[0], 0.49875, rtol=1e-5)


def test_card_of_luspo():
    value, slope = value_and_gradient("luspo", ROWS, **DAPO)
    np.testing.assert_allclose(value, 0.805499, rtol=1e-5)
    np.testing.assert_allclose(slope, per_row(-0.254202, 0.300304, 0, 0.573596), rtol=1e-5, atol=1e-9)
    np.testing.assert_allclose(value_and_gradient("luspo", ROWS)[0], 0.920291, rtol=1e-5)


def test_card_of_gmpo():
    value, slope = value_and_gradient("gmpo", ROWS)
    np.testing.assert_allclose(value, 0.506784, rtol=1e-5)
    expected = [[-0.0847339] * 3, [0.107002, 0.107002, 0], [-0.0445391, -0.0445391, 0], [0.286798, 0.286798, 0]]
    np.testing.assert_allclose(slope, expected, rtol=1e-5, atol=1e-9)


def test_card_of_vespo():
    value, slope = value_and_gradient("vespo", aggregate.token_mean(EX.mask))
    np.testing.assert_allclose(value, -0.33532, rtol=1e-5)
    np.testing.assert_allclose(slope, per_row(-0.0861463, 0.109219, -7.81686e-05, 0.119825), rtol=1e-5)
    phi = -losses.vespo(EX.logprobs, EX.old, EX.advantages, EX.mask)[:, 0] / (EX.advantages * EX.logprobs)[:, 0]
    np.testing.assert_allclose(phi, [0.947609, 1.20141, 0.00171971, 0.878716], rtol=1e-5)


def mean_ratio(x, b):
    old = CASE.old[b, CASE.mask[b] != 0]
    return np.exp(np.sum(x - old) / max(len(x), 1))


def clipped(ratio, a, low=0.8, high=1.28):
    return max(-ratio * a, -min(max(ratio, low), high) * a)


@pytest.mark.parametrize("per_token", [False, True])
def test_gspo_and_luspo_in_double_precision(x64, per_token):
    a = CASE.token_advantages if per_token else CASE.advantages
    mean = [np.sum(a[b] * CASE.mask[b]) / max(CASE.mask[b].sum(), 1) for b in range(5)]
    assert_like(lambda x: losses.gspo(x, CASE.old, a, CASE.mask, **DAPO), rows(lambda x, fixed, b: clipped(mean_ratio(x, b), mean[b])))
    assert_like(
        lambda x: losses.luspo(x, CASE.old, a, CASE.mask, **DAPO), rows(lambda x, fixed, b: len(x) * clipped(mean_ratio(x, b), mean[b]))
    )
    if not per_token:  # one number per row is welcome as well; an empty row then has its own
        given = losses.gspo(CASE.logprobs, CASE.old, CASE.row_advantages, CASE.mask, **DAPO)
        np.testing.assert_allclose(given[:4], losses.gspo(CASE.logprobs, CASE.old, a, CASE.mask, **DAPO)[:4], rtol=1e-12)


def test_gspo_token_in_double_precision(x64):
    a = CASE.token_advantages

    def rule(x, fixed, b, t):
        if CASE.mask[b, t] == 0:
            return 0.0
        ratio = mean_ratio(CASE.logprobs[b, CASE.mask[b] != 0], b) * np.exp(x - fixed)
        return clipped(ratio, a[b, t])

    assert_like(lambda x: losses.gspo_token(x, CASE.old, a, CASE.mask, **DAPO), tokens(rule))


def test_gmpo_in_double_precision(x64):
    a = CASE.token_advantages

    def rule(x, fixed, b):
        on = CASE.mask[b] != 0
        d, signs = x - CASE.old[b, on], np.sign(a[b, on])
        product = 1.0
        for value, sign in zip(d, signs, strict=True):
            bounded = min(max(value, -0.3), 0.5)
            product *= np.exp(min(value, bounded) if sign > 0 else max(value, bounded))
        mean = np.mean(a[b, on]) if len(d) else 0.0
        return -mean * product ** (1 / max(len(d), 1))

    assert_like(lambda x: losses.gmpo(x, CASE.old, a, CASE.mask, epsilon=0.3, epsilon_high=0.5), rows(rule))


@pytest.mark.parametrize("weighted", [False, True])
def test_vespo_in_double_precision(x64, weighted):
    a = CASE.token_advantages
    w = np.random.default_rng(3).uniform(0.2, 2.0, (5, 4)) if weighted else None

    def rule(x, fixed, b, t):
        if CASE.mask[b, t] == 0:
            return 0.0
        log_w = sum(CASE.logprobs[b, s] - CASE.old[b, s] + (np.log(w[b, s]) if weighted else 0) for s in range(4) if CASE.mask[b, s])
        k, lam = (1.5, 2.5) if a[b, t] >= 0 else (3.5, 2.2)
        phi = np.exp(lam) * np.exp(log_w) ** k * np.exp(-lam * np.exp(log_w))
        return -phi * a[b, t] * x

    hyper = {"k": 1.5, "lam": 2.5, "k_negative": 3.5, "lam_negative": 2.2}
    assert_like(lambda x: losses.vespo(x, CASE.old, a, CASE.mask, w, **hyper), tokens(rule))


def test_vespo_far_away_and_on_policy():
    for shift in (30.0, -30.0):
        loss = losses.vespo(EX.old + shift, EX.old, EX.advantages, EX.mask)
        assert np.isfinite(loss).all() and np.abs(loss).max() < 1e-6  # the weight vanishes
    on_policy = losses.vespo(EX.old, EX.old, EX.advantages, EX.mask)
    np.testing.assert_allclose(on_policy, losses.policy_gradient(EX.old, EX.advantages) * EX.mask, rtol=1e-6)
    dropped = losses.vespo(EX.old, EX.old, EX.advantages, EX.mask, np.array([[0, 1, 1]] * 4, float))  # a weight of 0 is floored at 1e-8
    assert np.abs(dropped).max() < 1e-6


def test_one_token_and_no_clip():
    """With one token GSPO is PPO-clip; without clips GMPO is GSPO, at every length."""
    one = (EX.logprobs[:, :1], EX.old[:, :1], EX.advantages[:, :1])
    np.testing.assert_allclose(losses.gspo(*one, EX.mask[:, :1], **DAPO), losses.ppo_clip(*one, **DAPO)[:, 0], rtol=1e-6)
    unclipped = {"epsilon": np.inf, "epsilon_high": np.inf}
    data = (EX.logprobs, EX.old, EX.advantages, EX.mask)
    np.testing.assert_allclose(losses.gmpo(*data, **unclipped), losses.gspo(*data, **unclipped), rtol=1e-6)


@pytest.mark.parametrize("name", ["gspo", "gspo_token", "luspo", "gmpo", "vespo"])
def test_zero_advantages_and_empty_rows(name):
    def loss(x, a, mask):
        return jnp.sum(getattr(losses, name)(x, EX.old, a, mask))

    for a, mask in ((0 * EX.advantages, EX.mask), (EX.advantages, 0 * EX.mask)):
        value, slope = jax.value_and_grad(loss)(jnp.asarray(EX.logprobs), a, mask)
        assert value == 0 and not np.any(slope)


def test_what_is_refused():
    data = (EX.logprobs, EX.old, EX.advantages, EX.mask)
    with pytest.raises(ValueError, match=r"gspo: epsilon is -0.1, allowed: \[0, inf\]"):
        losses.gspo(*data, epsilon=-0.1)
    with pytest.raises(ValueError, match=r"vespo: lam is 0, allowed: \(0, inf\)"):
        losses.vespo(*data, lam=0.0)
    with pytest.raises(ValueError, match=r"gmpo: mask has shape \[4, 2\], allowed: \[B, T\] with B = 4, T = 3"):
        losses.gmpo(EX.logprobs, EX.old, EX.advantages, EX.mask[:, :2])
