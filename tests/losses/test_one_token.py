import jax
import jax.numpy as jnp
import numpy as np
import pytest
from arrays import assert_gradient

from pojax import losses
from pojax.models.heads import drawn_hits, drawn_misses


def test_worked_example():
    """Four draws, two of them the given token of log-probability -0.5, the others at -1.2 and -2.5."""
    value = losses.one_token_rollout(np.array([[-0.5]]), np.array([[2 / 4]]), np.array([[(-1.2 - 2.5) / 4]]))
    np.testing.assert_allclose(value, 0.1575, rtol=1e-5)
    none = losses.one_token_rollout(np.array([[-0.5]]), np.zeros((1, 1)), np.array([[-3.0]]), reward=0.0)
    np.testing.assert_array_equal(none, 0)  # no hit and no reward for others: nothing


def test_gradients(x64):
    rng = np.random.default_rng(0)
    hits, misses = rng.uniform(size=(2, 3)), -rng.uniform(size=(2, 3))
    assert_gradient(lambda x: losses.one_token_rollout(x, hits, misses), -rng.uniform(size=(2, 3)))
    assert_gradient(lambda x: losses.one_token_rollout(-hits, hits, x, reward=-0.3), misses)
    gradient = jax.grad(lambda x: jnp.sum(losses.one_token_rollout(-hits, x, misses)))(jnp.asarray(hits))
    np.testing.assert_array_equal(gradient, 0)


LOGITS = np.random.default_rng(2).normal(size=(3, 5)) * 1.5
TOKEN = jnp.array([1, 4, 0])


def draws(seeds, samples, temperature=1.3, logits=LOGITS):
    """The tokens themselves, by looking every uniform number up in the cumulative probabilities."""
    out = []
    for row, seed in zip(logits, seeds, strict=True):
        p = np.exp(row / temperature)
        edges = np.cumsum(p / p.sum())
        uniform = np.asarray(jax.random.uniform(jax.random.key(int(seed)), (samples,)))
        out.append([min(int(np.sum(u > edges)), len(row) - 1) for u in uniform])
    return np.array(out)


@pytest.mark.parametrize("temperature", [1.0, 1.3])
def test_heads_against_the_draws(temperature):
    seeds, k = np.array([7, 8, 7]), 40
    drawn = draws(seeds, k, temperature)
    logprobs = LOGITS - np.log(np.exp(LOGITS).sum(1, keepdims=True))
    given = jnp.asarray(LOGITS, jnp.float32), TOKEN, jnp.asarray(seeds)
    hits = drawn_hits(*given, samples=k, temperature=temperature)
    np.testing.assert_allclose(hits, (drawn == TOKEN[:, None]).mean(1), rtol=1e-6)
    expected = [sum(logprobs[n, a] for a in drawn[n] if a != TOKEN[n]) / k for n in range(3)]
    np.testing.assert_allclose(drawn_misses(*given, samples=k, temperature=temperature), expected, rtol=1e-5)


def test_draws_follow_the_tempered_policy():
    seeds = jnp.arange(3) + 11
    hits = drawn_hits(jnp.asarray(LOGITS, jnp.float32), TOKEN, seeds, samples=20000)
    p = np.exp(LOGITS / 1.3) / np.exp(LOGITS / 1.3).sum(1, keepdims=True)
    np.testing.assert_allclose(hits, p[np.arange(3), TOKEN], atol=4 * 0.5 / 20000**0.5)


def test_gradient_is_that_of_reinforce_on_the_draws():
    seeds, k = jnp.array([3, 4, 5]), 8
    drawn = draws(seeds, k)

    def loss(logits):
        logprobs = jax.nn.log_softmax(logits)[np.arange(3), TOKEN]
        outputs = (drawn_hits(logits, TOKEN, seeds, samples=k), drawn_misses(logits, TOKEN, seeds, samples=k))
        return jnp.sum(losses.one_token_rollout(logprobs[None], *(x[None] for x in outputs), reward=-0.1))

    def plain(logits):
        rewards = np.where(drawn == TOKEN[:, None], 1.0, -0.1)
        return -jnp.sum(rewards * jnp.take_along_axis(jax.nn.log_softmax(logits), drawn, axis=1)) / k

    at = jnp.asarray(LOGITS, jnp.float32)
    np.testing.assert_allclose(loss(at), plain(at), rtol=1e-5)
    np.testing.assert_allclose(jax.grad(loss)(at), jax.grad(plain)(at), rtol=1e-4, atol=1e-6)
