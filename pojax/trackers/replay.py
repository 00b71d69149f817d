"""The latest responses to every prompt of the data set, with what is needed to learn from them again."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Bool, Float, Int, Int32, Shaped

from pojax.annotations import Mask, RandomKey
from pojax.checks import check_range, check_shapes, checked
from pojax.groups import group_rank, group_size, inside
from pojax.numerics import counts, floating, masked
from pojax.trackers.tracker import Tracker

__all__ = ["ReplayBuffer", "replay_buffer", "select_replay"]


class ReplayBuffer(NamedTuple):
    """First in, first out: response number i (from 0) to a prompt stands in slot i mod K; `number` counts all that were ever stored.

    logprobs are those of the policy that sampled, with the row's temperature, not truncated.
    """

    tokens: Int32[Array, "N K T"]
    mask: Bool[Array, "N K T"]
    logprobs: Float[Array, "N K T"]
    rewards: Float[Array, "N K"]
    temperature: Float[Array, "N K"]
    truncated: Bool[Array, "N K"]
    policy_step: Int32[Array, "N K"]
    number: Int32[Array, "N"]


@checked(num_prompts="[1, inf)", response_tokens="[1, inf)", size="[1, inf)")
def init_replay_buffer(num_prompts: int, response_tokens: int, *, size: int = 16) -> ReplayBuffer:
    """The empty table, room for `size` responses to each prompt. Source: RePO, arXiv 2506.09340 (16 responses)."""
    rows, tokens, dtype = (num_prompts, size), (num_prompts, size, response_tokens), jnp.result_type(float)
    return ReplayBuffer(
        tokens=jnp.zeros(tokens, jnp.int32),
        mask=jnp.zeros(tokens, bool),
        logprobs=jnp.zeros(tokens, dtype),
        rewards=jnp.zeros(rows, dtype),
        temperature=jnp.ones(rows, dtype),
        truncated=jnp.zeros(rows, bool),
        policy_step=jnp.zeros(rows, jnp.int32),
        number=jnp.zeros(num_prompts, jnp.int32),
    )


@checked()
def update_replay_buffer(
    table: ReplayBuffer,
    tokens: Int[ArrayLike, "B T"],
    mask: Mask,
    old_logprobs: Float[ArrayLike, "B T"],
    rewards: Float[ArrayLike, "B"],
    temperature: Float[ArrayLike, "B"],
    truncated: Shaped[ArrayLike, "B"],
    policy_step: Int[ArrayLike, "B"],
    prompt_index: Int[ArrayLike, "B"],
    groups: Int[ArrayLike, "B"],
    replayed: Shaped[ArrayLike, "B"] | None = None,
) -> ReplayBuffer:
    """Store the fresh rows of the batch in the slots of their prompt's oldest responses, in the order of the rows.

    Of more than K rows of one prompt the last K stay. Rows that are out and rows that were replayed change nothing.
    Raises ValueError where an index is not below N. Source: RePO, arXiv 2506.09340.
    """
    number, size = table.rewards.shape
    check_shapes("update_replay_buffer", table=(table.logprobs, "N K T"), old_logprobs=(old_logprobs, "B T"))
    check_range("update_replay_buffer", "prompt_index", prompt_index, f"[-1, {number})")
    index = jnp.asarray(prompt_index)
    stored = inside(groups) & (index >= 0)
    if replayed is not None:
        stored &= ~counts(replayed)
    prompts = jnp.where(stored, index, -1)
    rank = group_rank(jnp.zeros(index.shape), prompts)  # how many rows of its prompt stand before a row
    count = group_size(prompts).astype(jnp.int32)
    row = jnp.where(stored & (rank >= count - size), index, number)  # beyond the table: dropped
    slot = (table.number[jnp.maximum(prompts, 0)] + rank) % size

    def put(old: Shaped[Array, "N K ..."], new: Shaped[ArrayLike, "B ..."]) -> Shaped[Array, "N K ..."]:
        return old.at[row, slot].set(jnp.asarray(new).astype(old.dtype), mode="drop")

    added = jax.ops.segment_sum(stored.astype(jnp.int32), jnp.where(stored, index, number), num_segments=number + 1)[:number]
    return ReplayBuffer(
        tokens=put(table.tokens, tokens),
        mask=put(table.mask, counts(mask)),
        logprobs=put(table.logprobs, masked(old_logprobs, mask)),
        rewards=put(table.rewards, masked(rewards, stored)),
        temperature=put(table.temperature, temperature),
        truncated=put(table.truncated, counts(truncated)),
        policy_step=put(table.policy_step, policy_step),
        number=table.number + added.astype(table.number.dtype),
    )


@checked(rows="[1, inf)", strategy="{recent, highest, random, max_variance}", minimum="[0, inf)")
def select_replay(
    key: RandomKey,
    rewards: Float[ArrayLike, "P K"],
    number: Int[ArrayLike, "P"],
    *,
    rows: int = 8,
    strategy: str = "recent",
    minimum: int = 16,
) -> tuple[Int[Array, "P rows"], Bool[Array, "P rows"]]:
    """Which slots of every prompt's buffer are replayed, and whether they hold a response; all False below `minimum` stored responses.

    rewards: of the slots; number: how many responses were ever stored. strategy "recent": the latest; "highest": the largest rewards;
    "random": drawn without replacement; "max_variance": the subset whose rewards have the largest population variance, of several the
    one with the largest sum (exact: some of the highest and some of the lowest). Ties: the older response. The slots are in no order.
    rows equal to K replays all there is. Raises ValueError for rows above K and for another strategy.
    Source: RePO, arXiv 2506.09340, and its released code (16 stored responses, 8 of them replayed).
    """
    rewards, number = floating(rewards), jnp.asarray(number)
    size = rewards.shape[1]
    if rows > size:
        raise ValueError(f"select_replay: rows is {rows}, allowed: at most {size}, the size of the buffer")
    filled = jnp.minimum(number, size)[:, None]
    age = (number[:, None] - 1 - jnp.arange(size)) % size  # 0 for the latest; empty slots come last
    exists = age < filled
    # From the best to the worst; among equals the older one first, which is also the one that is found first in a list by age.
    scores = {
        "recent": lambda: -age.astype(rewards.dtype),
        "random": lambda: jax.random.uniform(key, rewards.shape, rewards.dtype),
    }.get(strategy, lambda: rewards)()
    order = jnp.lexsort((-age, -jnp.where(exists, scores, 0.0), ~exists), axis=1)
    chosen = order[:, :rows]
    if strategy == "max_variance":
        chosen = jnp.argsort(~_most_spread(rewards, order, age, exists, rows), axis=1, stable=True)[:, :rows]
    return chosen, jnp.take_along_axis(exists, chosen, axis=1) & (filled >= max(minimum, 1))


def _most_spread(
    rewards: Float[Array, "P K"], falling: Int[Array, "P K"], age: Int[Array, "P K"], exists: Bool[Array, "P K"], rows: int
) -> Bool[Array, "P K"]:
    """The subset of largest variance: i highest and rows - i lowest of the others, for the largest i that is best.

    Moving any member to the nearer end of the sorted rewards cannot lower the variance, so that no other subset is better.
    """
    rising = jnp.lexsort((-age, jnp.where(exists, rewards, 0.0), ~exists), axis=1)
    from_top, from_bottom = jnp.argsort(falling, axis=1), jnp.argsort(rising, axis=1)  # the place of every slot
    best = jnp.full((rewards.shape[0], 1), -jnp.inf, rewards.dtype)
    chosen = exists
    for high in range(rows + 1):
        top = exists & (from_top < high)
        left = jnp.take_along_axis(exists & ~top, rising, axis=1)
        low = left & (jnp.cumsum(left, axis=1) <= rows - high)
        subset = top | jnp.take_along_axis(low, from_bottom, axis=1)
        count = jnp.maximum(jnp.sum(subset, axis=1, keepdims=True), 1)
        mean = jnp.sum(jnp.where(subset, rewards, 0.0), axis=1, keepdims=True) / count
        spread = jnp.sum(jnp.where(subset, rewards - mean, 0.0) ** 2, axis=1, keepdims=True) / count
        better = spread >= best - 1e-6 * jnp.abs(jnp.where(jnp.isfinite(best), best, 0.0))  # equal ones differ by rounding
        chosen, best = jnp.where(better, subset, chosen), jnp.maximum(best, spread)
    return chosen


# RePO: rollouts=("replay", dict(inner=("independent", {}))), trackers=dict(buffer=("replay_buffer", {}))
replay_buffer = Tracker(init_replay_buffer, update_replay_buffer)
