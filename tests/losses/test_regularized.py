import jax
import jax.numpy as jnp
import numpy as np
import pytest
from arrays import EX, assert_gradient

from pojax import losses
from pojax.losses import aggregations as aggregate

WEIGHTS = np.asarray(aggregate.token_mean(EX.mask))
KINDS = ("fkl", "rkl", "ufkl", "urkl")
URKL = np.array(
    [[-0.0994654, -0.0633757, -0.124491], [0.376937, 0.0770725, 0.0468984], [-0.03717, -0.0473072, -0.153094], [0.355524, 0.129281, 0]]
)


def total(function, logprobs=EX.logprobs, **hyper):
    return jnp.sum(WEIGHTS * function(logprobs, EX.old, EX.advantages, beta=0.1, **hyper))


def gradient(function, **hyper):
    return jax.grad(lambda x: total(function, x, **hyper))(jnp.asarray(EX.logprobs))


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (losses.rpg, dict(fkl=0.441269, rkl=0.46081, ufkl=0.370062, urkl=0.292925)),
        (losses.rpg_reinforce, dict(fkl=-0.155882, rkl=-0.564416, ufkl=-0.329928, urkl=-0.39037)),
        (losses.rpg_clip, dict(ufkl=0.530521, urkl=0.608005, rkl=0.743518)),
        (losses.rpg_reinforce_clip, dict(ufkl=-0.551998, urkl=-0.612439, rkl=-0.786486)),
        (losses.rpg_reinforce_hard, dict(ufkl=-0.140901)),
    ],
)
def test_card(function, expected):
    for kl, value in expected.items():
        np.testing.assert_allclose(total(function, kl=kl), value, rtol=1e-5)


def test_card_gradients():
    clipped = URKL * [[1, 1, 0], [1, 1, 0], [1, 1, 0], [1, 1, 0]]
    literal = [
        [-0.0894184, -0.0572819, 0.0116364],
        [0.410294, 0.0848971, 0.00727273],
        [-0.03009, -0.0377502, 0.0116364],
        [0.377884, 0.137928, 0],
    ]
    for function, expected in (
        (losses.rpg, URKL),
        (losses.rpg_reinforce, URKL),
        (losses.rpg_clip, clipped),
        (losses.rpg_reinforce_clip, clipped),
    ):
        np.testing.assert_allclose(gradient(function), expected, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(gradient(losses.rpg_clip, detach=False), literal, rtol=1e-5, atol=1e-7)


def test_card_of_the_corrected_penalty():
    value = losses.importance_k3(EX.logprobs, EX.old, EX.old)  # the paper's reference is the old policy
    np.testing.assert_allclose(jnp.sum(WEIGHTS * value), 0.648385, rtol=1e-5)


@pytest.mark.parametrize("kl", KINDS)
def test_differentiable_and_reinforce_forms_have_one_gradient(kl):
    np.testing.assert_allclose(gradient(losses.rpg, kl=kl), gradient(losses.rpg_reinforce, kl=kl), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("kl", KINDS)
def test_the_gradient_is_that_of_the_regularised_reward(x64, kl):
    """Summed over the old policy's tokens: the exact gradient of E[R] - beta * divergence, for measures that need not sum to 1."""
    rng = np.random.default_rng(0)
    old, reward, logprobs = jax.nn.log_softmax(jnp.asarray(rng.normal(size=5))), rng.normal(size=5), jnp.asarray(-rng.uniform(1, 2, 5))

    def objective(logprobs):
        p, q = jnp.exp(logprobs), jnp.exp(old)
        divergence = {
            "fkl": jnp.sum(q * (old - logprobs)),
            "ufkl": jnp.sum(q * (old - logprobs) + p - q),
            "rkl": jnp.sum(p * (logprobs - old)),
            "urkl": jnp.sum(p * (logprobs - old) - p + q),
        }[kl]
        return jnp.sum(p * reward) - 0.3 * divergence

    expected = -jax.grad(objective)(logprobs)
    for function in (losses.rpg, losses.rpg_reinforce):
        found = jax.grad(lambda x, f=function: jnp.sum(jnp.exp(old) * f(x[None], old[None], reward[None], beta=0.3, kl=kl)[0]))(logprobs)
        np.testing.assert_allclose(found, expected, rtol=1e-9)


def reference(x, old, r, kl, algorithm, beta=0.1, low=0.8, high=1.28, top=3.0):
    """One token: (value, gradient with respect to the log-probability)."""
    w = np.exp(x - old)
    if algorithm == "clip":
        a = r - beta * {"urkl": np.log(w), "rkl": np.log(w) + 1}.get(kl, 0.0)
        plain, clipped = -w * a, -min(max(w, low), high) * a
        value, slope = (clipped, 0.0) if clipped > plain else (plain, plain)
        return (-top * a, 0.0) if a < 0 and value > -top * a else (value, slope)
    if algorithm == "hard":
        w = min(max(w, low), high)
    c = beta * {"fkl": 1.0, "ufkl": 1 - w, "rkl": -w * (np.log(w) + 1), "urkl": -w * np.log(w)}[kl]
    if algorithm == "hard":
        return -x * (r * w + c), -(r * w + c)
    psi = (r + c / w) * -x
    if psi >= 0:
        return (psi * w, -(r + c / w) * w) if w < high else (-x * (r * high + c), 0.0)
    if w <= low:
        return -x * (r * low + c), 0.0
    return (psi * w, -(r + c / w) * w) if w < top else (-x * (r * top + c), 0.0)


@pytest.mark.parametrize("kl", KINDS)
@pytest.mark.parametrize("algorithm", ["clip", "reinforce_clip", "hard"])
def test_clipped_forms_in_double_precision(x64, kl, algorithm):
    rng = np.random.default_rng(3)
    old = -rng.uniform(0.5, 3, (6, 8))
    x, r = np.minimum(old + rng.normal(size=old.shape) * 0.9, -1e-3), rng.normal(size=old.shape) * 0.3
    name = f"rpg_reinforce_{algorithm}" if algorithm == "hard" else f"rpg_{algorithm}"
    hyper = {"beta": 0.1, "kl": kl} | ({} if algorithm == "hard" else {"dual_clip": 3.0})
    found = jax.value_and_grad(lambda x: jnp.sum(getattr(losses, name)(x, old, r, **hyper)))(jnp.asarray(x))
    expected = [reference(*each, kl, algorithm) for each in zip(x.ravel(), old.ravel(), r.ravel(), strict=True)]
    np.testing.assert_allclose(getattr(losses, name)(x, old, r, **hyper).ravel(), [v for v, _ in expected], rtol=1e-9)
    np.testing.assert_allclose(found[1].ravel(), [g for _, g in expected], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("kl", KINDS)
def test_differentiable_form_in_double_precision(x64, kl):
    x, old, r = EX.logprobs, EX.old, EX.advantages
    w = np.exp(x - old)
    penalty = {"fkl": -x, "ufkl": w - np.log(w) - 1, "rkl": w * np.log(w), "urkl": w * np.log(w) - w}[kl]
    np.testing.assert_allclose(losses.rpg(x, old, r, beta=0.3, kl=kl), -w * r + 0.3 * penalty, rtol=1e-9)
    assert_gradient(lambda x: losses.rpg(x, old, r, beta=0.3, kl=kl), x)
    weighted = w * (np.exp(EX.ref - x) - 1 + x - EX.ref)
    np.testing.assert_allclose(losses.importance_k3(x, old, EX.ref), weighted, rtol=1e-9)
    assert_gradient(lambda x: losses.importance_k3(x, old, EX.ref), x)


def test_bound_of_released_code():
    far = np.array([[3.0]])
    for kl, inside in (("ufkl", 10.0), ("rkl", 10.0), ("urkl", 9.0)):
        value = losses.rpg(far, 0 * far, 0 * far, beta=1.0, kl=kl, kl_bound=10.0)
        np.testing.assert_allclose(value, [[inside]], rtol=1e-6)
        assert jax.grad(lambda x, k=kl: jnp.sum(losses.rpg(x, 0 * far, 0 * far, beta=1.0, kl=k, kl_bound=10.0)))(jnp.asarray(far)) == 0
    np.testing.assert_allclose(losses.rpg_reinforce(far, 0 * far, 0 * far, beta=1.0, kl="ufkl", kl_bound=10.0), [[30.0]], rtol=1e-6)


def test_on_policy():
    """Ratio 1: no gradient of ufkl and urkl, a constant one of fkl and rkl; equal rewards leave the divergence alone."""
    for kl, constant in (("fkl", -0.1), ("rkl", 0.1), ("ufkl", 0.0), ("urkl", 0.0)):
        found = jax.grad(lambda x, k=kl: jnp.sum(losses.rpg(x, EX.old, 0 * EX.old, beta=0.1, kl=k)))(jnp.asarray(EX.old))
        np.testing.assert_allclose(found, np.full((4, 3), constant), atol=1e-7)
    with pytest.raises(ValueError, match="rpg: kl is 'k3', allowed"):
        losses.rpg(EX.old, EX.old, EX.old, kl="k3")
