import jax
import jax.numpy as jnp
import numpy as np
import pytest
from arrays import EX, assert_gradient

from pojax import advantages, losses
from pojax.losses import aggregations as aggregate

DAPO = {"epsilon": 0.2, "epsilon_high": 0.28}


def weight(logprobs=EX.logprobs, a=EX.advantages, mask=EX.mask, **hyper):
    return advantages.future_kl_weight(logprobs, EX.old, a, mask, **hyper)


def loss(logprobs, **hyper):
    fixed = jax.lax.stop_gradient(weight(logprobs, **hyper))
    return jnp.sum(aggregate.token_mean(EX.mask) * fixed * losses.ppo_clip(logprobs, EX.old, EX.advantages, **DAPO))


def test_worked_example():
    np.testing.assert_allclose(weight(decay=2.0)[:3], [[1, 1, 1.2], [1.2, 1, 1], [1.2, 1.2, 1.2]], rtol=1e-6)
    np.testing.assert_allclose(weight(decay=2.0)[3], [1.2, 1, 0], rtol=1e-6)  # the last token is masked
    value, gradient = jax.value_and_grad(lambda x: loss(x, decay=2.0))(jnp.asarray(EX.logprobs))
    np.testing.assert_allclose(value, 0.612769, rtol=1e-5)
    expected = [[-0.10047, -0.0609382, 0], [0.400287, 0.0782462, 0], [-0.04248, -0.0573421, 0], [0.402481, 0.129713, 0]]
    np.testing.assert_allclose(gradient, expected, rtol=1e-4, atol=1e-7)  # quoted to 4 digits in places
    np.testing.assert_allclose(loss(EX.logprobs, decay=32.0), 0.608278, rtol=1e-5)


def reference(new, old, a, mask, decay, epsilon, high_only, safety, delta):
    out = np.zeros(mask.shape)
    for b, t in zip(*np.nonzero(mask), strict=True):
        future = 0.0
        for k in range(t, mask.shape[1]):
            fed = mask[b, k] and not (delta is not None and np.exp(new[b, k] - old[b, k]) > delta)
            future += 2.0 ** (-(k - t) / decay) * (new[b, k] - old[b, k]) * fed
        f = np.exp(future)
        if epsilon > 0:
            f = min(max(f, 1 if high_only else 1 - epsilon), 1 + epsilon)
        if a[b, t] < 0 and np.exp(new[b, t] - old[b, t]) > safety:
            f = min(max(f, 0.8), 1)
        out[b, t] = f
    return out


@pytest.mark.parametrize("high_only", [True, False])
@pytest.mark.parametrize(("epsilon", "delta"), [(0.2, None), (0.0, 1.3), (0.5, 1.3)])
def test_against_loops(x64, high_only, epsilon, delta):
    rng = np.random.default_rng(0)
    old, mask, a = -rng.gamma(1.0, size=(6, 7)), rng.random((6, 7)) < 0.7, rng.normal(size=(6, 7))
    new = old + rng.normal(0, 0.3, (6, 7))
    expected = reference(new, old, a, mask, 3.0, epsilon, high_only, 1.2, delta)
    found = advantages.future_kl_weight(new, old, a, mask, decay=3.0, epsilon=epsilon, high_only=high_only, safety=1.2, delta=delta)
    np.testing.assert_allclose(found, expected, rtol=1e-9)
    assert len(np.unique(expected)) > 4
    of_rows = advantages.future_kl_weight(new, old, a[:, 0], mask, decay=3.0, safety=1.2)
    same = advantages.future_kl_weight(new, old, np.repeat(a[:, :1], 7, axis=1), mask, decay=3.0, safety=1.2)
    np.testing.assert_array_equal(of_rows, same)


def test_on_policy_and_far_from_it():
    np.testing.assert_array_equal(weight(EX.old), EX.mask)
    for shift in (1e4, -1e4):
        far = weight(EX.old + shift, epsilon=0.0)
        assert np.isfinite(far).all()
    # The safety interval: a bad token whose ratio is above 4 has at most weight 1.
    risen = weight(EX.old + 1.5)
    np.testing.assert_array_equal(np.asarray(risen)[1], [1, 1, 1])
    assert (np.asarray(risen)[0] > 1.19).all()


def test_gradient_of_the_loss(x64):
    fixed = weight(decay=2.0)
    assert_gradient(lambda x: fixed * losses.ppo_clip(x, EX.old, EX.advantages, **DAPO), EX.logprobs)
    _, slope = jax.jvp(lambda x: weight(x, decay=2.0), (jnp.asarray(EX.logprobs),), (jnp.ones((4, 3)),))
    assert not np.any(slope)  # a constant of the gradient
