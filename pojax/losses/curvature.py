"""How far a token's own optimiser step would move its objective and its policy (CAPO): a second-order model of the last layer.

Heads: functions of what the model holds at a token, hidden [n, h], logits [n, V], token [n] and fields [n], to one number per token.
v = e_token - pi is the gradient of the token's log-probability with respect to its logits, g = A v h^T that of its objective with respect
to the last layer, G the direction of the prospective step.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Int

from pojax.annotations import Hyper
from pojax.checks import checked
from pojax.numerics import floating

__all__ = ["adam_direction", "curvature_statistics", "gradient_curvature", "gradient_gain"]

Pair = tuple[Float[Array, "n"], Float[Array, "n"]]


@checked(top_k="[0, inf)")
def gradient_gain(
    hidden: Float[ArrayLike, "n h"], logits: Float[ArrayLike, "n V"], token: Int[ArrayLike, "n"], *, top_k: int = 0
) -> Float[Array, "n"]:
    """|v|^2 |h|^2: the squared length of a token's gradient of the last layer, and what a unit step along it adds to its log-probability.

    A head, without advantage and learning rate: with A and lr, m_F = lr^2 / 2 (A gain)^2 (`curvature_trust` puts them in).
    Source: CAPO, Curvature-Aware Policy Optimization, arXiv 2510.00819, and its released code.
    """
    return _gradient_step(hidden, logits, token, top_k)[0]


@checked(top_k="[0, inf)")
def gradient_curvature(
    hidden: Float[ArrayLike, "n h"], logits: Float[ArrayLike, "n V"], token: Int[ArrayLike, "n"], *, top_k: int = 0
) -> Float[Array, "n"]:
    """gain^2 - variance under pi of |h|^2 v: the second derivative of pi / pi_old along the token's gradient of the last layer.

    A head: with A and lr, m_H = lr A^2 gain + lr^2 / 2 A^3 curvature (`curvature_trust` puts them in).
    Source: CAPO, Curvature-Aware Policy Optimization, arXiv 2510.00819, and its released code.
    """
    return _gradient_step(hidden, logits, token, top_k)[1]


def _gradient_step(hidden: Float[ArrayLike, "n h"], logits: Float[ArrayLike, "n V"], token: Int[ArrayLike, "n"], top_k: int) -> Pair:
    """(v . u, (v . u)^2 - variance of u) of the direction u = |h|^2 v: a gradient step needs no array of size V x h."""
    h, logits = (jax.lax.stop_gradient(floating(x)) for x in (hidden, logits))
    pi, v = _gradient_of_logits(logits, token, top_k)
    return _second_order(pi, v, jnp.sum(h**2, axis=-1)[:, None] * v)


def _second_order(pi: Float[Array, "n V"], v: Float[Array, "n V"], u: Float[Array, "n V"]) -> Pair:
    along = jnp.sum(v * u, axis=-1)
    mean = jnp.sum(pi * u, axis=-1)
    return along, along**2 - jnp.sum(pi * (u - mean[:, None]) ** 2, axis=-1)


@checked(learning_rate="[0, inf)", top_k="[0, inf)")
def curvature_statistics(
    hidden: Float[ArrayLike, "n h"],
    logits: Float[ArrayLike, "n V"],
    token: Int[ArrayLike, "n"],
    advantages: Float[ArrayLike, "n"],
    direction: Float[ArrayLike, "n V h"] | None = None,
    *,
    learning_rate: Hyper,
    top_k: int = 0,
) -> Pair:
    """(m_H, m_F) per token: m_H = lr <g, G> + lr^2 / 2 H and m_F = lr^2 / 2 (v . u)^2, with u = G h and
    H = A ((v . u)^2 - (sum pi u^2 - (sum pi u)^2)).

    direction: G of every token (`adam_direction`); by default g, a step of gradient descent, which needs no array of size V x h.
    learning_rate: of the prospective step. top_k: pi over the k most likely tokens only, renormalised, as released code has it; 0 = all.
    Constants of the gradient. A = 0 gives (0, 0) without direction.
    Released code pairs hidden states with logits that are one position apart (probably a slip); here both belong to the same token.
    Source: CAPO, Curvature-Aware Policy Optimization, arXiv 2510.00819, and its released code.
    """
    h, logits, advantages = (jax.lax.stop_gradient(floating(x)) for x in (hidden, logits, advantages))
    lr = floating(learning_rate)
    if direction is None:
        gain, curvature = _gradient_step(h, logits, token, top_k)
        along, curvature = advantages * gain, advantages**2 * curvature
    else:
        pi, v = _gradient_of_logits(logits, token, top_k)
        step = jax.lax.stop_gradient(floating(direction))
        along, curvature = _second_order(pi, v, jnp.einsum("nvh,nh->nv", step, h))
    # <A v h^T, G> = A v . G h
    return lr * advantages * along + 0.5 * lr**2 * advantages * curvature, 0.5 * lr**2 * along**2


@checked(b1="[0, 1)", b2="[0, 1)", epsilon="[0, inf)", top_k="[0, inf)")
def adam_direction(
    hidden: Float[ArrayLike, "n h"],
    logits: Float[ArrayLike, "n V"],
    token: Int[ArrayLike, "n"],
    advantages: Float[ArrayLike, "n"],
    first_moment: Float[ArrayLike, "V h"],
    second_moment: Float[ArrayLike, "V h"],
    step: Int[ArrayLike, ""],
    *,
    b1: Hyper = 0.9,
    b2: Hyper = 0.999,
    epsilon: Hyper = 1e-8,
    top_k: int = 0,
) -> Float[Array, "n V h"]:
    """Adam's direction for every token's own gradient g: G = (m' / (1 - b1^(t+1))) / (sqrt(s' / (1 - b2^(t+1))) + epsilon).

    m' = b1 m + (1 - b1) g and s' = b2 s + (1 - b2) g^2 from the stored moments of the last layer, which stay as they are; step = t, the
    number of their updates. An array [n, V, h]: for small vocabularies and for checks.
    Source: CAPO, Curvature-Aware Policy Optimization, arXiv 2510.00819, and its released code.
    """
    h, logits, advantages = (jax.lax.stop_gradient(floating(x)) for x in (hidden, logits, advantages))
    _, v = _gradient_of_logits(logits, token, top_k)
    g = jnp.einsum("n,nv,nh->nvh", advantages, v, h)
    decay, decay_of_squares, number = floating(b1), floating(b2), floating(step) + 1.0
    m = decay * floating(first_moment) + (1.0 - decay) * g
    s = decay_of_squares * floating(second_moment) + (1.0 - decay_of_squares) * g**2
    return (m / (1.0 - decay**number)) / (jnp.sqrt(s / (1.0 - decay_of_squares**number)) + epsilon)


def _gradient_of_logits(
    logits: Float[Array, "n V"], token: Int[ArrayLike, "n"], top_k: int
) -> tuple[Float[Array, "n V"], Float[Array, "n V"]]:
    """(pi, e_token - pi)."""
    if 0 < top_k < logits.shape[-1]:
        edge = jax.lax.top_k(logits, top_k)[0][:, -1:]
        logits = jnp.where(logits >= edge, logits, -jnp.inf)
    pi = jax.nn.softmax(logits, axis=-1)
    return pi, jax.nn.one_hot(token, logits.shape[-1], dtype=pi.dtype) - pi
