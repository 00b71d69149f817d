import jax
import numpy as np
import pytest

from pojax import advantages
from pojax.advantages.prefixes import project_to_order

# Prefixes (), (a), (a, b), (c).
PREFIX = np.array([[-1, -1], [0, -1], [0, 1], [2, -1]])
REWARDS, ONE = np.array([0.0, 0, 1, 1]), np.zeros(4, int)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("expectation", [-0.375, -0.375, 0.375, 0.375]),
        ("optimistic", [-0.5, -0.5, 0.5, 0.5]),
        ("pessimistic", [-0.25, -0.25, 0.25, 0.25]),
    ],
)
def test_baselines_of_the_subtree(value, expected):
    np.testing.assert_allclose(advantages.prefix_advantages(REWARDS, PREFIX, ONE, value=value), expected, rtol=1e-5)


def test_projection():
    np.testing.assert_allclose(advantages.staged_advantages(REWARDS, PREFIX, ONE), [-0.5, -0.5, 0.5, 0.5], rtol=1e-5)
    ordered = np.zeros((4, 4), bool)
    ordered[0, 1] = True
    value = project_to_order(np.array([3.0, 0, 0, 1]), ordered, ONE, delta=0.0, form="soft")
    np.testing.assert_allclose(value, [0.5, 0.5, -1, 0], rtol=1e-5, atol=1e-6)


def random_prefixes(rng, rows):
    """Prefixes of up to three steps over two symbols, in two groups; the last row is out."""
    prefix = np.full((rows, 3), -1)
    for i in range(rows):
        depth = rng.integers(0, 4)
        prefix[i, :depth] = rng.integers(0, 2, depth)
    groups = rng.permutation(np.arange(rows) % 2)
    groups[-1] = -1
    return prefix, groups


def begins(short, long):
    short, long = short[short >= 0], long[long >= 0]
    return len(short) <= len(long) and np.array_equal(short, long[: len(short)])


@pytest.mark.parametrize("value", ["expectation", "optimistic", "pessimistic"])
@pytest.mark.parametrize("seed", range(2))
def test_double_precision_of_baselines(x64, value, seed):
    rng = np.random.default_rng(seed)
    prefix, groups = random_prefixes(rng, 15)
    r = rng.integers(0, 2, 15).astype(float)
    expected = np.zeros(15)
    for g in (0, 1):
        rows = np.flatnonzero(groups == g)
        v = {i: r[[j for j in rows if begins(prefix[i], prefix[j])]] for i in rows}
        a = {i: r[i] - 0.3 * {"expectation": v[i].mean(), "optimistic": v[i].max(), "pessimistic": v[i].min()}[value] for i in rows}
        for i in rows:
            expected[i] = a[i] - np.mean(list(a.values()))
    got = advantages.prefix_advantages(np.where(groups < 0, np.nan, r), prefix, groups, alpha=0.3, value=value)
    np.testing.assert_allclose(got, expected, rtol=1e-9, atol=1e-12)


def slsqp(r, pairs, delta, form):
    optimize = pytest.importorskip("scipy.optimize")
    n = len(r)
    rules = [{"type": "eq", "fun": np.sum}]
    rules += [{"type": "ineq", "fun": lambda a, i=i, j=j: a[j] - a[i] - delta} for i, j in pairs]
    rules += [{"type": "ineq" if form == "soft" else "eq", "fun": lambda a: n - a @ a}]
    found = optimize.minimize(
        lambda a: 0.5 * np.sum((a - r) ** 2), r - r.mean(), jac=lambda a: a - r, constraints=rules, method="SLSQP",
        options=dict(maxiter=500, ftol=1e-14),
    )  # fmt: skip
    assert found.success or found.status == 8
    return found.x


@pytest.mark.parametrize("form", ["soft", "hard"])
@pytest.mark.parametrize("seed", range(4))
def test_projection_equals_a_general_solver(x64, form, seed):
    """Random acyclic pairs in groups of 5 and 8 rows, rewards large enough for the norm to bind in the soft form too."""
    rng = np.random.default_rng(seed)
    groups = rng.permutation(np.repeat([0, 1, -1], [5, 8, 2]))
    r = rng.normal(size=15) * (3.0 if seed % 2 else 0.5)
    ordered = np.triu(rng.uniform(size=(15, 15)) < 0.3, 1) & (groups[:, None] == groups[None, :]) & (groups >= 0)[:, None]
    delta = 0.05 * seed
    got = np.asarray(jax.jit(lambda r: project_to_order(r, ordered, groups, delta=delta, form=form))(r))
    assert np.all(got[groups < 0] == 0)
    for g in (0, 1):
        rows = np.flatnonzero(groups == g)
        index = {b: k for k, b in enumerate(rows)}
        pairs = [(index[i], index[j]) for i, j in zip(*np.nonzero(ordered), strict=True) if i in index]
        a = got[rows]
        assert abs(a.sum()) < 1e-9
        assert all(a[i] + delta <= a[j] + 1e-9 for i, j in pairs)
        assert a @ a <= len(rows) + 1e-9 if form == "soft" else abs(a @ a - len(rows)) < 1e-6
        np.testing.assert_allclose(a, slsqp(r[rows], pairs, delta, form), atol=2e-5)


def test_order_that_rewards_break():
    """Rewards between 0 and 1 whose order along the tree is the wrong way round are pooled; siblings below a proof go under the others."""
    prefix = np.array([[0, -1], [0, 1], [0, 2], [0, 3]])
    delta = 0.1
    free = advantages.staged_advantages(np.array([0.0, 0, 0, 1]), prefix, ONE, delta=delta)
    np.testing.assert_allclose(free, [-0.25, -0.25, -0.25, 0.75], atol=1e-6)  # nothing binds
    prefix = np.array([[0, -1], [1, -1], [0, 1], [2, -1]])  # (0) fails and has a success below it, (1) and (2) fail and have none
    sibling = advantages.staged_advantages(np.array([0.0, 0, 1, 0]), prefix, ONE, delta=delta, siblings=True)
    np.testing.assert_allclose(sibling, [-0.25 - 2 * delta / 3, -0.25 + delta / 3, 0.75, -0.25 + delta / 3], atol=1e-5)


@pytest.mark.parametrize("form", ["soft", "hard"])
def test_equal_rewards_give_nothing(form):
    for r in (np.zeros(4), np.full(4, 0.7)):
        np.testing.assert_array_equal(advantages.staged_advantages(r, PREFIX, ONE, form=form), np.zeros(4))
        np.testing.assert_array_equal(advantages.prefix_advantages(r, PREFIX, ONE, value="expectation"), np.zeros(4))
    hard = advantages.staged_advantages(REWARDS, PREFIX, ONE, form="hard", delta=0.01)
    np.testing.assert_allclose(hard, [-1, -1, 1, 1], rtol=1e-5)
