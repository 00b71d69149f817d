"""Taylor expansions of the objective in the ratio minus 1."""

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from pojax.annotations import Hyper, Mask
from pojax.checks import checked
from pojax.losses.ratios import token_ratio
from pojax.numerics import counts, floating, masked, per_row

__all__ = ["taypo"]


@checked(gamma="[0, 1]", order="[1, inf)")
def taypo(
    logprobs: Float[ArrayLike, "B T"],
    old_logprobs: Float[ArrayLike, "B T"],
    advantages: Float[ArrayLike, "B T"],
    mask: Mask,
    *,
    gamma: Hyper = 1.0,
    order: int = 2,
) -> Float[Array, "B T"]:
    """Expansion of the off-policy objective to an order: -gamma^t A_t (r_t - 1) * sum over k < order of e_k(r_u - 1 over earlier u).

    r = exp(logprob - old), the log-ratio in [-20, 20]; t = 0, 1 ... counts the masked tokens; e_0 = 1, e_1 is the sum of r_u - 1 over
    earlier tokens, e_k the sum over all sets of k of them of the product. Order 1 is -sum gamma^t A_t (r_t - 1), the surrogate without
    clip; order 2 adds the products of two times. The gradient flows through every ratio. Aggregate "sequence_mean_token_sum".
    Advantages in place of the paper's Q (less variance). One advantage for the whole response and gamma 1 is the terminal form: the
    expansion of A * product of r_t, whose order T is exact; the gradient of token t is then -A r_t * sum over k < order of e_k over all
    other tokens. All ratios 1: value 0, the policy gradient. Zero where mask is 0. Orders above 4 may overflow in float32.
    Raises ValueError for gamma outside [0, 1] and order below 1.
    Source: Taylor Expansion Policy Optimization, arXiv 2003.06259, section 3 (the U_K).
    """
    on = counts(mask)
    excess = jnp.where(on, token_ratio(masked(logprobs, on), masked(old_logprobs, on)) - 1.0, 0.0)
    symmetric, total = jnp.ones_like(excess), jnp.ones_like(excess)
    for _ in range(1, order):  # e_k over the tokens before t: the running sum of (r_u - 1) e_(k-1)
        products = excess * symmetric
        symmetric = jnp.cumsum(products, axis=1) - products
        total = total + symmetric
    position = jnp.maximum(jnp.cumsum(on, axis=1) - 1, 0)
    discount = floating(per_row(gamma, 2)) ** position
    return -discount * masked(advantages, on) * excess * total
