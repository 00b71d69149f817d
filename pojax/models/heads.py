"""Heads: numbers per response token that need the logits, evaluated inside the chunks in which logits exist.

head(hidden [n, hidden], logits [n, V], token [n], <fields, each [n]>, *, hyper) -> [n]; logits are divided by the row's temperature.
`method.heads=dict(name=("head", {}))` makes `name` an output like logprobs: any function may read it, or `start_name`, `ref_name`.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

__all__ = ["collision_probability"]


def collision_probability(logits: Float[Array, "n V"]) -> Float[Array, "n"]:
    """Probability that two draws are the same token: sum_v p_v^2 = exp(logsumexp(2 l) - 2 logsumexp(l)), p = softmax(l).

    Source: sum_pi_squared of verl, for The Optimal Token Baseline (Li et al., ICML 2026).
    """
    return jnp.exp(jax.nn.logsumexp(2.0 * logits, axis=-1) - 2.0 * jax.nn.logsumexp(logits, axis=-1))
