"""Q#: the value of the KL-optimal policy from the distribution of the reference's returns, and the reference tilted by it.

The policy itself is not trained: a value model is fitted to returns and guides decoding.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from pojax.annotations import Hyper
from pojax.checks import checked
from pojax.numerics import floating

__all__ = ["q_sharp_bernoulli", "q_sharp_categorical", "q_sharp_loss", "q_sharp_policy"]


@checked(probability="[0, 1]", eta="(0, inf)")
def q_sharp_bernoulli(probability: Float[ArrayLike, "B ..."], *, eta: Hyper = 0.1) -> Float[Array, "B ..."]:
    """Optimal value where the return is 0 or 1: Q = eta * log(1 - p + p exp(1 / eta)), in units of reward.

    probability: p, that the reference reaches return 1. eta: weight of the KL divergence from the reference. In log space, so
    that a small eta does not overflow; p = 0 gives 0 and p = 1 gives 1 exactly (without gradient at either).
    Raises ValueError for p outside [0, 1] and eta not above 0. Source: Q#, arXiv 2502.20548.
    """
    p = floating(probability)
    eta = _rows(eta, p.ndim)
    edge = (p <= 0.0) | (p >= 1.0)
    q = jnp.where(edge, 0.5, p)
    inner = eta * jnp.logaddexp(jnp.log1p(-q), jnp.log(q) + 1.0 / eta)
    return jnp.where(edge, jax.lax.stop_gradient(jnp.where(p >= 1.0, 1.0, 0.0)), inner)


@checked(eta="(0, inf)")
def q_sharp_categorical(
    distribution: Float[ArrayLike, "B ..."], atoms: Float[ArrayLike, "K"], *, eta: Hyper = 0.1
) -> Float[Array, "B ..."]:
    """Optimal value from a histogram of returns: Q = eta * log(sum_k p_k exp(z_k / eta)), in units of reward.

    distribution: p over the K atoms z, its last axis. eta as in `q_sharp_bernoulli`.
    Raises ValueError for eta not above 0. Source: Q#, arXiv 2502.20548.
    """
    p = floating(distribution)
    eta = _rows(eta, p.ndim)
    value = eta * jax.nn.logsumexp(floating(atoms) / eta, axis=-1, b=p, keepdims=True)
    return value[..., 0]


@checked(eta="(0, inf)")
def q_sharp_policy(
    ref_logits: Float[ArrayLike, "B ..."], q_values: Float[ArrayLike, "B ..."], *, eta: Hyper = 0.1
) -> Float[Array, "B ..."]:
    """The KL-optimal policy: softmax(ref_logits + Q / eta) over the last axis, the reference's probabilities times E[exp(return / eta)].

    Raises ValueError for eta not above 0. Source: Q#, arXiv 2502.20548.
    """
    logits = floating(ref_logits)
    return jax.nn.softmax(logits + floating(q_values) / _rows(eta, logits.ndim), axis=-1)


@checked()
def q_sharp_loss(value_logits: Float[ArrayLike, "B T"], rewards: Float[ArrayLike, "B"]) -> Float[Array, "B T"]:
    """Cross-entropy of the predicted success with the response's return, at every token: -y log p - (1 - y) log(1 - p), p = sigmoid(logit).

    rewards: y, the return of the reference's continuation, 0 or 1. Returns in nats per token.
    Source: Q#, arXiv 2502.20548 (maximum likelihood of returns; on which tokens of the response: assumed, all).
    """
    logits, target = floating(value_logits), floating(rewards)[:, None]
    return jax.nn.softplus(logits) - target * logits


def _rows(eta: Hyper, rank: int) -> Array:
    """One number, or one per row, broadcast against an array of that rank whose first axis is the rows."""
    eta = floating(eta)
    return eta.reshape(eta.shape + (1,) * (rank - eta.ndim)) if eta.ndim else eta
