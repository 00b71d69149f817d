import jax
import numpy as np
import pytest
from arrays import assert_gradient

from pojax import trackers
from pojax.trackers.reward_weights import mirror_ascent

TERMS = {"b": 0, "a": 2}  # the term between them is a KL, say
GRAM = np.array([[0.5, 9.0, 0.5], [9.0, 9.0, 9.0], [0.5, 9.0, 1.0]])  # g_a = (1, 0), g_b = (0.5, 0.5)


def test_card():
    gradients = np.array([[1.0, 0.0], [0.5, 0.5]])
    agreements = (gradients @ gradients.T).sum(axis=1)
    np.testing.assert_allclose(agreements, [1.5, 1])
    np.testing.assert_allclose(mirror_ascent(np.array([0.5, 0.5]), agreements, step_size=1e-6 / 1e-5), [0.512497, 0.487503], rtol=1e-5)
    table = trackers.reward_weights.update(trackers.reward_weights.init(terms=TERMS), GRAM, terms=TERMS, step_size=0.1)
    np.testing.assert_allclose([table.weights["a"], table.weights["b"]], [0.512497, 0.487503], rtol=1e-5)


def test_double_precision(x64):
    rng = np.random.default_rng(0)
    w, s = rng.dirichlet(np.ones(4)), rng.normal(size=4)
    expected = w * np.exp(0.3 * s)
    np.testing.assert_allclose(mirror_ascent(w, s, step_size=0.3), expected / expected.sum(), rtol=1e-9)
    assert_gradient(lambda s: mirror_ascent(w, s, step_size=0.3), s)


def test_several_iterations_are_averaged(x64):
    """Weights change with every third iteration only, by the mean of the agreements since the last change."""
    rng, table = np.random.default_rng(1), trackers.reward_weights.init(terms=TERMS)
    w, seen = np.array([0.5, 0.5]), []
    for i in range(7):
        g = rng.normal(size=(3, 5))
        table = trackers.reward_weights.update(table, g @ g.T, terms=TERMS, step_size=0.2, accumulation=3)
        a, b = g[2], g[0]
        seen.append([a @ (a + b), b @ (a + b)])
        if i % 3 == 2:
            w = w * np.exp(0.2 * np.mean(seen, axis=0))
            w, seen = w / w.sum(), []
        np.testing.assert_allclose([table.weights["a"], table.weights["b"]], w, rtol=1e-9)


def test_degenerate():
    table = trackers.reward_weights.init(terms=TERMS)
    same = trackers.reward_weights.update(table, np.zeros((3, 3)), terms=TERMS)
    jax.tree.map(np.testing.assert_array_equal, same, table)
    far = trackers.reward_weights.update(table, 1e6 * GRAM, terms=TERMS)
    assert far.weights["a"] == 1 and far.weights["b"] == 0
    back = trackers.reward_weights.update(far, GRAM - 10 * np.eye(3), terms=TERMS)
    assert all(np.isfinite(x) for x in back.weights.values())
    with pytest.raises(ValueError, match="terms is {'a': 3}, allowed: places 0 to 2"):
        trackers.reward_weights.update(trackers.reward_weights.init(terms={"a": 3}), GRAM, terms={"a": 3})
    with pytest.raises(ValueError, match="terms is {}"):
        trackers.reward_weights.init(terms={})


def test_types_of_the_table_never_change():
    table = trackers.reward_weights.init(terms=TERMS)
    after = jax.eval_shape(lambda t: trackers.reward_weights.update(t, GRAM, terms=TERMS), table)
    kinds = [[(x.shape, x.dtype, x.weak_type) for x in jax.tree.leaves(t)] for t in (table, after)]
    assert kinds[0] == kinds[1] and jax.tree.structure(table) == jax.tree.structure(after)
