"""The arrangements: which prompts are sampled how often, and what is done with the verdicts before the update sees them."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from pojax.annotations import Hyper
from pojax.checks import check_range
from pojax.rollouts.rows import assemble, at_least, concatenate, repeat_rows, row_keys, row_temperature
from pojax.types import Rollout, Samples


def independent(key: Any, indices: Any, render: Any, sample: Any, verify: Any, *, samples: int = 8, temperature: Hyper = 1.0) -> Rollout:
    """`samples` independent responses to each prompt, verified: B = P * samples rows, the rows of a prompt side by side.

    indices [P]. temperature: of the sampling policy, and of the learner's log-probabilities of these rows.
    Raises ValueError for samples < 1.
    """
    at_least("independent", "samples", samples, 1)
    check_range("independent", "temperature", temperature, "[0, inf)")
    n = indices.shape[0] * samples
    prompts = render(indices)
    rows = sample(row_keys(key, n), prompts, temperature=row_temperature(temperature, n))
    return assemble(indices, prompts, rows, verify(repeat_rows(indices, samples), rows), per_prompt=samples, temperature=temperature)


def greedy_baseline(
    key: Any, indices: Any, render: Any, sample: Any, verify: Any, reward: Any, *, samples: int = 1, temperature: Hyper = 1.0
) -> Rollout:
    """`independent`, and one greedy response to each prompt, whose reward is the component `greedy_rewards` [B] of all its rows.

    The greedy responses are scored by the method's own `rewards`, so the baseline has their units; they are never rows.
    Source: ReMax, arXiv 2310.10505, algorithm 1.
    """
    rollout = independent(key, indices, render, sample, verify, samples=samples, temperature=temperature)
    prompts, n = render(indices), indices.shape[0]
    greedy = sample(row_keys(key, n, call=1), prompts, temperature=jnp.zeros(n, jnp.result_type(float)))
    auxiliary = assemble(indices, prompts, greedy, verify(indices, greedy), per_prompt=1, temperature=1.0)
    scored = jnp.where(auxiliary.groups >= 0, reward(auxiliary), jnp.nan)
    baseline = repeat_rows(scored, samples)
    out = jnp.isnan(baseline)  # a greedy response that could not be scored leaves its rows without a baseline
    groups = jnp.where(out, -1, rollout.groups)
    return dataclasses.replace(rollout, groups=groups, components={**rollout.components, "greedy_rewards": jnp.where(out, 0.0, baseline)})


def refill(
    key: Any,
    indices: Any,
    select: Any,
    cond: Any,
    *,
    inner: Callable[..., Rollout],
    rounds: int = 3,
    metric: str = "correct",
    until: Hyper = 1.0,
) -> Rollout:
    """Dynamic sampling: keep groups whose `metric` differs between rows; sample fresh prompts until enough are kept, up to `rounds` times.

    inner: the arrangement that is repeated; its groups must be its blocks. metric: a component. What is not filled has groups -1.
    Group i of the result has the rows of one kept prompt, wherever it was sampled; rounds after the batch is full cost nothing.
    until: the share of the batch that is enough: 1 is DAPO's, GPG goes on while fewer than 0.6 (its beta_th) of the groups are kept.
    Raises ValueError for rounds < 1, for an unknown metric, and for until outside (0, 1].
    Source: DAPO, arXiv 2503.14476, eq. (11); GPG, arXiv 2504.02546, section on the threshold of valid groups.
    """
    at_least("refill", "rounds", rounds, 1)
    check_range("refill", "until", until, "(0, 1]")
    first = inner(key=jax.random.fold_in(key, 0), indices=indices)
    if metric not in first.components:
        raise ValueError(f"refill: metric is {metric!r}, which is no component; allowed: {', '.join(sorted(first.components))}")
    blank = dataclasses.replace(first, groups=jnp.full_like(first.groups, -1))
    batch, filled = _fill(blank, jnp.int32(0), first, metric)

    def another(round_key: Any, batch: Rollout, filled: Any) -> tuple[Rollout, Any]:
        fresh = inner(key=round_key, indices=select(jax.random.fold_in(round_key, 1))[: indices.shape[0]])
        return _fill(batch, filled, fresh, metric)

    capacity = first.tokens.shape[0] // first.block
    for i in range(1, rounds):
        batch, filled = cond(
            filled < until * capacity, another, lambda _, batch, filled: (batch, filled), jax.random.fold_in(key, i), batch, filled
        )
    return batch


def _fill(batch: Rollout, filled: Any, fresh: Rollout, metric: str) -> tuple[Rollout, Any]:
    """Move the kept blocks of `fresh` into the free blocks of `batch`, in order; `filled` blocks are taken already."""
    block, rows = batch.block, batch.tokens.shape[0]
    blocks = rows // block
    score, inside = fresh.components[metric].reshape(blocks, block), (fresh.groups >= 0).reshape(blocks, block)
    high = jnp.max(jnp.where(inside, score, -jnp.inf), axis=1)
    low = jnp.min(jnp.where(inside, score, jnp.inf), axis=1)
    kept = (high > low) & inside.any(axis=1)
    target = jnp.where(kept, filled + jnp.cumsum(kept) - 1, blocks)  # beyond the last block: dropped

    def move(old: Any, new: Any) -> Any:
        shape = (blocks, block, *old.shape[1:])
        return old.reshape(shape).at[target].set(new.reshape(shape), mode="drop").reshape(old.shape)

    slots = jnp.repeat(jnp.arange(blocks, dtype=jnp.int32), block)
    moved = jax.tree.map(move, batch, fresh)
    # A block's group is its slot: fresh prompts of different rounds would otherwise share ids.
    groups = jnp.where(moved.groups >= 0, slots, -1)
    return dataclasses.replace(moved, groups=groups), jnp.minimum(filled + jnp.sum(kept, dtype=jnp.int32), blocks)


def mix(key: Any, indices: Any, *, first: Callable[..., Rollout], second: Callable[..., Rollout], first_prompts: int) -> Rollout:
    """Two arrangements in one batch: the first `first_prompts` prompts go to `first`, the others to `second`; the label `part` says which.

    Both must give the same fields. Raises ValueError unless 0 < first_prompts < P.
    """
    if not 0 < first_prompts < indices.shape[0]:
        raise ValueError(f"mix: first_prompts is {first_prompts}, allowed: 1 to {indices.shape[0] - 1}")
    a = first(key=jax.random.fold_in(key, 0), indices=indices[:first_prompts])
    b = second(key=jax.random.fold_in(key, 1), indices=indices[first_prompts:])
    part = jnp.concatenate([jnp.zeros(a.tokens.shape[0], jnp.int32), jnp.ones(b.tokens.shape[0], jnp.int32)])
    both = concatenate(a, b)
    return dataclasses.replace(both, labels={**both.labels, "part": part})


def demonstrations(indices: Any, render: Any, demonstrate: Any) -> Rollout:
    """The worked solution of each prompt as the one row of its group; nothing is sampled. For supervised methods."""
    prompts, (tokens, mask) = render(indices), demonstrate(indices)
    n = indices.shape[0]
    zeros = jnp.zeros(tokens.shape, jnp.result_type(float))
    rollout = assemble(indices, prompts, Samples(tokens, mask, jnp.ones(n, bool), zeros, zeros), {}, per_prompt=1, temperature=1.0)
    return dataclasses.replace(rollout, rollout_logprobs=None, old_logprobs=None)


def with_solutions(indices: Any, demonstrate: Any, key: Any, *, inner: Callable[..., Rollout]) -> Rollout:
    """The rollout of `inner` with the worked solution of each row's prompt: components `solution_tokens` [B, T], `solution_mask` [B, T].

    inner: any arrangement whose rows carry their `prompt_index`. Nothing more is sampled.
    """
    rollout = inner(key=key, indices=indices)
    tokens, mask = demonstrate(jnp.maximum(rollout.prompt_index, 0))
    return dataclasses.replace(rollout, components={**rollout.components, "solution_tokens": tokens, "solution_mask": mask})
