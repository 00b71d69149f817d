"""A baseline for every time step, from forward probabilities alone (OTB)."""

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Int

from pojax.annotations import Hyper, Mask
from pojax.checks import checked
from pojax.groups import group_max, group_rank, group_size, group_sum, inside
from pojax.numerics import counts, floating, masked, per_row
from pojax.reductions import pack, reward_to_go, row_count, unpack

__all__ = ["optimal_token_baseline"]


@checked(epsilon="[0, inf)", singles="{zero, reward}")
def optimal_token_baseline(
    rewards: Float[ArrayLike, "B"],
    old_logprobs: Float[ArrayLike, "B T"],
    collision_probability: Float[ArrayLike, "B T"],
    mask: Mask,
    groups: Int[ArrayLike, "B"],
    token_rewards: Float[ArrayLike, "B T"] | None = None,
    importance: Float[ArrayLike, "B T"] | None = None,
    *,
    epsilon: Hyper = 1e-8,
    zero_tail: bool = True,
    packed: bool = False,
    singles: str = "zero",
) -> Float[Array, "B T"]:
    """Return minus a baseline per time step that weighs responses by their gradient energy so far: A_bt = G_bt - B_gt.

    G_bt = r_b + the sum of token_rewards from t on. w_t = (1 - 2 pi_t + sum_v pi_v^2) importance_t^2 is the squared norm of the gradient
    of the token's log-probability in the logits, W_t = w_1 + ... + w_t, and B_gt = sum_g(G W) / (sum_g W + epsilon) over the rows of the
    group that have a token at t. Where all w are equal this is the group's mean at every step; where all are 0, B = 0.
    collision_probability: sum_v pi_v^2, a head (`heads=dict(collision_probability=("collision_probability", {}))`).
    importance: weight of the learner against the sampler, where the loss has one.
    zero_tail: B = 0 for the longest response of a group beyond the length of the second longest: alone, it would have A = 0 there.
    packed (TIR-OTB, for responses with tool output): t counts the row's own tokens. Otherwise t is the column, and the zero tail begins at
    the column whose number is the second longest length, as in the released code; that is wrong where the mask has holes: pack then.
    singles: "zero", or "reward": a group of one keeps its return, as in the released code. Rows without tokens leave their group.
    Zero where mask is 0 and for rows that are out. Not zero for equal rewards in the zero tail: there is no baseline.
    Raises ValueError for a negative epsilon or other singles.
    Source: The Optimal Token Baseline (Li et al., ICML 2026), and verl's optimal_token_baseline and tir_optimal_token_baseline.
    """
    members = jnp.where(row_count(mask) > 0.0, jnp.asarray(groups), -1)
    is_in = inside(members)
    on = counts(mask) & is_in[:, None]
    returns = jnp.where(on, masked(rewards, is_in)[:, None], 0.0)
    if token_rewards is not None:
        returns = returns + reward_to_go(token_rewards, on)
    energy = 1.0 - 2.0 * jnp.exp(masked(old_logprobs, on)) + masked(collision_probability, on)
    energy = energy if importance is None else energy * masked(importance, on) ** 2
    total = jnp.cumsum(masked(energy, on), axis=1)
    columns = jnp.arange(on.shape[1])
    length = row_count(on)[:, None]
    filled = columns < length if packed else on
    at, weight = (pack(returns, on), pack(total, on)) if packed else (returns, total)
    weight = jnp.where(filled, weight, 0.0)
    energies = group_sum(weight, members)
    baseline = group_sum(at * weight, members) / _positive(energies + per_row(epsilon, 2))
    if zero_tail:
        baseline = jnp.where((length > _second(length[:, 0], members)) & (columns >= _second(length[:, 0], members)), 0.0, baseline)
    advantages = jnp.where(filled, at - baseline, 0.0)
    advantages = unpack(advantages, on) if packed else advantages
    alone = (group_size(members) == 1.0)[:, None]
    return floating(jnp.where(on, jnp.where(alone, returns if singles == "reward" else 0.0, advantages), 0.0))


def _positive(x: Float[Array, "..."]) -> Float[Array, "..."]:
    return jnp.where(x == 0.0, 1.0, x)


def _second(length: Float[Array, "B"], groups: Int[ArrayLike, "B"]) -> Float[Array, "B 1"]:
    """The second longest length of the row's group, 0 for a group of one."""
    next_to_last = group_rank(length, groups) == group_size(groups) - 2
    return jnp.maximum(group_max(jnp.where(next_to_last, length, 0.0), groups), 0.0)[:, None]
