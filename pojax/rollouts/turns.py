"""Episodes of several turns: the policy acts, the environment of the task answers, all in one row."""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int, Shaped

from pojax.annotations import Hyper
from pojax.checks import check_range
from pojax.rollouts.rows import assemble, at_least, repeat_rows, row_keys, row_temperature
from pojax.sampling import Held
from pojax.types import Prompts, Rollout, Samples


def turns(
    key: Any,
    indices: Any,
    render: Any,
    sample: Any,
    extend: Any,
    environment: Any,
    *,
    samples: int = 8,
    turns: int = 4,
    action_tokens: int = 8,
    temperature: Hyper = 1.0,
) -> Rollout:
    """`samples` episodes of each prompt, a row each: an action of at most `action_tokens` tokens, an observation, an action ...

    At most `turns` actions; an action ends with an end token, which belongs to it, or at action_tokens. Observations are the environment's
    (`pojax.tasks.Environment`): they are in the row with mask 0, the policy has read them, nothing learns to write them. An episode
    ends when the environment says so, after `turns` actions, or where the row is full.
    Writes the label `turn` [B, T]: the number of the action that token t belongs to, -1 where mask is 0; and the components `step_rewards`
    [B, turns], `anchor` [B, turns] (the environment's id of the state before the turn; -1, and reward 0, in turns that did not happen),
    `episode_return` [B] (their sum) and `done` [B] (the environment ended it; truncated where not). The task's verifier is not asked.
    Raises ValueError for samples, turns or action_tokens < 1, and for a task without an environment.
    Source: GiGPO, arXiv 2505.10978, section 4 (anchor states); multi-turn rows with masked observations as in RAGEN, arXiv 2504.20073.
    """
    for name, value in (("samples", samples), ("turns", turns), ("action_tokens", action_tokens)):
        at_least("turns", name, value, 1)
    check_range("turns", "temperature", temperature, "[0, inf)")
    n, prompts = indices.shape[0] * samples, render(indices)
    keys, heat = row_keys(key, n), row_temperature(temperature, n)
    start = environment.reset(repeat_rows(indices, samples))
    episodes = play_from(start, sample, extend, environment, prompts, keys, heat, turns, action_tokens)
    return rollout_of(episodes, indices, prompts, per_prompt=samples, temperature=temperature)


class Episodes(NamedTuple):
    """n episodes of at most K turns, in the middle of turn `number`, whose action has been drawn and is not yet carried out."""

    rows: Samples
    held: Held
    state: Any  # of the environment, before that turn
    number: Array  # [n]
    alive: Array  # [n] bool
    done: Array  # [n] bool, ended by the environment
    turn: Array  # [n, T] label
    starts: Array  # [n, K] where the action of each turn begins
    rewards: Array  # [n, K]
    anchors: Array  # [n, K], -1 in turns that did not happen
    states: Any  # of the environment, before each turn [n, K, ...]


def play_from(
    state: Any, sample: Any, extend: Any, environment: Any, prompts: Prompts, keys: Any, heat: Any, turns: int, action_tokens: int
) -> Episodes:
    """Episodes from the states before their first turn to their ends."""
    rows, held = sample(keys, prompts, temperature=heat, limits=jnp.full(keys.shape, action_tokens), hold=True)
    return play(_first_turns(state, rows, held, turns), extend, environment, keys, heat, action_tokens)


def _first_turns(state: Any, rows: Samples, held: Held, turns: int) -> Episodes:
    """Episodes of which the first action has been drawn."""
    n = held.lengths.shape[0]
    yes, zeros, table = jnp.ones(n, bool), jnp.zeros(n, jnp.int32), jnp.zeros((n, turns), jnp.int32)
    states = jax.tree.map(lambda x: jnp.zeros((n, turns, *x.shape[1:]), x.dtype), state)
    return Episodes(
        rows, held, state, zeros, yes, ~yes, jnp.full(rows.tokens.shape, -1, jnp.int32), table,
        jnp.zeros((n, turns), jnp.result_type(float)), table - 1, states,
    )  # fmt: skip


def play(episodes: Episodes, extend: Any, environment: Any, keys: Any, heat: Any, action_tokens: int) -> Episodes:
    """Carry out the action, read the observation, draw the next action, until every episode is over."""
    turns = episodes.anchors.shape[1]
    everyone = jnp.arange(episodes.alive.shape[0])
    for i in range(turns):
        episodes, observation = _carry_out(episodes, environment, action_tokens)
        if i == turns - 1:
            break
        counts = jnp.where(episodes.alive, jnp.sum(observation >= 0, axis=1, dtype=jnp.int32), 0)
        start = jnp.minimum(episodes.held.lengths + counts, episodes.rows.tokens.shape[1])
        limits = jnp.where(episodes.alive, action_tokens, 0)
        forced = jnp.maximum(observation, 0), counts
        cuts = episodes.held.lengths
        rows, held = extend(episodes.held, keys, everyone, cuts, temperature=heat, limits=limits, forced=forced, hold=True)
        episodes = episodes._replace(rows=rows, held=held, starts=_write(episodes.starts, episodes.number, start))
    return episodes


def _carry_out(episodes: Episodes, environment: Any, action_tokens: int) -> tuple[Episodes, Int[Array, "n O"]]:
    """One step of the environment for the episodes that have drawn an action; their next turn, and the observation before it."""
    e, k = episodes, episodes.number
    turns, width = e.anchors.shape[1], e.rows.tokens.shape[1]
    start = jnp.take_along_axis(e.starts, jnp.minimum(k, turns - 1)[:, None], axis=1)[:, 0]
    acted = e.alive & (k < turns) & (e.held.lengths > start)
    column = start[:, None] + jnp.arange(action_tokens)
    tokens = jnp.take_along_axis(e.rows.tokens, jnp.minimum(column, width - 1), axis=1)
    mask = acted[:, None] & (column < e.held.lengths[:, None])
    state, observation, reward, done = environment.step(e.state, jnp.where(mask, tokens, 0), mask)
    place = jnp.arange(width)
    inside = acted[:, None] & (place >= start[:, None]) & (place < e.held.lengths[:, None])
    at = jnp.where(acted, k, turns)  # past the last turn: dropped
    done = acted & jnp.asarray(done, bool)
    following = e._replace(
        state=jax.tree.map(lambda new, old: jnp.where(_columns(acted, new.ndim), new, old).astype(old.dtype), state, e.state),
        number=k + 1,
        alive=acted & ~done & (k + 1 < turns),
        done=e.done | done,
        turn=jnp.where(inside, k[:, None], e.turn),
        rewards=_write(e.rewards, at, reward),
        anchors=_write(e.anchors, at, environment.anchor(e.state)),
        states=jax.tree.map(lambda table, x: _write(table, at, x), e.states, e.state),
    )
    return following, jnp.asarray(observation, jnp.int32)


def _columns(x: Bool[Array, "n"], rank: int) -> Bool[Array, "n ..."]:
    return x.reshape((-1,) + (1,) * (rank - 1))


def _write(table: Shaped[Array, "n K ..."], at: Int[Array, "n"], x: Any) -> Shaped[Array, "n K ..."]:
    """One entry of each row; columns past the last are dropped."""
    return table.at[jnp.arange(table.shape[0]), at].set(jnp.asarray(x, table.dtype), mode="drop")


def rollout_of(episodes: Episodes, indices: Any, prompts: Prompts, *, per_prompt: int, temperature: Any) -> Rollout:
    """Finished episodes as rows."""
    components = {
        "step_rewards": episodes.rewards,
        "anchor": episodes.anchors,
        "episode_return": jnp.sum(episodes.rewards, axis=1),
        "done": episodes.done.astype(episodes.rewards.dtype),
    }
    rollout = assemble(indices, prompts, episodes.rows, components, per_prompt=per_prompt, temperature=temperature)
    return dataclasses.replace(rollout, truncated=~episodes.done, labels={"turn": episodes.turn})
