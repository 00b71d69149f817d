"""Independent rows, and the worth of the states inside them by continuations drawn from there."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp

from pojax.annotations import Hyper, gives
from pojax.checks import check_range
from pojax.rollouts.boundaries import GIVEN, segment_starts
from pojax.rollouts.rows import assemble, at_least, repeat_rows, row_keys, row_temperature
from pojax.types import Prompts, Rollout, Samples


@gives(*GIVEN)
def vine(
    key: Any,
    indices: Any,
    render: Any,
    sample: Any,
    extend: Any,
    verify: Any,
    reward: Any,
    *,
    boundaries: Callable[..., Any],
    samples: int = 8,
    continuations: int = 9,
    max_cuts: int = 8,
    beyond: str = "join",
    temperature: Hyper = 1.0,
) -> Rollout:
    """`samples` rows of each prompt, cut into segments; `continuations` continuations from the state before each segment are its value.

    boundaries: where segments begin, one of `every`, `low_probability`, `after_token`, or a function of yours. The first segment begins at
    the prompt, whose value is that of `continuations` responses of their own, shared by the prompt's rows.
    Writes `values` [B, T]: mean reward of the continuations from the state before the segment of token t, by the method's own rewards; and
    the label `segment` [B, T]: 0, 1, 2 ... along the row, -1 where mask is 0. Continuations are never rows; no prefix is run twice.
    max_cuts: values per row. Where a row has more segments: "join", the last one goes on to the end of the row; "missing", the segments
    after it have value NaN, which `segment_advantages` fills from the end, so that they have advantage 0 (released code of VinePPO).
    A continuation that could not be scored is left out of the mean; a row with a segment without any is out.
    Raises ValueError for samples, continuations or max_cuts < 1 and for another `beyond`.
    Source: VinePPO, arXiv 2410.01679, section 4; SPO-chain, arXiv 2505.23564, section 3.
    """
    for name, value in (("samples", samples), ("continuations", continuations), ("max_cuts", max_cuts)):
        at_least("vine", name, value, 1)
    check_range("vine", "beyond", beyond, "{join, missing}")
    check_range("vine", "temperature", temperature, "[0, inf)")
    n = indices.shape[0] * samples
    prompts = render(indices)
    rows, held = sample(row_keys(key, n), prompts, temperature=row_temperature(temperature, n), hold=True)
    rollout = assemble(indices, prompts, rows, verify(repeat_rows(indices, samples), rows), per_prompt=samples, temperature=temperature)
    begins = segment_starts(boundaries, rollout)
    number = jnp.cumsum(begins, axis=1, dtype=jnp.int32) - 1
    segment = jnp.where(rows.mask, jnp.minimum(number, max_cuts - 1) if beyond == "join" else number, -1)

    def worth(call: int, parents: Any, cuts: Any, wanted: Any) -> Any:
        """Value of the states before token cuts[r] of row parents[r], [n]; NaN where no continuation could be scored."""
        m = parents.shape[0] * continuations
        heat = row_temperature(temperature, m)
        parents, cuts, wanted = (repeat_rows(x, continuations) for x in (parents, cuts, wanted))
        drawn = extend(held, row_keys(key, m, call), parents, cuts, temperature=heat, limits=jnp.where(wanted, rows.tokens.shape[1], 0))
        return mean_scores(scores(indices, prompts, drawn, verify, reward, temperature).reshape(-1, continuations))

    first = jnp.arange(indices.shape[0]) * samples
    table = [repeat_rows(worth(1, first, jnp.zeros_like(first), jnp.ones(first.shape, bool)), samples)[:, None]]
    if max_cuts > 1:
        at = begins[:, None, :] & (number[:, None, :] == jnp.arange(1, max_cuts)[:, None])  # [n, cuts, T]
        exists = jnp.any(at, axis=2)
        parents = repeat_rows(jnp.arange(n), max_cuts - 1)
        found = worth(2, parents, jnp.argmax(at, axis=2).reshape(-1), exists.reshape(-1)).reshape(n, -1)
        table.append(jnp.where(exists, found, 0.0))
    known = jnp.concatenate(table, axis=1)
    unknown = jnp.any(jnp.isnan(known), axis=1)
    values = jnp.take_along_axis(jnp.where(jnp.isnan(known), 0.0, known), jnp.clip(segment, 0, max_cuts - 1), axis=1)
    values = jnp.where(segment >= max_cuts, jnp.nan, jnp.where(segment >= 0, values, 0.0))
    groups = jnp.where(unknown, -1, rollout.groups)
    return dataclasses.replace(rollout, groups=groups, values=values, labels={**rollout.labels, "segment": segment})


def scores(indices: Any, prompts: Prompts, drawn: Samples, verify: Any, reward: Any, temperature: Any) -> Any:
    """Rewards [m] of auxiliary rows by the method's own rewards, m / P to each prompt; NaN where a row could not be scored."""
    per_prompt = drawn.tokens.shape[0] // indices.shape[0]
    verdicts = verify(repeat_rows(indices, per_prompt), drawn)
    rollout = assemble(indices, prompts, drawn, verdicts, per_prompt=per_prompt, temperature=temperature)
    return jnp.where(rollout.groups >= 0, reward(rollout), jnp.nan)


def mean_scores(found: Any) -> Any:
    """Mean over the last axis of what is not NaN; NaN where nothing is left."""
    known = ~jnp.isnan(found)
    count = jnp.sum(known, axis=-1)
    mean = jnp.sum(jnp.where(known, found, 0.0), axis=-1) / jnp.maximum(count, 1)
    return jnp.where(count > 0, mean, jnp.nan)
