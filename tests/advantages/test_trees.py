import jax
import numpy as np
import pytest

from pojax import advantages

RLOO = jax.jit(lambda *a: advantages.tree_advantages(*a))
STD = jax.jit(lambda *a: advantages.tree_advantages(*a, form="std"))

# Root with children n1 = (1, 0), n2 = (1, 1) and a leaf with reward 0; two tokens an edge.
REWARDS = np.array([1.0, 0, 1, 1, 0])
NODE = np.array([[0, 0, 1, 1], [0, 0, 2, 2], [3, 3, 4, 4], [3, 3, 5, 5], [6, 6, -1, -1]])
WHERE = (NODE >= 0).astype(int)
ONE = np.zeros(5, int)


def test_values_and_edges():
    values = advantages.tree_values(REWARDS, NODE, ONE, ONE, WHERE)
    np.testing.assert_allclose(values[:, 0], np.full(5, 0.5), rtol=1e-6)
    np.testing.assert_allclose(values[:4, 2], [0.5, 0.5, 1, 1], rtol=1e-6)
    a = np.asarray(advantages.tree_advantages(REWARDS, NODE, ONE, ONE, WHERE))
    keep = np.asarray(advantages.count_edges_once(WHERE, NODE, ONE, ONE))
    np.testing.assert_array_equal(keep[:, :2], [[1, 1], [0, 0], [1, 1], [0, 0], [1, 1]])
    np.testing.assert_array_equal(keep[:4, 2:], np.ones((4, 2)))
    cleared = WHERE * np.array([[0], [1], [1], [1], [1]])  # a filter took the first row: its neighbour stands for their edge
    np.testing.assert_array_equal(advantages.count_edges_once(cleared, NODE, ONE, ONE)[:2], [[0, 0, 0, 0], [1, 1, 1, 1]])
    edges = a[:, [0, 2]][(keep[:, [0, 2]] > 0) & (a[:, [0, 2]] != 0)]
    np.testing.assert_allclose(edges, [0.5, -0.5, 0.5, -0.5], rtol=1e-5)  # edges without credit are exactly 0
    std = np.asarray(advantages.tree_advantages(REWARDS, NODE, ONE, ONE, WHERE, form="std"))
    edges = std[:, [0, 2]][(keep[:, [0, 2]] > 0) & (std[:, [0, 2]] != 0)]
    np.testing.assert_allclose(edges, [1, -1, 1.22474, -1.22474], rtol=1e-5)
    np.testing.assert_allclose(advantages.segment_advantages(REWARDS, values, NODE, WHERE), a, atol=1e-6)


def recursive(paths, rewards, form):
    """paths: one tuple of edges per leaf. {path of an edge: advantage} by plain recursion."""
    out = {}

    def value(prefix):
        inside = [i for i, p in enumerate(paths) if p[: len(prefix)] == prefix]
        children = [("ends", i) for i in inside if len(paths[i]) == len(prefix)]
        children += list(dict.fromkeys(("edge", paths[i][len(prefix)]) for i in inside if len(paths[i]) > len(prefix)))
        found = [rewards[c] if kind == "ends" else value((*prefix, c)) for kind, c in children]
        mean, std = np.mean(found), np.std(found)
        for (kind, c), v in zip(children, found, strict=True):
            if kind == "edge":
                flat = np.allclose(found, mean, rtol=0, atol=1e-12)
                out[(*prefix, c)] = v - mean if form == "rloo" else 0.0 if flat else (v - mean) / (std + 1e-8)
        return mean

    value(())
    return out


@pytest.mark.parametrize("seed", range(3))
def test_double_precision_of_random_trees(x64, seed):
    """Random trees over shuffled rows: edges of random lengths, masked tokens between them, a row that is out, ids that trees share."""
    rng = np.random.default_rng(seed)
    rows = []
    for tree in range(3):
        names = [0]

        def grow(path, depth, tree=tree, names=names):
            if depth == 3 or rng.uniform() < 0.3 * depth:
                rows.append((tree, path))
                return
            for _ in range(rng.integers(1, 4)):
                names[0] += rng.integers(1, 9)
                grow((*path, names[0]), depth + 1)

        grow((), 0)
    rows = [rows[i] for i in rng.permutation(len(rows))]
    tree, paths = np.array([t for t, _ in rows]), [p for _, p in rows]
    lengths, node = {}, np.full((len(rows), 12), -1)
    for b, path in enumerate(paths):
        t = 0
        for d, edge in enumerate(path):
            n = lengths.setdefault((tree[b], path[: d + 1]), (rng.integers(1, 4), rng.integers(0, 2)))
            node[b, t : t + n[0]] = edge
            t += sum(n)
    mask, rewards, groups = (node >= 0).astype(int), rng.integers(0, 3, len(rows)) / 3.0, tree // 2 + 5
    out = rng.integers(len(rows))
    groups[out], rewards[out] = -1, np.nan
    far = np.where(node >= 0, 2**31 - 1 - 1_000_003 * node, -1)  # names of edges that are no small numbers
    for rule, form in ((RLOO, "rloo"), (STD, "std")):
        got, expected = np.asarray(rule(rewards, node, tree, groups, mask)), np.zeros(node.shape)
        for tr in range(3):
            mine = [b for b in range(len(rows)) if tree[b] == tr and groups[b] >= 0]
            if not mine:
                continue
            found = recursive([paths[b] for b in mine], [rewards[b] for b in mine], form)
            for b in mine:
                for d, edge in enumerate(paths[b]):
                    expected[b, node[b] == edge] = found[paths[b][: d + 1]]
        np.testing.assert_allclose(got, expected, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(rule(rewards, far, tree, groups, mask), expected, rtol=1e-9, atol=1e-12)
    keep = np.asarray(advantages.count_edges_once(mask, node, tree, groups))
    np.testing.assert_array_equal(keep, advantages.count_edges_once(mask, far, tree, groups))
    inside = groups >= 0
    distinct = {(tree[b], paths[b][: d + 1]) for b in np.flatnonzero(inside) for d in range(len(paths[b]))}
    assert keep.sum() == sum(lengths[e][0] for e in distinct)  # every edge once


def test_equal_rewards_and_single_children():
    """Means of seven times 0.7 round: without a tolerance siblings would differ, and their tiny deviation would be divided by itself."""
    rewards = np.full(9, 0.7, np.float32)
    node = np.array([[0, i + 2] for i in range(7)] + [[1, -1], [1, -1]])
    node[8, 0] = 9
    where = (node >= 0).astype(int)
    for form in ("rloo", "std"):
        value = advantages.tree_advantages(rewards, node, np.zeros(9, int), np.zeros(9, int), where, form=form)
        np.testing.assert_array_equal(value, np.zeros((9, 2)))
    chain = advantages.tree_advantages(np.array([1.0]), np.array([[0, 1, 2]]), np.zeros(1, int), np.zeros(1, int), np.ones((1, 3)))
    np.testing.assert_array_equal(chain, np.zeros((1, 3)))


def test_leaves_of_depth_one_are_group_center():
    rewards, groups = np.array([1.0, 0, 1, 0, 0, 1]), np.array([0, 0, 0, 1, 1, 1])
    node = np.arange(6)[:, None].repeat(2, axis=1)
    value = advantages.tree_advantages(rewards, node, groups, groups, np.ones((6, 2)))
    np.testing.assert_allclose(value[:, 1], advantages.group_center(rewards, groups), rtol=1e-5)


def test_within_and_across_trees():
    rewards, groups, tree = np.array([1.0, 0, 0, 0]), np.zeros(4, int), np.array([5, 5, 3, 3])
    value = advantages.tree_and_group_normalize(rewards, groups, tree)
    np.testing.assert_allclose(value, [2.2071, -1.2071, -0.499999, -0.499999], rtol=1e-5)
    intra = advantages.tree_and_group_normalize(rewards, groups, tree, inter=0.0)
    np.testing.assert_allclose(intra, advantages.group_normalize(rewards, tree), rtol=1e-6)
    alone = advantages.tree_and_group_normalize(np.array([1.0, 0.0]), np.zeros(2, int), np.arange(2))  # trees of one leaf
    np.testing.assert_allclose(alone, advantages.group_normalize(np.array([1.0, 0.0]), np.zeros(2, int)), rtol=1e-6)


@pytest.mark.parametrize("seed", range(2))
def test_within_and_across_trees_in_double_precision(x64, seed):
    rng = np.random.default_rng(seed)
    groups, tree, rewards = rng.permutation(np.repeat([4, 1, -1], 6)), rng.integers(0, 3, 18), rng.integers(0, 2, 18).astype(float)
    expected = np.zeros(18)
    for b in np.flatnonzero(groups >= 0):
        for mates in (rewards[groups == groups[b]], rewards[(groups == groups[b]) & (tree == tree[b])]):
            if len(set(mates)) > 1:
                expected[b] += (rewards[b] - mates.mean()) / (mates.std(ddof=1) + 1e-6)
    value = advantages.tree_and_group_normalize(np.where(groups < 0, np.nan, rewards), groups, tree)
    np.testing.assert_allclose(value, expected, rtol=1e-9, atol=1e-12)
