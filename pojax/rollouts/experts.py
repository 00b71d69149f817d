"""Worked solutions as rows of the batch, beside rows that the policy sampled; and seeds for heads that draw tokens."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from pojax.checks import check_range
from pojax.rollouts.rows import assemble, block_groups, block_values, interleave, mark_added
from pojax.types import Rollout, Samples


def experts(
    key: Any,
    indices: Any,
    select: Any,
    render: Any,
    demonstrate: Any,
    verify: Any,
    evaluate: Any,
    *,
    inner: Callable[..., Rollout],
    own: bool = False,
    anchor: str = "policy",
) -> Rollout:
    """`inner`, and after each of its blocks one row with a worked solution: component `expert` 1, `sampled` 0, temperature 1.

    own False: the solution of the block's prompt, a further row of its group; the label `pools` sets it apart from the rows that were
    sampled. own True: the solution of another prompt, drawn by the curriculum, as a group of its own.
    anchor: what old_logprobs of expert rows are: "policy", those of the policy at the start (ratio 1 at first; one forward pass over the
    expert rows); "one", log 1 = 0: the expert is certain of its tokens, so that the ratio is the policy's probability (SRFT, LUFFY).
    rollout_logprobs are 0, old_entropy is 0. Verdicts are those of the verifier on the solution. A prompt without a solution has an
    expert row that is out. Raises ValueError for another anchor, and where own asks for more prompts than the curriculum draws.
    Source: CHORD, arXiv 2508.11408, and HPT, Towards a Unified View of LLM Post-Training, arXiv 2509.04419.
    """
    check_range("experts", "anchor", anchor, "{policy, one}")
    fresh = inner(key=jax.random.fold_in(key, 0), indices=indices)
    index, groups = block_values(fresh.prompt_index, fresh.block), block_groups(fresh)
    blocks = index.shape[0]
    if own:
        if blocks > indices.shape[0]:
            raise ValueError(f"experts: own needs {blocks} prompts, one for each block, allowed: {indices.shape[0]}, what is drawn at once")
        index = select(jax.random.fold_in(key, 1))[:blocks]
        groups = jnp.max(fresh.groups) + 1 + jnp.arange(blocks, dtype=jnp.int32)
    prompts, (tokens, mask) = render(index), demonstrate(index)
    zeros = jnp.zeros(tokens.shape, jnp.result_type(float))
    written = Samples(tokens, mask, jnp.ones(blocks, bool), zeros, zeros)
    if anchor == "policy":
        written = written._replace(old_logprobs=jnp.where(mask, evaluate(prompts, written, jnp.ones(blocks)), 0.0))
    rows = assemble(index, prompts, written, verify(index, written), per_prompt=1, temperature=1.0)
    rows = dataclasses.replace(rows, groups=jnp.where((rows.groups >= 0) & jnp.any(mask != 0, axis=1), groups, -1))
    return interleave(*mark_added(fresh, rows, "expert"))


def seeded(key: Any, indices: Any, *, inner: Callable[..., Rollout]) -> Rollout:
    """`inner` with a random number for every token, component `seeds` [B, T] int32, from which a head can draw.

    Source: One-Token Rollout, arXiv 2509.26313, draws tokens anew at every position and in every iteration.
    """
    rollout = inner(key=jax.random.fold_in(key, 0), indices=indices)
    seeds = jax.random.bits(jax.random.fold_in(key, 1), rollout.tokens.shape, jnp.uint32) >> 1
    return dataclasses.replace(rollout, components={**rollout.components, "seeds": seeds.astype(jnp.int32)})
