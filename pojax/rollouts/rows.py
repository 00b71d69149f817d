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
        old_entropy=samples.entropy, temperature=jnp.broadcast_to(jnp.asarray(temperature, jnp.result_type(float)), (n,)),
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
