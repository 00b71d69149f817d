"""Rows of earlier iterations beside fresh ones, from a table of each prompt's latest responses."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from pojax.checks import check_range
from pojax.rollouts.rows import assemble, block_groups, block_values, interleave, mark_added, repeat_rows
from pojax.trackers.replay import select_replay
from pojax.types import Rollout, Samples


def replay(
    key: Any,
    indices: Any,
    render: Any,
    verify: Any,
    buffer: Any,
    *,
    inner: Callable[..., Rollout],
    rows: int = 8,
    strategy: str = "recent",
    minimum: int = 16,
) -> Rollout:
    """`inner`, and after each of its blocks `rows` earlier responses to the same prompt: component `replayed` 1, `sampled` 0.

    buffer: the table of the tracker `replay_buffer`, as it was before this iteration. The rows bring the log-probabilities, the temperature
    and the policy_step of when they were sampled, and join their prompt's group; the label `pools` sets them apart from the fresh ones.
    Where the table holds fewer than `minimum` responses to a prompt its replay rows are out. strategy: see `select_replay`.
    They are verified again, so that `rewards` are computed as for any row; a verifier that is not a function of the response would differ.
    Raises ValueError for another strategy and for rows above the size of the table.
    Source: RePO, arXiv 2506.09340, and its released code.
    """
    check_range("replay", "minimum", minimum, "[0, inf)")
    fresh = inner(key=jax.random.fold_in(key, 0), indices=indices)
    index = block_values(fresh.prompt_index, fresh.block)
    n = index.shape[0] * rows
    slots, filled = select_replay(
        jax.random.fold_in(key, 1), buffer.rewards[index], buffer.number[index], rows=rows, strategy=strategy, minimum=minimum
    )

    def take(x: Any) -> Any:  # [N, K, ...] -> [n, ...]
        return x[index[:, None], slots].reshape(n, *x.shape[2:])

    old = take(buffer.logprobs)
    again = Samples(take(buffer.tokens), take(buffer.mask), ~take(buffer.truncated), old, old, None)
    verdicts = verify(repeat_rows(index, rows), again)
    added = assemble(index, render(index), again, verdicts, per_prompt=rows, temperature=take(buffer.temperature))
    groups = repeat_rows(block_groups(fresh), rows)
    added = dataclasses.replace(
        added, groups=jnp.where((added.groups >= 0) & filled.reshape(n), groups, -1), policy_step=take(buffer.policy_step)
    )
    return interleave(*mark_added(fresh, added, "replayed"))
