"""Credit in trees of responses with shared prefixes. Rows are leaves; an edge is a stretch of tokens, the same in all leaves below it."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Bool, Float, Int

from pojax.advantages.normalizers import group_normalize
from pojax.advantages.segments import label_changes
from pojax.annotations import Hyper, Mask, writes
from pojax.checks import checked
from pojax.groups import inside, refine
from pojax.numerics import counts, floating, masked, over_deviation, per_row, root

__all__ = ["count_edges_once", "tree_advantages", "tree_and_group_normalize", "tree_values"]


class _Tree(NamedTuple):
    """Edges have ids below B * T, the roots of trees follow: `states` in all. -1 = a token that is on no edge."""

    edge: Int[Array, "B T"]
    before: Int[Array, "B T"]  # the edge or root that the edge's first token comes after; read where starts
    starts: Bool[Array, "B T"]  # the first token of an edge, in every row
    owned: Bool[Array, "B T"]  # tokens of an edge in the first row that holds it
    last: Int[Array, "B"]  # the row's last edge, or the root of its tree
    root: Int[Array, "B"]
    is_in: Bool[Array, "B"]

    @property
    def states(self) -> int:
        return self.edge.size + self.root.size


def _tree(node: Int[ArrayLike, "B T"], tree: Int[ArrayLike, "B"], groups: Int[ArrayLike, "B"], mask: Mask) -> _Tree:
    node, groups = jnp.asarray(node), jnp.asarray(groups)
    rows, width = node.shape
    on = counts(mask) & inside(groups)[:, None] & (node >= 0)
    root = refine(groups, jnp.asarray(tree))
    edge = _edge_ids(root, jnp.where(on, node, -1))
    starts = label_changes(edge, on)
    latest = jax.lax.cummax(jnp.where(on, jnp.arange(width), -1), axis=1)
    before = jnp.pad(latest[:, :-1], ((0, 0), (1, 0)), constant_values=-1)
    top = (root + rows * width)[:, None]
    parent = jnp.where(before < 0, top, jnp.take_along_axis(edge, jnp.maximum(before, 0), axis=1))
    last = jnp.where(latest[:, -1] < 0, top[:, 0], jnp.take_along_axis(edge, jnp.maximum(latest[:, -1:], 0), axis=1)[:, 0])
    index = jnp.broadcast_to(jnp.arange(rows)[:, None], edge.shape)
    first = jnp.full(edge.size, rows).at[jnp.where(on, edge, edge.size)].min(index, mode="drop")
    return _Tree(edge, parent, starts, on & (first[edge] == index), last, top[:, 0], root >= 0)


def _edge_ids(root: Int[Array, "B"], node: Int[Array, "B T"]) -> Int[Array, "B T"]:
    """Ids below B * T, equal where both tree and node are; -1 where either is."""
    trees, nodes = jnp.max(root) + 1, jnp.max(node) + 1
    # Nodes that are numbered from 0 in every tree leave room to put the trees one behind the other, which saves sorting all tokens.
    return jax.lax.cond(
        nodes <= node.size // jnp.maximum(trees, 1),
        lambda: jnp.where((node >= 0) & (root >= 0)[:, None], root[:, None] * nodes + node, -1).astype(jnp.int32),
        lambda: refine(jnp.repeat(root, node.shape[1]), node.reshape(-1)).reshape(node.shape),
    )


def _add(states: int, where: Bool[Array, "..."], at: Int[Array, "..."], x: Float[Array, "..."]) -> Float[Array, "N"]:
    """Sums of x by state."""
    return jnp.zeros(states, x.dtype).at[jnp.where(where, at, states)].add(jnp.where(where, x, 0.0), mode="drop")


def _values(t: _Tree, rewards: Float[ArrayLike, "B"]) -> tuple[Float[Array, "N"], Float[Array, "N"]]:
    """V of every state, the mean of its children's (a row that ends there is a child with its reward), and 1 / (number of children)."""
    rewards = masked(rewards, t.is_in)
    ones = jnp.ones_like(rewards)
    number = _add(t.states, t.starts & t.owned, t.before, jnp.ones(t.edge.shape, rewards.dtype)) + _add(t.states, t.is_in, t.last, ones)
    share = 1.0 / jnp.maximum(number, 1.0)
    # A leaf's reward enters a state above it times the shares of all states on the way: no recursion over depth.
    way = jax.lax.cumprod(jnp.where(t.starts, share[t.edge], 1.0), axis=1, reverse=True)
    value = _add(t.states, t.starts, t.edge, way * rewards[:, None]) + _add(t.states, t.is_in, t.root, way[:, 0] * share[t.root] * rewards)
    return value, share


@writes("values")
@checked()
def tree_values(
    rewards: Float[ArrayLike, "B"],
    node: Int[ArrayLike, "B T"],
    tree: Int[ArrayLike, "B"],
    groups: Int[ArrayLike, "B"],
    mask: Mask,
) -> Float[Array, "B T"]:
    """Value of the state before the edge that holds the token: V(leaf) = its reward, V(state) = mean over its children of V(child).

    node: the edge of every token, one id (>= 0) in all rows that share it, within a tree; tree: the tree of every row.
    Every child counts the same, however many leaves are below it. Rows that are out are no leaves. Zero where mask is 0.
    `segment_advantages` with segment="node" makes the differences, as `tree_advantages` does at once.
    Source: Segment Policy Optimization (SPO-tree), arXiv 2505.23564, section 3.2.
    """
    t = _tree(node, tree, groups, mask)
    value, _ = _values(t, rewards)
    return _of_edges(t, _parent_of(t, value))


def _parent_of(t: _Tree, of_states: Float[Array, "N"]) -> Float[Array, "N"]:
    """Every edge gets what the state before it has."""
    return _add(t.states, t.starts & t.owned, t.edge, of_states[t.before])


def _of_edges(t: _Tree, of_states: Float[Array, "N"]) -> Float[Array, "B T"]:
    return jnp.where(t.edge >= 0, of_states[jnp.maximum(t.edge, 0)], 0.0)


@checked(form="{rloo, std}", epsilon="[0, inf)")
def tree_advantages(
    rewards: Float[ArrayLike, "B"],
    node: Int[ArrayLike, "B T"],
    tree: Int[ArrayLike, "B"],
    groups: Int[ArrayLike, "B"],
    mask: Mask,
    *,
    form: str = "rloo",
    epsilon: Hyper = 1e-8,
) -> Float[Array, "B T"]:
    """Credit of an edge for all its tokens: A = V(state after it) - V(state before it), V as in `tree_values`.

    form "rloo" (the released code's name): the difference; "std" (there "grpo"): divided by the standard deviation of the siblings'
    values (divided by their number) + epsilon, which is in units of reward.
    Exactly zero for a single child and for equal siblings (differences below rounding count as none). Zero where mask is 0 and for
    rows that are out. The same number stands in every row that holds the edge: `count_edges_once` keeps one of them.
    Raises ValueError for another form. Source: SPO-tree, arXiv 2505.23564, section 3.2, and its released code.
    """
    t = _tree(node, tree, groups, mask)
    value, share = _values(t, rewards)
    size = jnp.zeros(t.states, value.dtype).at[jnp.where(t.is_in, t.root, t.states)].max(jnp.abs(masked(rewards, t.is_in)), mode="drop")
    tolerance = 16.0 * jnp.finfo(value.dtype).eps * size[t.root][:, None]  # a mean of equal numbers is not always that number
    difference = _of_edges(t, value - _parent_of(t, value))
    difference = jnp.where(jnp.abs(difference) <= tolerance, 0.0, difference)
    if form == "rloo":
        return difference
    ends = masked(rewards, t.is_in) - value[t.last]
    ends = jnp.where(jnp.abs(ends) <= tolerance[:, 0], 0.0, ends)
    variance = share * (_add(t.states, t.starts & t.owned, t.before, difference**2) + _add(t.states, t.is_in, t.last, ends**2))
    variance = _of_edges(t, _parent_of(t, variance))
    return over_deviation(difference, root(variance), per_row(epsilon, 2))


@writes("keep")
@checked()
def count_edges_once(
    keep: Mask, node: Int[ArrayLike, "B T"], tree: Int[ArrayLike, "B"], groups: Int[ArrayLike, "B"]
) -> Float[Array, "B T"]:
    """Clear the tokens of an edge in every row but the first that keeps some of them: an edge is one training sample.

    The context of an edge is the same in all its rows, and so is its gradient. Tokens on no edge (node -1) are cleared.
    Source: SPO-tree, arXiv 2505.23564, section 3.2 (every edge is one sample, its prefix the prompt).
    """
    kept = masked(keep, keep)
    return jnp.where(_tree(node, tree, groups, kept).owned, kept, 0.0)


@checked(epsilon="[0, inf)", ddof="{0, 1}", intra="[0, inf)", inter="[0, inf)")
def tree_and_group_normalize(
    rewards: Float[ArrayLike, "B"],
    groups: Int[ArrayLike, "B"],
    tree: Int[ArrayLike, "B"],
    *,
    inter: Hyper = 1.0,
    intra: Hyper = 1.0,
    epsilon: Hyper = 1e-6,
    ddof: int = 1,
) -> Float[Array, "B"]:
    """Standardised among all leaves of the prompt and among those of the tree, added: A = inter * A_group + intra * A_tree.

    Each part is `group_normalize` with epsilon and ddof; inter and intra weigh them (1 and 1 in the paper; 0 leaves one out).
    A tree with one leaf, and a tree of equal rewards, have A_tree = 0 (the released code gives a single leaf r / (1 + epsilon)).
    The released code's third estimator, standardising twice, equals inter = 0: a standardisation forgets shift and scale.
    Zero for rows that are out. Source: Tree-GRPO, "Tree Search for LLM Agent Reinforcement Learning", arXiv 2509.21240, section 3.3.
    """
    inter, intra = per_row(inter, 1), per_row(intra, 1)
    whole = group_normalize(rewards, groups, epsilon=epsilon, ddof=ddof)
    within = group_normalize(floating(rewards), refine(groups, tree), epsilon=epsilon, ddof=ddof)
    return inter * whole + intra * within
