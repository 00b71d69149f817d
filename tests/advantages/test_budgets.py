import jax
import numpy as np
import pytest

from pojax import advantages

SCORES = np.array([[0, 0.5, 1], [0, 0, 0.25]])
BUDGET = np.tile(np.arange(3), (2, 1))


@pytest.mark.parametrize(
    ("prior", "expected"),
    [
        ("uniform", [[0.208333, 0.305556, 0.189815], [-0.208333, -0.111111, 0.0138889]]),
        ("linear", [[0.270833, 0.402778, 0.284722], [-0.270833, -0.138889, 0.0208333]]),
    ],
)
def test_thinking_between_budgets(prior, expected):
    value = advantages.budget_advantages(SCORES, BUDGET, np.zeros(2, int), np.ones((2, 3)), prior=prior)
    np.testing.assert_allclose(value, expected, rtol=1e-5)


def test_summaries_of_a_cut():
    value = advantages.summary_advantages(np.array([1.0, 0, 0, 1]), np.zeros(4), np.zeros(4, int), np.array([0, 0, 1, 1]))
    np.testing.assert_allclose(value, [0.5, -0.5, -0.5, 0.5], rtol=1e-6)
    single = advantages.summary_advantages(np.array([1.0, 0, 0, 9]), np.full(4, 0.1), np.array([0, 0, 0, -1]), np.arange(4))
    np.testing.assert_allclose(single, [2 / 3, -1 / 3, -1 / 3, 0.1], rtol=1e-5)
    both = advantages.summary_advantages(np.array([1.0, 0, 0, 1]), np.zeros(4), np.array([3, 3, 5, 5]), np.zeros(4, int))
    np.testing.assert_allclose(both, [0.5, -0.5, -0.5, 0.5], rtol=1e-6)  # one id in two prompts


def test_summaries_in_double_precision(x64):
    rng = np.random.default_rng(0)
    summary, cut, r, a = rng.integers(-1, 3, 30), rng.integers(0, 4, 30), rng.integers(0, 2, 30) * 0.7, rng.normal(size=(30, 2))
    expected = a.copy()
    for b in np.flatnonzero(summary >= 0):
        mates = r[(summary == summary[b]) & (cut == cut[b])]
        mates = mates if len(mates) > 1 else r[summary == summary[b]]
        expected[b] = r[b] - mates.mean() if len(set(mates)) > 1 else 0.0
    np.testing.assert_allclose(advantages.summary_advantages(r, a, summary, cut), expected, rtol=1e-9, atol=1e-12)


def reference(scores, budget, groups, mask, prior, baseline, decay):
    rows, m = scores.shape
    p = {"base": np.eye(m)[-1], "uniform": np.full(m, 1 / m), "linear": np.arange(1, m + 1) / (m * (m + 1) / 2)}[prior]
    out = np.zeros(budget.shape)
    for b in range(rows):
        if groups[b] < 0:
            continue
        mates = [c for c in range(rows) if groups[c] == groups[b]]
        for t in np.flatnonzero(mask[b]):
            s = budget[b, t] + 1

            def tail(c, s=s):
                return sum(p[j - 1] * scores[c, j - 1] for j in range(s, m + 1))

            v1 = 0.0
            if s > 1:
                weights = [decay ** (s - j) for j in range(1, s)]
                v1 = sum(w * scores[b, j] for j, w in enumerate(weights)) / sum(weights) * sum(p[s - 1 :])
            v2 = np.mean([tail(c) for c in mates]) if len(mates) > 1 else 0.0
            v = {"both": (s - 1) / m * v1 + (m - s + 1) / m * v2, "own": v1, "group": v2}[baseline]
            out[b, t] = tail(b) - v
    return out


@pytest.mark.parametrize("prior", ["base", "uniform", "linear"])
@pytest.mark.parametrize("baseline", ["both", "own", "group"])
def test_double_precision(x64, prior, baseline):
    rng = np.random.default_rng(3)
    groups = np.array([4, 0, 4, -1, 0, 4, 9])
    scores, mask = rng.uniform(size=(7, 4)), rng.integers(0, 2, (7, 6))
    budget = np.where(mask, np.sort(rng.integers(0, 4, (7, 6)), axis=1), -1)
    expected = reference(scores, budget, groups, mask, prior, baseline, 0.7)
    rule = jax.jit(lambda s: advantages.budget_advantages(s, budget, groups, mask, prior=prior, baseline=baseline, decay=0.7))
    np.testing.assert_allclose(rule(np.where(groups[:, None] < 0, np.nan, scores)), expected, rtol=1e-9, atol=1e-12)


def test_equal_scores_and_one_budget():
    flat = advantages.budget_advantages(np.full((3, 3), 0.7), np.tile(BUDGET[:1], (3, 1)), np.zeros(3, int), np.ones((3, 3)))
    np.testing.assert_array_equal(flat, np.zeros((3, 3)))
    r, groups = np.array([1.0, 0, 0, 1]), np.array([0, 0, 1, 1])
    one = advantages.budget_advantages(r[:, None], np.zeros((4, 2), int), groups, np.ones((4, 2)), baseline="group")
    np.testing.assert_allclose(one[:, 1], advantages.group_center(r, groups), rtol=1e-6)
    alone = advantages.budget_advantages(np.array([[0.5, 1.0]]), np.array([[0, 1]]), np.zeros(1, int), np.ones((1, 2)))
    np.testing.assert_allclose(alone, [[0.75, 0.5 - 0.5 * 0.25]], rtol=1e-6)  # no group: V2 = 0
