"""Trees of responses: rows are leaves, and what leaves share was drawn once."""

import dataclasses
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int

from pojax.annotations import Hyper, gives
from pojax.checks import check_range
from pojax.rollouts.boundaries import GIVEN, segment_starts
from pojax.rollouts.rows import assemble, at_least, repeat_rows, row_keys, row_temperature
from pojax.rollouts.turns import Episodes, play, play_from, rollout_of
from pojax.sampling import join
from pojax.types import Rollout


@gives(*GIVEN)
def tree(
    key: Any,
    indices: Any,
    render: Any,
    sample: Any,
    extend: Any,
    verify: Any,
    *,
    trees: int = 2,
    expansions: int = 2,
    rounds: int = 1,
    boundaries: Callable[..., Any] | None = None,
    temperature: Hyper = 1.0,
) -> Rollout:
    """`trees` trees of each prompt; in each of `rounds` rounds, a tree gets `expansions` new leaves that begin inside leaves it has.

    A tree begins as one response. A new leaf goes on from the state before a token of a leaf of its tree, both drawn uniformly; with
    `boundaries` (as in `vine`), before the first token of a segment of the leaf. So a tree has 1 + expansions * rounds leaves, which are
    the rows, side by side; `groups` are the prompts.
    Writes the labels `tree` [B] (dense over the batch) and `node` [B, T]: the edge that token t belongs to, a dense id that is equal in
    all leaves that share the token; -1 where mask is 0. A shared token was drawn once, and stands in every leaf below it.
    Raises ValueError for trees < 1, expansions < 0 or rounds < 0.
    Source: Tree-GRPO, "Tree Search for LLM Agent Reinforcement Learning", arXiv 2509.21240, section 3.2.
    """
    leaves = _leaves("tree", trees, expansions, rounds)
    check_range("tree", "temperature", temperature, "[0, inf)")
    chains, prompts = indices.shape[0] * trees, render(indices)
    rows, held = sample(row_keys(key, chains), prompts, temperature=row_temperature(temperature, chains), hold=True)
    branches, own = _plant(rows.tokens.shape[1], chains, leaves)
    for i in range(rounds if expansions else 0):
        n, call = chains * expansions, jax.random.fold_in(key, i + 1)
        per_tree = 1 + expansions * i
        if boundaries is None:
            places = held.samples.mask
        else:
            drawn = assemble(indices, prompts, held.samples, {}, per_prompt=trees * per_tree, temperature=temperature)
            places = segment_starts(boundaries, drawn)
        parents, cuts = _choose(jax.random.fold_in(call, 0), places, chains, expansions)
        heat = row_temperature(temperature, n)
        _, forked = extend(held, row_keys(key, n, i + 1), parents, cuts, temperature=heat, hold=True)
        new = own[:, per_tree : per_tree + expansions].reshape(-1)
        branches = _branch(branches, parents, cuts, new, chains)
        held = join(held, forked, chains)
    samples, per_prompt = held.samples, trees * leaves
    verdicts = verify(repeat_rows(indices, per_prompt), samples)
    rollout = assemble(indices, prompts, samples, verdicts, per_prompt=per_prompt, temperature=temperature)
    return dataclasses.replace(rollout, labels=_labels(branches, samples.mask, leaves))


def turn_tree(
    key: Any,
    indices: Any,
    render: Any,
    sample: Any,
    extend: Any,
    environment: Any,
    *,
    trees: int = 2,
    expansions: int = 2,
    rounds: int = 1,
    turns: int = 4,
    action_tokens: int = 8,
    temperature: Hyper = 1.0,
) -> Rollout:
    """`tree` of episodes: a new leaf goes on from the state before a turn of a leaf of its tree, in the environment as in the row.

    The turn is drawn uniformly from those that the leaf has had. Rows, `groups` and the labels `tree` and `node` are as of `tree`; what
    an episode is, the label `turn` and the components are as of `turns`, those of shared turns included.
    Raises ValueError as `tree` and `turns` do. Source: Tree-GRPO, arXiv 2509.21240, section 3.2 (a node is a whole step of the agent).
    """
    leaves = _leaves("turn_tree", trees, expansions, rounds)
    for name, value in (("turns", turns), ("action_tokens", action_tokens)):
        at_least("turn_tree", name, value, 1)
    check_range("turn_tree", "temperature", temperature, "[0, inf)")
    chains, prompts = indices.shape[0] * trees, render(indices)
    keys, heat = row_keys(key, chains), row_temperature(temperature, chains)
    start = environment.reset(repeat_rows(indices, trees))
    episodes = play_from(start, sample, extend, environment, prompts, keys, heat, turns, action_tokens)
    branches, own = _plant(episodes.rows.tokens.shape[1], chains, leaves)
    for i in range(rounds if expansions else 0):
        n, per_tree = chains * expansions, 1 + expansions * i
        parents, number = _choose(jax.random.fold_in(jax.random.fold_in(key, i + 1), 0), episodes.anchors >= 0, chains, expansions)
        keys, heat = row_keys(key, n, i + 1), row_temperature(temperature, n)
        cuts = episodes.starts[parents, number]
        limits = jnp.full(n, action_tokens)
        rows, held = extend(episodes.held, keys, parents, cuts, temperature=heat, limits=limits, hold=True)
        begun = _again(episodes, parents, number)._replace(rows=rows, held=held)
        forked = play(begun, extend, environment, keys, heat, action_tokens)
        new = own[:, per_tree : per_tree + expansions].reshape(-1)
        branches = _branch(branches, parents, cuts, new, chains)
        episodes = _join_episodes(episodes, forked, chains)
    rollout = rollout_of(episodes, indices, prompts, per_prompt=trees * leaves, temperature=temperature)
    labels = _labels(branches, rollout.mask, leaves)
    return dataclasses.replace(rollout, labels={**rollout.labels, **labels})


def branching_tree(
    key: Any,
    indices: Any,
    render: Any,
    sample: Any,
    extend: Any,
    verify: Any,
    *,
    branching: str = "6-6-6",
    segment_tokens: int = 600,
    temperature: Hyper = 1.0,
) -> Rollout:
    """A regular tree of each prompt: every node has as many children as `branching` says of its level, and edges of `segment_tokens`.

    branching: widths from the root on, "6-6-6": 216 leaves per prompt, which are the rows. An edge is shorter where the response ends; the
    last level goes on to the end. A response that ends before the last level is a leaf there: one row; the rows that its children
    would have been are out (groups -1). Labels `tree` [B] and `node` [B, T] as of `tree`, one tree to a prompt.
    Raises ValueError for widths or segment_tokens < 1, and for a branching that is no list of numbers.
    Source: Segment Policy Optimization (SPO-tree), arXiv 2505.23564, section 3.2.
    """
    parts = branching.split("-") if isinstance(branching, str) else [branching]
    if not all(isinstance(part, str) and part.isdigit() and int(part) > 0 for part in parts):
        raise ValueError(f'branching_tree: branching is {branching!r}, allowed: widths of 1 or more from the root on, as "6-6-6"')
    widths = [int(part) for part in parts]
    at_least("branching_tree", "segment_tokens", segment_tokens, 1)
    check_range("branching_tree", "temperature", temperature, "[0, inf)")
    prompts, count, leaves = render(indices), indices.shape[0], math.prod(widths)
    n = count * widths[0]

    def limits(level: int, size: int) -> Any:
        return jnp.full(size, segment_tokens) if level < len(widths) - 1 else None

    heat = row_temperature(temperature, n)
    rows, held = sample(row_keys(key, n), prompts, temperature=heat, limits=limits(0, n), hold=True)
    edges = jnp.zeros((n, 1), jnp.int32)  # where each edge of the row begins
    counted = jnp.ones(n, bool)
    for level, width in enumerate(widths[1:], start=1):
        n *= width
        parents = jnp.arange(n) // width
        over = (held.samples.ended | (held.lengths == held.samples.tokens.shape[1]))[parents]
        counted = counted[parents] & (~over | (jnp.arange(n) % width == 0))
        cuts, bound = held.lengths[parents], limits(level, n)
        bound = jnp.where(over, 0, held.samples.tokens.shape[1] if bound is None else bound)
        edges = jnp.concatenate([edges[parents], jnp.where(over, held.samples.tokens.shape[1], cuts)[:, None]], axis=1)
        heat = row_temperature(temperature, n)
        rows, held = extend(held, row_keys(key, n, level), parents, cuts, temperature=heat, limits=bound, hold=True)
    verdicts = verify(repeat_rows(indices, leaves), rows)
    rollout = assemble(indices, prompts, rows, verdicts, per_prompt=leaves, temperature=temperature)
    return dataclasses.replace(
        rollout,
        groups=jnp.where(counted, rollout.groups, -1),
        labels={"tree": jnp.repeat(jnp.arange(count, dtype=jnp.int32), leaves), "node": _regular_nodes(edges, rows.mask, widths)},
    )


def _regular_nodes(edges: Int[Array, "B L"], mask: Bool[Array, "B T"], widths: list[int]) -> Int[Array, "B T"]:
    """Dense ids of the edges of regular trees; the rows below an edge of a level stand side by side."""
    level = jnp.sum(jnp.arange(mask.shape[1])[None, :, None] >= edges[:, None, :], axis=2) - 1  # [B, T]
    below = jnp.array([math.prod(widths[i + 1 :]) for i in range(len(widths))])
    first = jnp.arange(mask.shape[0])[:, None] // below[level] * below[level]  # the first row that has the edge
    used = jnp.zeros((mask.shape[0], len(widths)), jnp.int32).at[first, jnp.where(mask, level, len(widths))].set(1, mode="drop")
    dense = jnp.cumsum(used.reshape(-1)).reshape(used.shape) - 1
    return jnp.where(mask, dense[first, level], -1).astype(jnp.int32)


# -- which leaf drew a token, and where edges begin -------------------------------------------------------------------------------


class _Branches(NamedTuple):
    """The leaf (by its final row) that drew each token of the rows so far [n, T], and the tokens of leaves at which edges begin [B, T]."""

    owner: Array
    begins: Array


def _leaves(function: str, trees: int, expansions: int, rounds: int) -> int:
    for name, value, low in (("trees", trees, 1), ("expansions", expansions, 0), ("rounds", rounds, 0)):
        at_least(function, name, value, low)
    return 1 + expansions * rounds


def _plant(width: int, chains: int, leaves: int) -> tuple[_Branches, Int[Array, "chains leaves"]]:
    """Trees of one response each, and the final row of each leaf that they will have."""
    own = jnp.arange(chains * leaves).reshape(chains, leaves)
    begins = jnp.zeros((chains * leaves, width), bool).at[own[:, 0], 0].set(True)
    return _Branches(jnp.broadcast_to(own[:, :1], (chains, width)), begins), own


def _choose(key: Any, places: Bool[Array, "n T"], parts: int, number: int) -> tuple[Int[Array, "m"], Int[Array, "m"]]:
    """`number` times in every part of adjacent rows: one of its rows, and one of the row's places (0 where it has none)."""
    rows, each = parts * number, places.shape[0] // parts

    def one(row: Any) -> Any:
        first, second = jax.random.split(jax.random.fold_in(key, row))
        return jax.random.randint(first, (), 0, each), jax.random.uniform(second, places.shape[1:])

    leaf, noise = jax.vmap(one)(jnp.arange(rows))
    parents = jnp.arange(rows) // number * each + leaf
    return parents, jnp.argmax(jnp.where(places[parents], noise, -1.0), axis=1)


def _branch(branches: _Branches, parents: Int[Array, "m"], cuts: Int[Array, "m"], new: Int[Array, "m"], parts: int) -> _Branches:
    """With the leaves `new` that go on from token cuts[r] of row parents[r]; rows are joined as `join` does."""
    width = branches.owner.shape[1]
    inherited = branches.owner[parents]
    owner = jnp.where(jnp.arange(width) < cuts[:, None], inherited, new[:, None])
    cut_from = jnp.take_along_axis(inherited, jnp.minimum(cuts, width - 1)[:, None], axis=1)[:, 0]
    begins = branches.begins.at[new, cuts].set(True, mode="drop").at[cut_from, cuts].set(True, mode="drop")
    return _Branches(_beside(branches.owner, owner, parts), begins)


def _labels(branches: _Branches, mask: Bool[Array, "B T"], leaves: int) -> dict[str, Array]:
    rows, width = mask.shape
    column = jnp.arange(width)
    # An edge is told by the first of its tokens, in the leaf that drew it.
    latest = jax.lax.cummax(jnp.where(branches.begins, column, 0), axis=1)
    first = branches.owner * width + latest[branches.owner, column]
    used = jnp.zeros(rows * width, jnp.int32).at[jnp.where(mask, first, rows * width)].set(1, mode="drop")
    node = jnp.where(mask, (jnp.cumsum(used) - 1)[first], -1)
    return {"tree": (jnp.arange(rows) // leaves).astype(jnp.int32), "node": node.astype(jnp.int32)}


# -- episodes that go on from a turn of others ------------------------------------------------------------------------------------


def _again(episodes: Episodes, parents: Int[Array, "m"], number: Int[Array, "m"]) -> Episodes:
    """The parents as they were before turn number[r], their rows and their cache apart."""
    e = episodes
    taken = jnp.arange(e.anchors.shape[1]) < number[:, None]
    false = jnp.zeros(parents.shape, bool)
    return e._replace(
        state=jax.tree.map(lambda x: x[parents, number], e.states),
        number=number.astype(jnp.int32),
        alive=~false,
        done=false,
        turn=jnp.where(e.turn[parents] < number[:, None], e.turn[parents], -1),
        starts=e.starts[parents],
        rewards=jnp.where(taken, e.rewards[parents], 0.0),
        anchors=jnp.where(taken, e.anchors[parents], -1),
        states=jax.tree.map(lambda x: x[parents], e.states),
    )


def _join_episodes(first: Episodes, second: Episodes, parts: int) -> Episodes:
    held = join(first.held, second.held, parts)
    rest = [e._replace(rows=None, held=None) for e in (first, second)]  # type: ignore[arg-type]
    return jax.tree.map(lambda a, b: _beside(a, b, parts), *rest)._replace(rows=held.samples, held=held)


def _beside(a: Array, b: Array, parts: int) -> Array:
    """Rows of both, part by part."""
    split = [x.reshape(parts, -1, *x.shape[1:]) for x in (a, b)]
    return jnp.concatenate(split, axis=1).reshape(-1, *a.shape[1:])
