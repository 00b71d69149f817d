"""Weights of tokens that the environment wrote, for terms that learn to predict them."""

from functools import reduce

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Int, Shaped

from pojax.annotations import Hyper, Mask, writes
from pojax.checks import checked
from pojax.groups import inside
from pojax.numerics import counts, floating, masked, per_row
from pojax.rewards.combination import select_components

__all__ = ["observation_spans", "observation_weights"]


@writes("observation")
@checked()
def observation_spans(mask: Mask, groups: Int[ArrayLike, "B"]) -> Float[Array, "B T"]:
    """1 on the tokens of a row that the environment wrote: mask is 0 and a later token of the row has mask 1; else 0.

    What follows the last action of a row cannot be told from padding and is left out. Rows that are out have none.
    Source: prime-rl's `echo` (2026), which trains on the tokens of later turns and never on the first prompt.
    """
    on = counts(mask)
    later = jnp.cumsum(on[:, ::-1], axis=1)[:, ::-1] > 0
    return floating(~on & later & inside(groups)[:, None])


@writes("observation_weights")
@checked()
def observation_weights(
    components: dict[str, Shaped[ArrayLike, "B T"] | Shaped[ArrayLike, "B"]], mask: Mask, *, weights: dict[str, Hyper]
) -> Float[Array, "B T"]:
    """Weight of every observation token: sum over the roles of weight_role where the token is in the role's span and mask is 0, else 0.

    components: spans, 1 on the tokens of a role that the environment wrote behind the first turn (tool output, replies). Tokens that the
    policy chose (mask 1) have weight 0. A component [B] is the span of a whole row. The loss is policy gradient on action tokens plus the
    likelihood of the tokens of weight above 0: the term ("negative_log_likelihood", dict(where="observation_weights",
    scale="observation_weights", aggregate="token_mean")).
    Without an observation that term is 0. Raises ValueError where weights is empty or names a component that is not there.
    Source: prime-rl's `echo` (2026): 0.1 for tool output, other roles off. Not the ECHO of other authors.
    """
    spans = select_components("observation_weights", components, weights)
    parts = [jnp.where(counts(per_row(span, 2)), per_row(weight, 2), 0.0) for span, weight in spans]
    return masked(reduce(jnp.add, parts), ~counts(mask))
