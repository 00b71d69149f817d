import jax
import jax.numpy as jnp
import numpy as np
import pytest
from arrays import EX, assert_gradient

from pojax import advantages, losses
from pojax.advantages.covariance import token_covariance
from pojax.losses import aggregations as aggregate

KEY = jax.random.key(3)
COEFFICIENTS = aggregate.token_mean(EX.mask)


def test_worked_example_of_the_covariance():
    expected = [
        [0.036157, 0.036157, -0.588843],
        [-0.459298, 0.447521, 0.317975],
        [-0.0752066, 0.433884, 0.0838843],
        [0.229339, -0.384298, 0],
    ]
    np.testing.assert_allclose(token_covariance(EX.advantages, EX.logprobs, EX.mask), expected, rtol=1e-5)
    np.testing.assert_allclose(token_covariance(EX.advantages[:, 0], EX.logprobs, EX.mask), expected, rtol=1e-5)


def dropped(key=KEY, a=EX.advantages, logprobs=EX.logprobs, mask=EX.mask, **hyper):
    keep = advantages.drop_covariant_tokens(key, a, logprobs, EX.old, mask, **hyper)
    assert ((np.asarray(keep) == 0) | (mask == 1)).all()
    return list(zip(*np.nonzero(mask - np.asarray(keep)), strict=True))


def test_worked_example_of_clip_cov():
    """(1, 2) has a large covariance too, but PPO clips it already."""
    assert dropped(share=1.0, low=0.2) == [(1, 1), (2, 1), (3, 0)]
    keep = advantages.drop_covariant_tokens(KEY, EX.advantages, EX.logprobs, EX.old, EX.mask, share=1.0, low=0.2)
    value = jnp.sum(COEFFICIENTS * keep * losses.ppo_clip(EX.logprobs, EX.old, EX.advantages, epsilon=0.2))
    np.testing.assert_allclose(value, 0.175568, rtol=1e-5)
    assert (1, 2) in dropped(share=1.0, low=0.2, epsilon=0.9)
    assert dropped(share=1.0, low=0.2, high=0.44) == [(2, 1), (3, 0)]


def test_the_draw_is_even_and_without_replacement():
    chosen = [dropped(jax.random.key(seed), share=2 / 11, low=0.2) for seed in range(150)]
    assert all(len(set(each)) == 2 for each in chosen)
    often = [sum(token in each for each in chosen) / 150 for token in ((1, 1), (2, 1), (3, 0))]
    np.testing.assert_allclose(often, 2 / 3, atol=0.13)
    assert len(dropped(share=0.0, low=0.2)) == 1  # at least one
    assert dropped(jax.random.key(7), share=2 / 11, low=0.2) == chosen[7]


def test_clip_cov_without_candidates_is_ppo():
    np.testing.assert_array_equal(dropped(share=1.0, low=2.0), [])
    np.testing.assert_array_equal(dropped(share=1.0, low=0.2, a=np.ones((4, 3))), [])
    np.testing.assert_array_equal(dropped(share=1.0, low=0.2, mask=0 * EX.mask), [])


def kl_cov(logprobs, chosen, c=1.0):
    terms = losses.ppo_clip(logprobs, EX.old, EX.advantages, epsilon=np.inf) + c * chosen * losses.absolute_log_ratio(logprobs, EX.old)
    return jnp.sum(COEFFICIENTS * terms)


def test_worked_example_of_kl_cov():
    chosen = advantages.most_covariant_tokens(EX.advantages, EX.logprobs, EX.mask, share=0.2)
    assert list(zip(*np.nonzero(chosen), strict=True)) == [(1, 1), (2, 1)]
    value, gradient = jax.value_and_grad(lambda x: kl_cov(x, chosen))(jnp.asarray(EX.logprobs))
    np.testing.assert_allclose(value, 0.346269, rtol=1e-5)
    expected = [
        [-0.10047, -0.0609382, -0.129006],
        [0.333572, -0.0126629, 0.049892],
        [-0.0354, 0.043124, -0.225138],
        [0.3354, 0.129713, 0],
    ]
    np.testing.assert_allclose(gradient, expected, rtol=1e-4, atol=1e-7)  # quoted to 3 digits in places


def test_kl_cov_in_double_precision(x64):
    rng = np.random.default_rng(0)
    a, logprobs, mask = rng.normal(size=(7, 6)), -rng.gamma(1.0, size=(7, 6)), rng.random((7, 6)) < 0.7
    mean_a, mean_x = np.mean([a[i] for i in zip(*np.nonzero(mask), strict=True)]), np.mean(logprobs[mask])
    covariance = np.where(mask, (a - mean_a) * (logprobs - mean_x), 0)
    np.testing.assert_allclose(token_covariance(a, logprobs, mask), covariance, rtol=1e-9)
    for share in (0.0, 0.1, 0.5, 1.0):
        number = max(1, int(share * mask.sum()))
        expected = mask & (covariance >= np.sort(covariance[mask])[-number])
        np.testing.assert_array_equal(advantages.most_covariant_tokens(a, logprobs, mask, share=share), expected)
    chosen = advantages.most_covariant_tokens(EX.advantages, EX.logprobs, EX.mask, share=0.2)
    assert_gradient(lambda x: kl_cov(x, chosen)[None], EX.logprobs)


def test_kl_cov_of_equal_advantages_chooses_by_order_and_of_nothing_nothing():
    chosen = advantages.most_covariant_tokens(np.zeros((4, 3)), EX.logprobs, EX.mask, share=0.2)
    assert list(zip(*np.nonzero(chosen), strict=True)) == [(0, 0), (0, 1)]
    assert not np.any(advantages.most_covariant_tokens(EX.advantages, EX.logprobs, 0 * EX.mask))
    with pytest.raises(ValueError, match="share"):
        advantages.most_covariant_tokens(EX.advantages, EX.logprobs, EX.mask, share=-0.1)
