"""What arrangements share: keys of rows, rows from samples, and putting rollouts together."""

import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp

from pojax.types import Prompts, Rollout, Samples


def row_keys(key: Any, n: int, call: int = 0) -> Any:
    """A key for each of n rows [n]; call: the number of the `sample` call in the arrangement. The sampler folds in the position."""
    key = jax.random.fold_in(key, call)
    return jax.vmap(lambda row: jax.random.fold_in(key, row))(jnp.arange(n))


def row_temperature(temperature: Any, n: int) -> Any:
    """A temperature as an array [n], as the sampler takes it."""
    return jnp.broadcast_to(jnp.asarray(temperature, jnp.result_type(float)), (n,))


def at_least(function: str, name: str, value: int, low: int) -> None:
    """ValueError where a static number of an arrangement is too small."""
    if value < low:
        raise ValueError(f"{function}: {name} is {value}, allowed: {low} or more")


def repeat_rows(x: Any, samples: int) -> Any:
    """Each row `samples` times, side by side."""
    return jax.tree.map(lambda a: jnp.repeat(jnp.asarray(a), samples, axis=0), x)


def assemble(indices: Any, prompts: Prompts, samples: Samples, components: dict[str, Any], *, per_prompt: int, temperature: Any) -> Rollout:
    """The Rollout of P prompts with `per_prompt` rows each: groups are prompt slots, and rows with a NaN component are out.

    indices [P]; prompts [P, S]; samples and components [P * per_prompt].
    """
    n = samples.tokens.shape[0]
    slots = jnp.repeat(jnp.arange(n // per_prompt, dtype=jnp.int32), per_prompt)
    scored = jnp.ones(n, bool)
    for value in components.values():
        if jnp.issubdtype(jnp.asarray(value).dtype, jnp.floating):
            scored &= ~jnp.isnan(value).reshape(n, -1).any(axis=1)
    rows = repeat_rows(prompts, per_prompt)
    return Rollout(
        prompt_tokens=rows.tokens, prompt_mask=rows.mask, tokens=samples.tokens, mask=samples.mask, groups=jnp.where(scored, slots, -1),
        prompt_index=repeat_rows(indices, per_prompt), rollout_logprobs=samples.rollout_logprobs, old_logprobs=samples.old_logprobs,
        old_entropy=samples.entropy, temperature=row_temperature(temperature, n),
        truncated=~samples.ended, components=components, block=per_prompt,
    )  # fmt: skip


def concatenate(first: Rollout, second: Rollout) -> Rollout:
    """The rows of both; groups of the second come after those of the first. ValueError where one has a field that the other lacks."""
    offset = first.tokens.shape[0]  # there are never more groups than rows
    second = dataclasses.replace(second, groups=jnp.where(second.groups < 0, -1, second.groups + offset))
    block = math.lcm(first.block, second.block)
    for rollout in (first, second):
        if rollout.tokens.shape[0] % block:
            raise ValueError(f"mix: {rollout.tokens.shape[0]} rows in blocks of {rollout.block} do not fill whole blocks of {block}")
    a, b = (dataclasses.replace(r, block=block) for r in (first, second))
    if jax.tree.structure(a) != jax.tree.structure(b):  # type: ignore[operator]  # the stub of PyTreeDef has no comparison
        names = {f"components.{n}" for n in set(a.components) ^ set(b.components)} | {f"labels.{n}" for n in set(a.labels) ^ set(b.labels)}
        names |= {f.name for f in dataclasses.fields(a) if (getattr(a, f.name) is None) != (getattr(b, f.name) is None)}
        raise ValueError(f"mix: only one of the two arrangements gives {', '.join(sorted(names))}")
    return jax.tree.map(lambda x, y: jnp.concatenate([x, y]), a, b)


def mark_added(fresh: Rollout, added: Rollout, name: str) -> tuple[Rollout, Rollout]:
    """Both rollouts with the same fields, and with what tells their rows apart, so that they can stand in one batch.

    Component `name` is 1 on added rows, `sampled` 1 on rows that no arrangement added. The label `pools` has the rows of a group that have
    one origin: `groups="pools"` in a rule keeps added rows out of the statistics of the sampled ones. What only one of the two has is 0 in
    the other, labels -1; `policy_step` -1 is filled in when the rollout is stamped.
    """
    rows = added.tokens.shape[0]

    def fill(value: Any, n: int, blank: int) -> Any:
        return jnp.full((n, *value.shape[1:]), blank, value.dtype)

    changes: tuple[dict[str, Any], dict[str, Any]] = ({}, {})
    for field in ("rollout_logprobs", "old_logprobs", "old_entropy", "temperature", "policy_step", "truncated", "values"):
        have, other = getattr(fresh, field), getattr(added, field)
        blank = -1 if field == "policy_step" else 0
        if have is None and other is not None:
            changes[0][field] = fill(other, fresh.tokens.shape[0], blank)
        if other is None and have is not None:
            changes[1][field] = fill(have, rows, blank)
    flag = jnp.ones(fresh.tokens.shape[0], jnp.result_type(float))
    kept = {"sampled": flag} | fresh.components | {name: 0.0 * flag}
    blanks = {n: fill(x, rows, 0) for n, x in kept.items()}
    given = {n: x for n, x in added.components.items() if n in kept}
    pools: Any = fresh.labels.get("pools", fresh.groups)
    offset = jnp.maximum(jnp.max(pools), jnp.max(fresh.groups)) + 1
    labels = {n: fill(x, rows, -1) for n, x in fresh.labels.items()} | {"pools": jnp.where(added.groups < 0, -1, added.groups + offset)}
    added = dataclasses.replace(added, **changes[1], components=blanks | given | {name: jnp.ones(rows, flag.dtype)}, labels=labels)
    return dataclasses.replace(fresh, **changes[0], components=kept, labels={**fresh.labels, "pools": pools}), added


def interleave(fresh: Rollout, added: Rollout) -> Rollout:
    """Rows of both, block by block: a block of `fresh`, then its share of `added`. Group ids stay, so equal ones become one group."""
    blocks = fresh.tokens.shape[0] // fresh.block
    share = added.tokens.shape[0] // blocks

    def join(a: Any, b: Any) -> Any:
        parts = a.reshape(blocks, fresh.block, *a.shape[1:]), b.reshape(blocks, share, *b.shape[1:])
        return jnp.concatenate(parts, axis=1).reshape(-1, *a.shape[1:])

    block = fresh.block + share
    return jax.tree.map(join, *(dataclasses.replace(rollout, block=block) for rollout in (fresh, added)))


def block_values(x: Any, block: int) -> Any:
    """The first entry of every block [B] -> [B / block]."""
    return x.reshape(-1, block)[:, 0]


def block_groups(rollout: Rollout) -> Any:
    """The group of every block: the largest id of its rows, -1 where all are out."""
    return jnp.max(rollout.groups.reshape(-1, rollout.block), axis=1)
