"""Advantages per token that are sums of later rewards."""

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from pojax.annotations import Hyper, Mask
from pojax.checks import checked
from pojax.numerics import counts, masked
from pojax.reductions import reward_to_go

__all__ = ["token_returns"]


@checked(gamma="[0, 1]")
def token_returns(
    rewards: Float[ArrayLike, "B"], mask: Mask, token_rewards: Float[ArrayLike, "B T"] | None = None, *, gamma: Hyper = 1.0
) -> Float[Array, "B T"]:
    """Return from each token on: R_bt = token_rewards_bt + gamma * R_b(next masked token), the last masked token has rewards_b more.

    Tokens where mask is 0 (tool output, padding) have return 0 and are passed over: they neither discount nor cut the sum, and a reward
    after tool output reaches the tokens before it (verl up to 0.7 cut it there). A row without masked tokens has no return.
    token_rewards: dense part, such as `token_kl_penalty`; none by default. gamma: discount per masked token.
    Source: REINFORCE++, arXiv 2501.03262, eq. of the token-level return.
    """
    on = counts(mask)
    last = on & (jnp.cumsum(on[:, ::-1], axis=1)[:, ::-1] == 1)
    dense = jnp.where(last, masked(rewards, jnp.any(on, axis=1))[:, None], 0.0)
    if token_rewards is not None:
        dense = dense + masked(token_rewards, on)
    return reward_to_go(dense, on, discount=gamma)
