"""Heads: numbers per response token that need the logits, evaluated inside the chunks in which logits exist.

head(hidden [n, hidden], logits [n, V], token [n], <fields, each [n]>, *, hyper) -> [n]; logits are divided by the row's temperature.
`method.heads=dict(name=("head", {}))` makes `name` an output like logprobs: any function may read it, or `start_name`, `ref_name`.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from pojax.annotations import Hyper
from pojax.losses.curvature import gradient_curvature, gradient_gain
from pojax.models.outputs import token_logit

__all__ = ["collision_probability", "drawn_hits", "drawn_misses", "gradient_curvature", "gradient_gain"]


def collision_probability(logits: Float[Array, "n V"]) -> Float[Array, "n"]:
    """Probability that two draws are the same token: sum_v p_v^2 = exp(logsumexp(2 l) - 2 logsumexp(l)), p = softmax(l).

    Source: sum_pi_squared of verl, for The Optimal Token Baseline (Li et al., ICML 2026).
    """
    return jnp.exp(jax.nn.logsumexp(2.0 * logits, axis=-1) - 2.0 * jax.nn.logsumexp(logits, axis=-1))


def drawn_hits(
    logits: Float[Array, "n V"], token: Int[Array, "n"], seeds: Int[Array, "n"], *, samples: int = 256, temperature: Hyper = 1.3
) -> Float[Array, "n"]:
    """Share of `samples` tokens, drawn from softmax(logits / temperature), that are the given token. A constant of the gradient.

    seeds: a number per token (arrangement `seeded`); equal seeds draw equally. Source: One-Token Rollout, arXiv 2509.26313.
    """
    counts = _draw_counts(logits, seeds, samples, temperature)
    return token_logit(counts, token) / samples


def drawn_misses(
    logits: Float[Array, "n V"], token: Int[Array, "n"], seeds: Int[Array, "n"], *, samples: int = 256, temperature: Hyper = 1.3
) -> Float[Array, "n"]:
    """Sum of the log-probabilities (under softmax(logits)) of the draws that are not the given token, over `samples`; see `drawn_hits`.

    Source: One-Token Rollout, arXiv 2509.26313.
    """
    counts = _draw_counts(logits, seeds, samples, temperature)
    wrong = jnp.where(jnp.arange(logits.shape[-1]) == token[:, None], 0.0, counts)
    return jnp.sum(wrong * jax.nn.log_softmax(logits, axis=-1), axis=-1) / samples


def _draw_counts(logits: Float[Array, "n V"], seeds: Int[Array, "n"], samples: int, temperature: Hyper) -> Float[Array, "n V"]:
    """How often every token is among `samples` draws, by inversion: uniform numbers between the cumulative probabilities of its neighbours.

    Memory is n * (samples + V); drawing each by noise on the logits would take n * samples * V.
    """
    logits = jax.lax.stop_gradient(logits) / jnp.asarray(temperature, logits.dtype)
    edges = jnp.cumsum(jax.nn.softmax(logits, axis=-1), axis=-1).at[:, -1].set(2.0)  # rounding may leave the sum below 1
    uniform = jax.vmap(lambda seed: jax.random.uniform(jax.random.key(seed), (samples,), logits.dtype))(seeds)
    below = jax.vmap(jnp.searchsorted)(jnp.sort(uniform, axis=-1), edges)  # draws below each edge
    return jnp.diff(below, axis=-1, prepend=0).astype(logits.dtype)
