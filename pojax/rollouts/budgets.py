"""Rows cut at budgets, each cut scored by short summaries drawn from there."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from pojax.annotations import Hyper
from pojax.checks import check_range
from pojax.rollouts.rows import assemble, at_least, interleave, repeat_rows, row_keys, row_temperature
from pojax.rollouts.vine import mean_scores, scores
from pojax.types import Rollout


def budget_cuts(
    key: Any,
    indices: Any,
    render: Any,
    sample: Any,
    extend: Any,
    verify: Any,
    reward: Any,
    encode: Callable[[str], list[int]],
    response_tokens: int,
    *,
    samples: int = 8,
    budgets: int | str = 4,
    summaries: int = 4,
    summary_tokens: int = 128,
    marker: str = "",
    summary_rows: bool = False,
    temperature: Hyper = 1.0,
) -> Rollout:
    """`samples` rows of each prompt; from each row, cut at each budget, `summaries` short continuations, whose mean reward is its score.

    budgets: how many, evenly spaced, the last as late as a summary allows, or their tokens, as "2000-4000-8000". Rows are drawn up to the
    last budget. A summary is the row up to the budget, the text `marker` (which the policy has not chosen), then at most `summary_tokens`
    tokens; it is judged as one text, by the method's own rewards. A row that ended before a budget is scored there as it is.
    Writes the component `budget_scores` [B, budgets] and the label `budget` [B, T]: how many budgets end before token t, -1 where mask is
    0. Summaries that could not be scored are left out of the mean; a row with a budget without any is out. No prefix is run twice.
    summary_rows: the summaries are rows too, behind the rows of their prompt, mask 1 on their own tokens alone, budget_scores 0, budget -1;
    the summaries of rows that had ended are out. Labels `cut` [B] (one id to a row and budget, -1 on the rows that were cut), `thinking`
    [B] and `summary` [B]: the groups of the rows that were cut and of the summaries, -1 on the others.
    Raises ValueError for samples, summaries or summary_tokens < 1, and for budgets that do not rise or leave no room for a summary.
    Source: BRPO (AnytimeReasoner), arXiv 2505.13438, section 3.
    """
    for name, value in (("samples", samples), ("summaries", summaries), ("summary_tokens", summary_tokens)):
        at_least("budget_cuts", name, value, 1)
    check_range("budget_cuts", "temperature", temperature, "[0, inf)")
    told = encode(marker) if marker else []
    ends = jnp.array(_budgets(budgets, response_tokens - len(told) - summary_tokens))
    n, m, prompts = indices.shape[0] * samples, ends.shape[0], render(indices)
    rows, held = sample(row_keys(key, n), prompts, temperature=row_temperature(temperature, n), limits=jnp.full(n, ends[-1]), hold=True)
    rollout = assemble(indices, prompts, rows, verify(repeat_rows(indices, samples), rows), per_prompt=samples, temperature=temperature)
    over = rows.ended[:, None] & (held.lengths[:, None] <= ends)  # [n, m]

    total, width = n * m * summaries, rows.tokens.shape[1]
    idle, cuts = (repeat_rows(x.reshape(-1), summaries) for x in (over, jnp.minimum(ends, held.lengths[:, None])))
    forced = jnp.broadcast_to(jnp.array(told, jnp.int32), (total, len(told))), jnp.where(idle, 0, len(told))
    drawn, after = extend(
        held, row_keys(key, total, 1), repeat_rows(jnp.arange(n), m * summaries), cuts, temperature=row_temperature(temperature, total),
        limits=jnp.where(idle, 0, summary_tokens), forced=forced if told else None, hold=True,
    )  # fmt: skip
    column = jnp.arange(width)
    read = drawn._replace(mask=column < after.lengths[:, None])  # the verifier reads what stands there, whoever wrote it
    verdicts = verify(repeat_rows(indices, samples * m * summaries), read)
    found = scores(indices, prompts, read, lambda *_: verdicts, reward, temperature)
    own = scores(indices, prompts, rows, lambda *_: rollout.components, reward, temperature)
    table = jnp.where(over, own[:, None], mean_scores(found.reshape(n, m, summaries)))
    unknown = jnp.any(jnp.isnan(table), axis=1)
    budget = jnp.where(rows.mask, jnp.sum(column[:, None] >= ends, axis=1, dtype=jnp.int32), -1)
    rollout = dataclasses.replace(
        rollout,
        groups=jnp.where(unknown, -1, rollout.groups),
        components={**rollout.components, "budget_scores": jnp.where(unknown[:, None], 0.0, table)},
        labels={"budget": budget},
    )
    if not summary_rows:
        return rollout
    chosen = drawn._replace(mask=drawn.mask & (column >= cuts[:, None]))
    added = assemble(indices, prompts, chosen, verdicts, per_prompt=samples * m * summaries, temperature=temperature)
    added = dataclasses.replace(
        added,
        groups=jnp.where(idle, -1, added.groups),
        components={**added.components, "budget_scores": jnp.zeros((total, m), table.dtype)},
        labels={"budget": jnp.full((total, width), -1, jnp.int32)},
    )
    return _with_summaries(rollout, added, summaries)


def _budgets(budgets: int | str, room: int) -> list[int]:
    """Tokens at which rows are cut, in rising order; ValueError where they are none, or the last is beyond `room`."""
    if isinstance(budgets, str):
        parts = budgets.split("-")
        ends = [int(part) for part in parts] if all(part.isdigit() for part in parts) else []
    else:
        ends = [room * (j + 1) // budgets for j in range(budgets)]
    if not ends or ends[0] < 1 or ends[-1] > room or any(a >= b for a, b in zip(ends, ends[1:], strict=False)):
        raise ValueError(
            f"budget_cuts: budgets is {budgets!r}, allowed: rising numbers of tokens, at least 1 and at most {room}, "
            "which is response_tokens without the marker and summary_tokens"
        )
    return ends


def _with_summaries(rollout: Rollout, added: Rollout, summaries: int) -> Rollout:
    """Rows and their summaries in one batch, told apart by labels."""

    def label(x: Rollout, groups: Any, cut: Any) -> Rollout:
        thinking, summary = groups
        return dataclasses.replace(x, labels={**x.labels, "thinking": thinking, "summary": summary, "cut": cut.astype(jnp.int32)})

    none, no = (jnp.full(x.groups.shape, -1, jnp.int32) for x in (rollout, added))
    first = label(rollout, (rollout.groups, none), none)
    cuts = jnp.where(added.groups >= 0, jnp.arange(added.groups.shape[0]) // summaries, -1)
    second = label(added, (no, added.groups), cuts)
    return interleave(*(jax.tree.map(jnp.asarray, x) for x in (first, second)))
