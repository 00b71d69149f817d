import jax
import jax.numpy as jnp
import numpy as np
import pytest
from arrays import EX, assert_gradient
from ragged import names, ragged, smooth

from pojax import advantages, losses, rewards

TWO, ONE = np.array([0, 0, 1, 1]), np.zeros(4, int)


def mean(values):
    return float(jnp.mean(values))


def test_card_of_reg_grpo():
    a = advantages.group_normalize(EX.rewards, ONE, epsilon=1e-8, ddof=0)

    def loss(x):
        return jnp.mean(losses.reg_grpo(x, EX.old, a, ONE, EX.mask, epsilon=1e-8))

    value, gradient = jax.value_and_grad(loss)(jnp.asarray(EX.logprobs))
    np.testing.assert_allclose(value, 2.23353, rtol=1e-5)
    expected = np.repeat([[-1.07984], [1.16294], [-0.936348], [0.853248]], 3, axis=1) * EX.mask
    np.testing.assert_allclose(gradient, expected, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(loss(jnp.asarray(EX.old)), 1.0, rtol=1e-5)
    correlation = np.corrcoef(EX.rewards, np.sum((EX.logprobs - EX.old) * EX.mask, axis=1))[0, 1]
    np.testing.assert_allclose(value, 2 * (1 - correlation), rtol=1e-5)


def test_reg_grpo_on_policy_is_finite():
    a = advantages.group_normalize(EX.rewards, ONE, ddof=0)
    value, gradient = jax.value_and_grad(lambda x: jnp.sum(losses.reg_grpo(x, EX.old, a, ONE, EX.mask)))(jnp.asarray(EX.old))
    assert np.isfinite(value)
    np.testing.assert_allclose(gradient, -2 / 1e-2 * np.asarray(a)[:, None] * EX.mask, rtol=1e-4)
    flat = losses.reg_grpo(EX.logprobs, EX.old, np.zeros(4), ONE, EX.mask)
    np.testing.assert_array_equal(flat, np.zeros(4))  # equal rewards: nothing to fit


def test_card_of_rebel():
    def loss(**hyper):
        return mean(losses.rebel(EX.logprobs, EX.old, EX.rewards, TWO, EX.mask, **hyper))

    np.testing.assert_allclose(loss(), 1.13625, rtol=1e-5)
    np.testing.assert_allclose(loss(eta=0.5), 2.08, rtol=1e-5)
    np.testing.assert_allclose(loss(eta=0.5, form="code"), 0.52, rtol=1e-5)
    np.testing.assert_allclose(loss(pairs="all"), 1.13625, rtol=1e-5)  # two rows are one pair
    one_group = losses.rebel(EX.logprobs, EX.old, EX.rewards, ONE, EX.mask)
    np.testing.assert_allclose(mean(one_group), 1.13625, rtol=1e-5)  # consecutive rows are the same pairs


def test_card_of_a_star_po():
    v = np.array([0.5, 0.5, 0.7, 0.7])
    np.testing.assert_allclose(mean(losses.a_star_po(EX.logprobs, EX.ref, EX.rewards, v, EX.mask)), 0.217916, rtol=1e-5)
    np.testing.assert_allclose(mean(losses.a_star_po(EX.logprobs, EX.ref, EX.rewards, v, EX.mask, beta=0.1)), 0.267406, rtol=1e-5)


def test_card_of_copg():
    for groups, expected in ((TWO, 0.797713), (ONE, 1.08883)):
        np.testing.assert_allclose(mean(losses.copg(EX.logprobs, EX.ref, EX.rewards, groups, EX.mask, beta=0.1)), expected, rtol=1e-5)


def test_copg_is_the_leave_one_out_policy_gradient_of_the_regularised_reward():
    gradient = jax.grad(lambda x: jnp.mean(losses.copg(x, EX.ref, EX.rewards, ONE, EX.mask, beta=0.1)))(jnp.asarray(EX.logprobs))
    regularised = rewards.sequence_kl_penalty(EX.rewards, EX.logprobs, EX.ref, EX.mask, coefficient=0.1)
    weights = advantages.leave_one_out(regularised, ONE)
    np.testing.assert_allclose(weights, [0.811667, -0.628333, 0.345, -0.528333], rtol=1e-5)
    np.testing.assert_allclose(gradient, -2 * 0.1 * np.asarray(weights)[:, None] * EX.mask, rtol=1e-5, atol=1e-7)


def test_card_of_steps():
    logprobs, ref, v = np.array([[-2.0, -1, -3]]), np.array([[-2.1, -1.4, -2.5]]), np.array([0.5, 0.6, 0.4, 1.0])
    a = np.array([[0.6 - 0.5, 0.4 - v[1], 1.0 - v[2]]])
    value = losses.step_regression(logprobs, ref, a, np.array([[0, 1, 2]]), np.ones((1, 3)), beta=0.5)
    np.testing.assert_allclose(mean(value), 0.59, rtol=1e-5)


# -- independent functions --------------------------------------------------------------------------------------------------------


def sums(b, other):
    return np.array([np.sum((b.logprobs[r] - other[r])[b.on[r]]) for r in range(10)])


def reference_reg_grpo(b, a, epsilon, ddof):
    rho, out = sums(b, b.old), np.zeros(10)
    for i in names(b.groups):
        rows = np.flatnonzero(b.groups == i)
        if len(rows) > 1:
            std = np.sqrt(np.sum((rho[rows] - rho[rows].mean()) ** 2) / (len(rows) - ddof))
            out[rows] = (a[rows] - (rho[rows] - rho[rows].mean()) / (std + epsilon)) ** 2
    return out


def reference_rebel(b, eta, form, pairs):
    rho, out = sums(b, b.old), np.zeros(10)
    for i in names(b.groups):
        rows = list(np.flatnonzero(b.groups == i))
        chosen = list(zip(rows[::2], rows[1::2], strict=False)) if pairs == "consecutive" else [(p, q) for p in rows for q in rows if p < q]
        each = []
        for p, q in chosen:
            d, r = rho[p] - rho[q], b.rewards[p] - b.rewards[q]
            each.append((d / eta - r) ** 2 if form == "paper" else (d - eta * r) ** 2)
        out[rows] = np.mean(each) if each else 0.0
    return out


def reference_copg(b, beta):
    regularised, out = np.where(b.groups >= 0, b.rewards, 0) - beta * sums(b, b.ref), np.zeros(10)
    for i in names(b.groups):
        rows = list(np.flatnonzero(b.groups == i))
        total = sum((regularised[p] - regularised[q]) ** 2 for p in rows for q in rows if p < q)
        out[rows] = total / (len(rows) - 1) if len(rows) > 1 else 0.0
    return out


@pytest.mark.parametrize("seed", range(3))
def test_groups_in_double_precision(x64, seed):
    b = ragged(seed)
    a = np.where(b.groups >= 0, b.rewards, 0.0)
    given = (b.groups, b.mask)
    value = losses.reg_grpo(b.logprobs, b.old, b.rewards, *given, epsilon=1e-3, ddof=1)
    np.testing.assert_allclose(value, reference_reg_grpo(b, a, 1e-3, 1), rtol=1e-9, atol=1e-12)
    for pairs in ("consecutive", "all"):
        for form in ("paper", "code"):
            value = losses.rebel(b.logprobs, b.old, b.rewards, *given, eta=0.7, form=form, pairs=pairs)
            np.testing.assert_allclose(value, reference_rebel(b, 0.7, form, pairs), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(losses.copg(b.logprobs, b.ref, b.rewards, *given, beta=0.3), reference_copg(b, 0.3), rtol=1e-9, atol=1e-12)


def test_gradients(x64):
    b = ragged(1)
    x, junk = smooth(b)
    given = (b.groups, b.mask)
    assert_gradient(lambda x: losses.reg_grpo(junk(x), b.old, b.rewards, *given), x)
    assert_gradient(lambda x: losses.rebel(junk(x), b.old, b.rewards, *given, eta=0.7), x)
    assert_gradient(lambda x: losses.rebel(junk(x), b.old, b.rewards, *given, pairs="all"), x)
    assert_gradient(lambda x: losses.copg(junk(x), b.ref, b.rewards, *given, beta=0.3), x)
    assert_gradient(lambda x: losses.a_star_po(x, EX.ref, EX.rewards, EX.rewards, EX.mask, beta=0.3), EX.logprobs)


def test_a_star_po_in_double_precision(x64):
    b = ragged(2)
    expected = (0.3 * sums(b, b.ref) + b.value - b.rewards) ** 2
    value = losses.a_star_po(b.logprobs, b.ref, b.rewards, b.value, np.where(b.on, 1, 0), beta=0.3)
    np.testing.assert_allclose(value, expected, rtol=1e-9)


def test_steps_in_double_precision(x64):
    rng = np.random.default_rng(0)
    x, ref, a = (rng.normal(size=(3, 6)) for _ in range(3))
    segment = np.array([[0, 0, 1, 1, 1, 2], [0, 1, -1, 1, 2, -1], [-1] * 6])
    mask = segment >= 0
    a = np.stack([a[r, np.maximum(segment[r], 0)] for r in range(3)])  # one number per step
    expected, first = np.zeros((3, 6)), np.zeros((3, 6))
    for r in range(3):
        for s in range(segment[r].max() + 1):
            on = segment[r] == s
            expected[r, on] = 0.5 * (np.sum((x - ref)[r, on]) - a[r, on][0] / 0.2) ** 2
            first[r, np.flatnonzero(on)[0]] = 1
    junk = np.where(mask, x, np.nan)
    np.testing.assert_allclose(losses.step_regression(junk, ref, a, segment, mask, beta=0.2), expected, rtol=1e-9)
    np.testing.assert_array_equal(advantages.step_starts(segment, mask), first)
    assert_gradient(lambda x: losses.step_regression(x, ref, a, segment, mask, beta=0.2), x)


def test_refusals():
    with pytest.raises(ValueError, match="rebel: eta is 0, allowed"):
        losses.rebel(EX.logprobs, EX.old, EX.rewards, TWO, EX.mask, eta=0.0)
    with pytest.raises(ValueError, match="pairs is 'some'"):
        losses.rebel(EX.logprobs, EX.old, EX.rewards, TWO, EX.mask, pairs="some")
    with pytest.raises(ValueError, match="reg_grpo: epsilon is 0"):
        losses.reg_grpo(EX.logprobs, EX.old, EX.rewards, TWO, EX.mask, epsilon=0.0)
