import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pojax import trackers

DIRECTIONS = {"a": 1.0, "b": -1.0}  # b is a length: less is better
ONE = np.zeros(2, int)


def step(table, a, b, groups=ONE, **hyper):
    components = {"a": np.full(2, a, float), "b": np.full(2, b, float)}
    return trackers.pareto_front.update(table, components, groups, directions=DIRECTIONS, **hyper)


def front(points, reference, capacity=4):
    table = trackers.pareto_front.init(objectives=2, capacity=capacity)
    used = jnp.arange(capacity) < len(points)
    return table._replace(
        points=table.points.at[: len(points)].set(jnp.asarray(points, float)), used=used, reference=jnp.asarray(reference, float),
        started=jnp.array(True),
    )  # fmt: skip


def test_card():
    table = step(front([(0.6, 0.4), (0.3, 0.8)], (0.1, 0.2)), 0.5, -0.6)
    np.testing.assert_allclose(table.multiplier, 0.559968, rtol=1e-5)  # 0.5 + 1.5 tanh(0.04)
    np.testing.assert_allclose(table.points[:3], [[0.6, 0.4], [0.3, 0.8], [0.5, 0.6]], rtol=1e-6)
    np.testing.assert_array_equal(table.used, [1, 1, 1, 0])


def test_the_first_batch_is_the_reference():
    table = trackers.pareto_front.init(objectives=2)
    assert table.multiplier == 1
    table = step(table, 0.5, 2.0)
    np.testing.assert_allclose(table.reference, [0.5, -2.0])
    assert table.multiplier == 1 and table.started and not table.used.any()
    table = step(table, 0.7, 1.0)
    np.testing.assert_allclose(table.multiplier, 0.5 + 1.5 * np.tanh(0.2), rtol=1e-6)


def test_dominated_vectors():
    table = front([(0.6, 0.4), (0.3, 0.8)], (0.1, 0.2))
    worse = step(table, 0.3, -0.3)
    assert worse.multiplier == 0.5
    jax.tree.map(np.testing.assert_array_equal, worse._replace(multiplier=table.multiplier), table)
    better = step(table, 0.7, -0.9)  # dominates both: they make room
    assert better.used.sum() == 1
    np.testing.assert_allclose(better.points[better.used.argmax()], [0.7, 0.9], rtol=1e-6)


def test_a_full_front_drops_what_adds_least():
    points = [(0.2, 0.9), (0.5, 0.5), (0.55, 0.45)]
    table = step(front(points, (0.0, 0.0), capacity=3), 0.9, -0.2)
    kept = sorted(map(tuple, np.round(np.asarray(table.points, np.float64), 4).tolist()))
    assert table.used.all() and len(kept) == 3 and (0.9, 0.2) in kept and (0.2, 0.9) in kept
    little = step(front(points[:1] + [(0.9, 0.2)], (0.0, 0.0), capacity=2), 0.21, -0.21)  # the new one adds least: nothing joins
    np.testing.assert_allclose(little.points, [[0.2, 0.9], [0.9, 0.2]], rtol=1e-6)


def test_rows_that_are_out():
    table = front([(0.6, 0.4)], (0.1, 0.2))
    jax.tree.map(np.testing.assert_array_equal, step(table, np.nan, np.nan, np.full(2, -1)), table)
    components = {"a": np.array([0.5, np.nan]), "b": np.array([-0.6, np.nan])}
    value = trackers.pareto_front.update(table, components, np.array([0, -1]), directions=DIRECTIONS)
    np.testing.assert_allclose(value.points[1], [0.5, 0.6], rtol=1e-6)


def test_types_of_the_table_never_change():
    table = trackers.pareto_front.init(objectives=2)
    after = jax.eval_shape(lambda t: step(t, 0.5, 0.5), table)
    assert [(x.shape, x.dtype, x.weak_type) for x in table] == [(x.shape, x.dtype, x.weak_type) for x in after]
    with pytest.raises(ValueError, match="directions names 2 objectives, allowed: 3"):
        step(trackers.pareto_front.init(objectives=3), 0.5, 0.5)
    with pytest.raises(ValueError, match="capacity is 0"):
        trackers.pareto_front.init(objectives=2, capacity=0)


def test_by_hand_over_many_steps(x64):
    """Two objectives and room for all: the multiplier follows areas of unions of rectangles on a grid."""
    rng = np.random.default_rng(0)
    table, seen = trackers.pareto_front.init(objectives=2, capacity=16), []
    table, cells = step(table, 0.0, 0.0), np.zeros((20, 20), bool)
    for _ in range(12):
        x, y = rng.integers(1, 20, 2)
        before = cells.sum()
        cells[:x, :y] = True
        table = step(table, x / 20, -y / 20)
        seen.append(cells.sum() - before)
        np.testing.assert_allclose(table.multiplier, 0.5 + 1.5 * np.tanh(seen[-1] / 400), rtol=1e-9)
    assert any(seen) and not all(seen)
