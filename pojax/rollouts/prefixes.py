"""Responses that start from prefixes of worked solutions."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from pojax.annotations import Hyper, gives
from pojax.checks import check_range
from pojax.rollouts.boundaries import GIVEN, segment_starts
from pojax.rollouts.rows import assemble, at_least, repeat_rows, row_keys, row_temperature
from pojax.types import Rollout, Samples


@gives(*GIVEN)
def from_prefixes(
    key: Any,
    indices: Any,
    render: Any,
    sample: Any,
    demonstrate: Any,
    verify: Any,
    *,
    boundaries: Callable[..., Any],
    samples: int = 8,
    temperature: Hyper = 1.0,
) -> Rollout:
    """`samples` rows of each prompt; every row goes on from the first k steps of the worked solution, k drawn uniformly, 0 included.

    boundaries: where steps begin in the worked solution, one of `every`, `after_token`, or a function of yours that needs tokens and mask
    alone (log-probabilities of solutions are given as 0). k is at most the number of steps less one. The prefix is in the row with mask
    0: the policy has read it, nothing learns to write it, and the verifier judges it together with what follows.
    Writes the label `prefix` [B, T]: the prefix as steps, 0, 1 .. k - 1 and then -1, as `prefix_advantages` reads it. The prefixes of a
    prompt are nested, one branch of a tree: a solution is one trace.
    Raises ValueError for samples < 1. Source: Tree-OPO, arXiv 2509.09284, section 3.1 (staged prefixes of a teacher's traces).
    """
    at_least("from_prefixes", "samples", samples, 1)
    check_range("from_prefixes", "temperature", temperature, "[0, inf)")
    n, prompts, (tokens, mask) = indices.shape[0] * samples, render(indices), demonstrate(indices)
    zeros = jnp.zeros(tokens.shape, jnp.result_type(float))
    written = Samples(tokens, mask, jnp.ones(tokens.shape[0], bool), zeros, zeros, zeros)
    begins = segment_starts(boundaries, assemble(indices, prompts, written, {}, per_prompt=1, temperature=temperature))
    steps, begins, tokens = (repeat_rows(x, samples) for x in (jnp.sum(begins, axis=1), begins, tokens))
    keys = row_keys(key, n)
    # A token's noise folds its position into the row's key: a number that is no position keeps the two apart.
    noise = jax.vmap(lambda k: jax.random.uniform(jax.random.fold_in(k, tokens.shape[1])))(keys)
    number = jnp.minimum((noise * steps).astype(jnp.int32), jnp.maximum(steps - 1, 0))
    column = jnp.arange(tokens.shape[1])
    after = begins & (jnp.cumsum(begins, axis=1) == number[:, None] + 1)  # the first token behind the prefix
    counts = jnp.where(number > 0, jnp.argmax(after, axis=1), 0).astype(jnp.int32)
    rows = sample(keys, prompts, temperature=row_temperature(temperature, n), forced=(tokens, counts))
    whole = rows._replace(mask=rows.mask | (column < counts[:, None]))
    verdicts = verify(repeat_rows(indices, samples), whole)
    rollout = assemble(indices, prompts, rows, verdicts, per_prompt=samples, temperature=temperature)
    prefix = jnp.where(column < number[:, None], column, -1).astype(jnp.int32)
    return dataclasses.replace(rollout, labels={**rollout.labels, "prefix": prefix})
