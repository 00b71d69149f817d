"""Surrogates of two responses to one prompt."""

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Int

from pojax.annotations import Hyper, Mask
from pojax.checks import checked
from pojax.groups import partner
from pojax.losses.ratios import clipped_surrogate
from pojax.numerics import masked, per_row
from pojax.reductions import per_response, sequence_log_ratio

__all__ = ["p3o"]


@checked(epsilon="[0, 1)", version="{none, v1, v2}")
def p3o(
    logprobs: Float[ArrayLike, "B T"],
    old_logprobs: Float[ArrayLike, "B T"],
    rewards: Float[ArrayLike, "B"] | Float[ArrayLike, "B T"],
    mask: Mask,
    groups: Int[ArrayLike, "B"],
    *,
    epsilon: Hyper = 0.2,
    version: str = "v2",
) -> Float[Array, "B"]:
    """Pairwise policy gradient on the difference of two rewards, D = r_1 - r_2, with log-ratios of whole responses x_i.

    x_i = sum_t mask (logprob - old_logprob), clamped to [-20, 20]. Pairs are the consecutive rows of a group (`partner`). Each row of a
    pair has a share, so that the mean over paired rows is the mean over pairs of
    "none": -1/2 D (exp x_1 - exp x_2);
    "v1", clipped apart: -1/2 [min(D exp x_1, D clip(exp x_1)) + min(-D exp x_2, -D clip(exp x_2))], clip to 1 - epsilon, 1 + epsilon;
    "v2", clipped together: -1/2 min(D x, D clip(x, log(1 - epsilon), log(1 + epsilon))), x = x_1 - x_2, row 1 before row 2.
    Where no update was made yet, all have the gradient -D (grad x_1 - grad x_2) / 2: a shift of a prompt's rewards changes nothing.
    The clipped forms and epsilon are assumed: they were not seen in print.
    0 for a row without partner (the last of a group of odd size; `paired_rows` takes it out of the divisor) and for equal rewards.
    The paper's reward holds the penalty of `sequence_kl_penalty`.
    Raises ValueError for another version, or epsilon outside [0, 1).
    Source: Pairwise Proximal Policy Optimization (P3O), arXiv 2310.00212.
    """
    other, bound = partner(groups), per_row(epsilon, 1)
    rows = jnp.arange(other.shape[0])
    paired = other != rows
    x, reward = (masked(y, paired) for y in (sequence_log_ratio(logprobs, old_logprobs, mask), per_response(rewards, mask)))
    difference = reward - reward[other]
    if version == "none":
        return -difference * jnp.exp(x)
    if version == "v1":
        return clipped_surrogate(jnp.exp(x), difference, 1.0 - bound, 1.0 + bound)
    sign = jnp.where(rows < other, 1.0, -1.0)  # both rows see the pair from its first row: the interval is not symmetric around 0
    return 0.5 * clipped_surrogate(sign * (x - x[other]), sign * difference, jnp.log1p(-bound), jnp.log1p(bound))
