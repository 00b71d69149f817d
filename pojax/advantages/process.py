"""Advantages from rewards of the steps of a response."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Int

from pojax.annotations import Hyper, Mask
from pojax.checks import checked
from pojax.groups import group_max, group_min, group_sum, inside
from pojax.numerics import counts, masked, over_deviation, per_row, root
from pojax.reductions import reward_to_go, row_count

__all__ = ["process_normalize"]


@checked(epsilon="[0, inf)", ddof="{0, 1}")
def process_normalize(
    token_rewards: Float[ArrayLike, "B T"],
    mask: Mask,
    groups: Int[ArrayLike, "B"],
    step_ends: Mask | None = None,
    *,
    epsilon: Hyper = 1e-6,
    ddof: int = 1,
) -> Float[Array, "B T"]:
    """Sum of the standardised rewards of this step and the later ones: A_bt = sum over steps j that end at t or later of z_bj.

    z_bj = (r_bj - mean_g) / (std_g + epsilon) over all step rewards of all responses of the group together; a step's reward is the token
    reward at its last token. step_ends: 0/1, the last tokens of the steps (only where mask is 1); by default every masked token is a step.
    epsilon is in units of reward, ddof is subtracted from the number of steps, as in `group_normalize`.
    Exactly zero where all step rewards of the group are equal or it has one step; 0 behind the last step, where mask is 0 and for rows out.
    Raises ValueError for ddof other than 0 and 1.
    Source: DeepSeekMath (GRPO), arXiv 2402.03300, section 4.1.3 (process supervision).
    """
    on = counts(mask) & inside(groups)[:, None]
    steps = on if step_ends is None else on & counts(step_ends)
    rewards = masked(token_rewards, steps)
    number = group_sum(row_count(steps), groups)
    mean = group_sum(jnp.sum(rewards, axis=1), groups) / jnp.maximum(number, 1.0)
    fixed = jax.lax.stop_gradient(rewards)
    high = group_max(jnp.max(jnp.where(steps, fixed, -jnp.inf), axis=1), groups)
    low = group_min(jnp.min(jnp.where(steps, fixed, jnp.inf), axis=1), groups)
    centered = jnp.where(steps & (high > low)[:, None], rewards - mean[:, None], 0.0)
    variance = group_sum(jnp.sum(centered**2, axis=1), groups) / jnp.maximum(number - ddof, 1.0)
    return reward_to_go(over_deviation(centered, root(variance)[:, None], per_row(epsilon, 2)), on)
