import jax
import jax.numpy as jnp
import numpy as np
import pytest
from arrays import EX, assert_gradient

from pojax import advantages, losses

GROUPS = np.array([0, 0, 1, 1])


def total(logprobs, **hyper):
    return jnp.sum(EX.mask * losses.nft(logprobs, EX.old, EX.correct, GROUPS, **hyper)) / 1000


@pytest.mark.parametrize(
    ("hyper", "expected"),
    [
        ({"normalize": 0}, -0.00200041),
        ({"normalize": 1}, -0.0010002),
        ({"normalize": 2}, -0.00200041),
        ({"clamp_negative": 0.5}, -0.000307057),
        ({"neg_weight": 0.0}, -0.000725),
    ],
)
def test_card(hyper, expected):
    np.testing.assert_allclose(total(EX.logprobs, **hyper), expected, rtol=1e-5)


def test_card_of_sequences_and_gradient():
    value = jnp.sum(losses.nft_sequence(EX.logprobs, EX.old, EX.correct, GROUPS, EX.mask))
    np.testing.assert_allclose(value, -0.725, rtol=1e-5)
    expected = [[-0.0005] * 3, [0.00183465, 0.000377738, 0.00018909], [-0.0005] * 3, [0.0012298, 0.000453497, 0]]
    np.testing.assert_allclose(jax.grad(total)(jnp.asarray(EX.logprobs)), expected, rtol=1e-5, atol=1e-10)


def reference(difference, right, rate, *, neg_weight, clamp_negative, clamp_positive, normalize):
    """One log-ratio: (loss, gradient with respect to it)."""
    rate = min(max(rate, 0.02), 0.98)
    ratio = np.exp(min(difference, 10.0))
    slope = ratio if difference < 10.0 else 0.0
    weight = {0: 1.0, 1: 1 - rate, 2: np.sqrt((1 - rate) / rate)}[normalize]
    if right:
        top = max(ratio, clamp_positive)
        return -weight * np.log(top), -weight * slope / top
    x = (1 - rate * ratio) / (1 - rate)
    top = max(x, clamp_negative)
    return -weight * neg_weight * np.log(top), weight * neg_weight * rate * slope / (1 - rate) / top


@pytest.mark.parametrize("normalize", [0, 1, 2])
@pytest.mark.parametrize("sequence", [False, True])
def test_double_precision(x64, normalize, sequence):
    rng = np.random.default_rng(normalize)
    groups = np.array([4, 1, 4, 1, 4, -1, 2, 4])
    right = np.array([1, 0, 0, 1, 0, 1, 1, 1.0])
    old, d = -rng.uniform(0.1, 2, (8, 3)), rng.normal(size=(8, 3)) * 0.7
    d[0, 0], d[2, 1] = 11.0, -3.0
    mask = np.array([[1, 1, 1]] * 6 + [[1, 1, 0], [0, 0, 0]])
    hyper = {"neg_weight": 0.5, "clamp_negative": 0.4, "clamp_positive": 0.7, "normalize": normalize}
    shape = (8, 1) if sequence else (8, 3)
    given, each = np.zeros(shape), np.zeros(shape)
    for b in range(8):
        for t in range(shape[1]):
            if groups[b] >= 0:
                rate = np.mean(right[groups == groups[b]])
                given[b, t], each[b, t] = reference(np.sum(d[b] * mask[b]) if sequence else d[b, t], right[b], rate, **hyper)
    junk = np.where((groups < 0)[:, None], np.nan, old + d)

    def loss(x):
        return losses.nft_sequence(x, old, right, groups, mask, **hyper) if sequence else losses.nft(x, old, right, groups, **hyper)

    np.testing.assert_allclose(loss(junk), given[:, 0] if sequence else given, rtol=1e-9, atol=1e-14)
    gradient = jax.grad(lambda x: jnp.sum(loss(x)))(jnp.asarray(junk))
    np.testing.assert_allclose(gradient, np.where(mask if sequence else 1, each, 0) * np.ones((8, 3)), rtol=1e-9, atol=1e-14)


def test_gradient_where_nothing_is_clamped(x64):
    old = EX.old
    x = old + np.linspace(-0.3, 0.3, 12).reshape(4, 3)
    assert_gradient(lambda x: losses.nft(x, old, EX.correct, GROUPS, clamp_negative=1e-6), x)
    assert_gradient(lambda x: losses.nft_sequence(x, old, EX.correct, GROUPS, EX.mask, clamp_negative=1e-6), x)


@pytest.mark.parametrize("normalize", [1, 2])
def test_on_policy_it_is_the_gradient_of_grpo(x64, normalize):
    correct, groups = np.array([1.0, 0, 0, 1, 1, 1, 0, 1]), np.repeat([0, 1], 4)
    old = -np.random.default_rng(0).uniform(0.1, 2, (8, 3))
    gradient = jax.grad(lambda x: jnp.sum(losses.nft(x, old, correct, groups, normalize=normalize)))(jnp.asarray(old))
    rule = advantages.group_center if normalize == 1 else lambda r, g: advantages.group_normalize(r, g, epsilon=0.0, ddof=0)
    np.testing.assert_allclose(gradient, -np.repeat(rule(correct, groups)[:, None], 3, axis=1), rtol=1e-9)


def test_groups_that_are_all_right_or_all_wrong_stay_finite():
    for correct in (np.ones(4), np.zeros(4)):
        value, gradient = jax.value_and_grad(lambda x, c=correct: jnp.sum(losses.nft(x, EX.old, c, GROUPS)), argnums=0)(
            jnp.asarray(EX.logprobs) + 50.0
        )
        assert np.isfinite(value) and np.isfinite(gradient).all()
    with pytest.raises(ValueError, match="normalize is 3"):
        total(EX.logprobs, normalize=3)
