import jax
import jax.numpy as jnp
import numpy as np

from pojax import losses


def test_minimising_the_bonus_raises_the_entropy():
    def entropy(logits):
        logprobs = jax.nn.log_softmax(logits)
        return -jnp.sum(jnp.exp(logprobs) * logprobs)[None, None]

    logits = jnp.array([2.0, 0.0, -1.0])
    gradient = jax.grad(lambda x: losses.entropy_bonus(entropy(x))[0, 0])(logits)
    assert entropy(logits - 0.1 * gradient) > entropy(logits)
    np.testing.assert_allclose(losses.entropy_bonus(np.log([[2.0, 3.0]])), [[-0.693147, -1.098612]], rtol=1e-5)
