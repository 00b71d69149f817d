import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny_services as tiny

from pojax.advantages import tree_values
from pojax.rollouts import branching_tree, tree, turn_tree
from pojax.rollouts.tree import _choose
from pojax.tasks import Environment

P, T = tiny.P, tiny.T
NAMES = ("render", "sample", "extend", "verify")
WALK = Environment(tiny.Walk.reset, tiny.Walk.step, tiny.Walk.anchor)


@pytest.fixture(scope="module")
def params():
    return tiny.parameters()


def drawn_by(forks, lengths, chains, expansions):
    """For every leaf the (leaf, position) that drew each of its tokens, by following the forks in loops."""
    rows = [[(chain, 0, t) for t in range(int(lengths[0][chain]))] for chain in range(chains)]
    trees = [[row] for row in rows]
    for number, ((parents, cuts), size) in enumerate(zip(forks, lengths[1:], strict=True)):
        flat = [row for leaves in trees for row in leaves]
        for i, (parent, cut) in enumerate(zip(parents, cuts, strict=True)):
            own = i // expansions
            assert (
                cut < len(flat[parent])
                and parent // len(trees[own] if i % expansions == 0 else trees[own][: 1 + number * expansions]) == own
            )
            trees[own].append(flat[parent][:cut] + [(own, 1 + number * expansions + i % expansions, t) for t in range(cut, int(size[i]))])
    return [row for leaves in trees for row in leaves]


def check_nodes(node, mask, identity):
    """Ids are equal exactly for tokens with the same leaves below them that follow each other; dense."""
    below = {}
    for leaf, row in enumerate(identity):
        for token in row:
            below.setdefault(token, set()).add(leaf)
    names = {}
    for leaf, row in enumerate(identity):
        name = None
        for t, token in enumerate(row):
            if t == 0 or below[token] != below[row[t - 1]] or token[:2] != row[t - 1][:2]:
                name = token
            if mask[leaf, t]:
                assert names.setdefault(name, node[leaf, t]) == node[leaf, t]
    assert sorted(names.values()) == list(range(len(names)))
    assert (node[~mask] == -1).all() and (node[mask] >= 0).all()
    return len(names)


@pytest.mark.parametrize(("expansions", "rounds"), [(2, 2), (3, 0)])
def test_leaves_share_what_was_drawn_once(params, expansions, rounds):
    services, trees = tiny.Services(params), 2
    rollout = services(tree, *NAMES, trees=trees, expansions=expansions, rounds=rounds)
    leaves = 1 + expansions * rounds
    assert rollout.tokens.shape == (P * trees * leaves, T) and rollout.block == trees * leaves
    np.testing.assert_array_equal(rollout.groups, np.repeat(np.arange(P), trees * leaves))
    np.testing.assert_array_equal(rollout.labels["tree"], np.repeat(np.arange(P * trees), leaves))
    chains = P * trees
    lengths = [held.lengths for held in services.held]
    identity = drawn_by(services.forks, lengths, chains, expansions)
    np.testing.assert_array_equal(rollout.mask.sum(1), [len(row) for row in identity])
    edges = check_nodes(rollout.labels["node"], rollout.mask, identity)
    assert edges >= chains * (1 + (expansions > 0 and rounds > 0))
    tokens = {}
    for leaf, row in enumerate(identity):  # what has one identity is one token, with one log-probability
        for t, name in enumerate(row):
            found = rollout.tokens[leaf, t], rollout.old_logprobs[leaf, t]
            assert tokens.setdefault(name, found) == found
    np.testing.assert_allclose(rollout.old_logprobs, tiny.learner_logprobs(params, rollout), atol=1e-4)
    assert services.prefilled() == P * tiny.S
    for (_, cuts), held, cost in zip(services.forks, services.held[1:], services.decoded()[1:], strict=True):
        assert cost == (np.asarray(held.lengths) - cuts - 1 + (cuts > 0)).sum()  # new tokens alone, and the one before the cut


def test_new_leaves_begin_anywhere_in_any_leaf_or_at_boundaries():
    places = np.array([[1, 1, 1, 1], [1, 0, 1, 0], [0, 0, 0, 1], [1, 1, 0, 0]], bool)
    parents, cuts = _choose(jax.random.key(0), jnp.asarray(places), 2, 4000)
    for part in range(2):
        seen = np.zeros((4, 4))
        np.add.at(seen, (np.asarray(parents)[part * 4000 : (part + 1) * 4000], np.asarray(cuts)[part * 4000 : (part + 1) * 4000]), 1 / 4000)
        expected = np.where(places, 0.5 / places.sum(1, keepdims=True), 0.0) * (np.arange(4) // 2 == part)[:, None]
        np.testing.assert_allclose(seen, expected, atol=0.03)


def test_boundaries_say_where_new_leaves_begin(params):
    services = tiny.Services(params)
    services(tree, *NAMES, trees=1, expansions=4, boundaries=lambda mask, **_: np.arange(T)[None] % 3 == np.zeros(mask.shape, int))
    cuts = services.forks[0][1]
    assert set(cuts) == {0, 3}


@pytest.mark.parametrize(("branching", "segment_tokens"), [("2-2-2", 1), ("2-3", 9)])
def test_a_regular_tree(params, branching, segment_tokens):
    services = tiny.Services(params)
    rollout = services(branching_tree, *NAMES, branching=branching, segment_tokens=segment_tokens)
    widths = [int(x) for x in branching.split("-")]
    leaves = int(np.prod(widths))
    assert rollout.tokens.shape[0] == P * leaves == rollout.groups.size and rollout.block == leaves
    np.testing.assert_allclose(rollout.old_logprobs, tiny.learner_logprobs(params, rollout), atol=1e-4)
    ids, last = {}, len(widths) - 1
    for row in range(P * leaves):
        length = rollout.mask[row].sum()
        depth = min((length - 1) // segment_tokens, last)
        for t in range(length):
            level = min(t // segment_tokens, last)
            edge = (level, row // int(np.prod(widths[level + 1 :])))
            found = rollout.labels["node"][row, t]
            assert ids.setdefault(edge, found) == found
        first = row % int(np.prod(widths[depth + 1 :])) == 0
        assert (rollout.groups[row] >= 0) == first, (row, depth)
    assert sorted(ids.values()) == list(range(len(ids)))
    short = rollout.groups < 0
    assert short.any() == (branching in ("3-2", "2-3")) and not short.all()  # with two tokens a response or more has ended
    np.testing.assert_array_equal(rollout.labels["tree"], np.repeat(np.arange(P), leaves))
    assert services.prefilled() == P * tiny.S
    if branching == "3-2":  # the value of the root is the mean of its children, theirs that of their leaves
        rewards = np.where(short, np.nan, rollout.components["score"]).reshape(P, 3, 2)
        roots = np.nanmean(np.nanmean(rewards, axis=2), axis=1)
        given = (rollout.components["score"], rollout.labels["node"], rollout.labels["tree"], rollout.groups, rollout.mask)
        values = np.asarray(tree_values(*given))[:, 0]
        np.testing.assert_allclose(values[~short], np.repeat(roots, leaves)[~short], rtol=1e-5)


@pytest.mark.parametrize(("expansions", "rounds"), [(2, 1)])
def test_trees_of_episodes(params, expansions, rounds):
    """A new leaf goes on from a turn of an old one, in the row and in the world: every row is what the world makes of its tokens."""
    services, trees, leaves = tiny.Services(params, environment=WALK), 3, 1 + expansions * rounds
    rollout = services(
        turn_tree, "render", "sample", "extend", "environment", trees=trees, expansions=expansions, rounds=rounds, turns=3, action_tokens=1
    )
    assert rollout.tokens.shape[0] == P * trees * leaves == P * rollout.block
    for row in range(P * trees * leaves):
        start = row // (trees * leaves) % 2
        turn, observed, rewards, anchors, done, length = tiny.walked(rollout.tokens[row], start, 3, 1, T)
        np.testing.assert_array_equal(rollout.labels["turn"][row], turn)
        np.testing.assert_array_equal(rollout.mask[row], np.array(turn) >= 0)
        assert all(rollout.tokens[row, t] == token for t, token in observed) and (rollout.tokens[row, length:] == 0).all()
        rest = 3 - len(rewards)
        np.testing.assert_array_equal(rollout.components["step_rewards"][row], rewards + [0.0] * rest)
        np.testing.assert_array_equal(rollout.components["anchor"][row], anchors + [-1] * rest)
        assert rollout.components["done"][row] == done
    np.testing.assert_allclose(rollout.old_logprobs, tiny.learner_logprobs(params, rollout), atol=1e-4)
    node, cuts = rollout.labels["node"], services.forks
    assert services.prefilled() == P * tiny.S and len(cuts) == 2 + 3 * rounds
    shared = 0
    for one in range(len(node)):
        for other in range(one):
            same = (node[one] == node[other]) & rollout.mask[one]
            assert not same.any() or one // leaves == other // leaves
            np.testing.assert_array_equal(rollout.tokens[one][same], rollout.tokens[other][same])
            shared += same.any()
    assert shared > 0


@pytest.mark.parametrize(
    ("arrange", "given", "message"),
    [
        (tree, dict(trees=0), "tree: trees is 0, allowed: 1 or more"),
        (tree, dict(expansions=-1), "tree: expansions is -1, allowed: 0 or more"),
        (tree, dict(rounds=-1), "tree: rounds is -1"),
        (branching_tree, dict(branching="6-x"), "branching is '6-x', allowed: widths of 1 or more from the root on, as \"6-6-6\""),
        (branching_tree, dict(branching="6-0"), "branching is '6-0'"),
        (branching_tree, dict(segment_tokens=0), "branching_tree: segment_tokens is 0"),
    ],
)
def test_errors(params, arrange, given, message):
    with pytest.raises(ValueError, match=message):
        tiny.Services(params)(arrange, *NAMES, **given)
