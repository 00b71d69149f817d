import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pojax import advantages, losses
from pojax.losses import aggregations as aggregate

TOKENS = np.array([[5, 6, 7, 9], [5, 4, 8, 9], [5, 6, 2, 9]])
MASK, GROUPS = np.ones((3, 4)), np.full(3, 8)
REWARDS = np.array([2.0, 0.0, 1.0])
ENTROPY = np.repeat([[0.3], [0.5], [0.695]], 4, axis=1)


def parts(form):
    a = advantages.group_center(REWARDS, GROUPS)
    shaped = advantages.penalize_entropy(a, ENTROPY, MASK, GROUPS, form=form)
    return advantages.conflict_weights(TOKENS, MASK, a, GROUPS, form=form), shaped


def test_worked_example():
    weights, shaped = parts("paper")
    np.testing.assert_array_equal(weights, [[2, 1, 1, 2], [0, 1, 1, 0], [1, 1, 1, 1]])
    np.testing.assert_allclose(shaped, [0.97, -1.05, 0], rtol=1e-5)
    np.testing.assert_allclose(parts("code")[1], [0.97, -1.05, -0.0695], rtol=1e-5)


@pytest.mark.parametrize(
    ("form", "value", "expected"),
    [
        ("paper", -0.31, [[-0.161667, -0.0808333, -0.0808333, -0.161667], [0, 0.0875, 0.0875, 0], [0, 0, 0, 0]]),
        ("code", -0.3955, [[-0.2425, -0.12125, -0.12125, -0.2425], [0, 0.13125, 0.13125, 0], [0.017375] * 4]),
    ],
)
def test_worked_example_of_the_loss(form, value, expected):
    weights, shaped = parts(form)
    rows = 1.0 if form == "paper" else 3.0  # the code sums over the group
    coefficients = rows * aggregate.sequence_mean(MASK) * weights
    spread = jnp.broadcast_to(shaped[:, None], MASK.shape)
    x = jnp.asarray(-np.random.default_rng(0).gamma(1.0, size=(3, 4)))

    def on_policy(logprobs):  # the ratio to the policy itself: value 1, and the gradient of a log-probability
        return jnp.sum(coefficients * losses.ppo_clip(logprobs, x, spread))

    found, gradient = jax.value_and_grad(on_policy)(x)
    np.testing.assert_allclose(found, value, rtol=1e-5)
    np.testing.assert_allclose(gradient, expected, rtol=1e-5, atol=1e-7)
    plain = jax.grad(lambda logprobs: jnp.sum(coefficients * losses.policy_gradient(logprobs, spread)))(x)
    np.testing.assert_allclose(plain, expected, rtol=1e-5, atol=1e-7)


def reference(tokens, mask, a, groups, weight=2.0, form="paper"):
    """Row by row, position by position, as one would with a pencil."""
    out = np.zeros(tokens.shape)
    own = [np.flatnonzero(m) if g >= 0 else np.array([], int) for m, g in zip(mask, groups, strict=True)]

    def in_conflict(row, n, backward):
        def stands(other):
            place = len(own[other]) - 1 - n if backward else n
            return 0 <= place < len(own[other]) and tokens[other, own[other][place]] == token

        token = tokens[row, own[row][len(own[row]) - 1 - n if backward else n]]
        mates = [r for r in range(len(tokens)) if groups[r] == groups[row]]
        return any(a[r] > 0 and stands(r) for r in mates) and any(a[r] < 0 and stands(r) for r in mates)

    for row in range(len(tokens)):
        size = len(own[row])
        hit = np.zeros((2, size), bool)
        for backward in (0, 1):
            for n in range(size):
                if not in_conflict(row, n, backward):
                    break
                hit[backward, size - 1 - n if backward else n] = True
        factor = weight if a[row] > 0 else 0.0 if a[row] < 0 else 1.0
        count = max(1, hit.any(axis=0).sum()) if form == "code" and a[row] != 0 else 1
        for n in range(size):
            out[row, own[row][n]] = factor ** hit[:, n].sum() / count
    return out


@pytest.mark.parametrize("form", ["paper", "code"])
def test_against_loops(x64, form):
    rng = np.random.default_rng(3)
    rule = jax.jit(lambda *data: advantages.conflict_weights(*data, weight=1.7, form=form))
    seen = set()
    for _ in range(20):
        groups = rng.integers(-1, 3, 9)
        mask = rng.random((9, 6)) < rng.choice([0.6, 0.95])  # holes, and rows without tokens
        mask[rng.integers(9)] = False
        tokens = rng.integers(0, 2, (9, 6))
        a = rng.integers(-1, 2, 9).astype(float)
        expected = reference(tokens, mask, a, groups, 1.7, form)
        np.testing.assert_allclose(rule(tokens, mask, a, groups), expected, rtol=1e-9)
        seen |= set(np.unique(expected))
    assert {0.0, 1.0, 1.7} <= seen if form == "code" else {0.0, 1.0, 1.7, 1.7 * 1.7} <= seen


def test_one_sign_has_no_conflict():
    for a in (np.array([1.0, 0.5, 0.0]), np.array([-1.0, 0.0, -2.0]), np.zeros(3)):
        np.testing.assert_array_equal(advantages.conflict_weights(TOKENS, MASK, a, GROUPS), MASK)
    np.testing.assert_array_equal(advantages.conflict_weights(TOKENS, MASK, REWARDS - 1, np.arange(3)), MASK)  # groups of one


def test_entropy_against_loops(x64):
    rng = np.random.default_rng(4)
    a, groups = rng.normal(size=8), np.array([0, 0, 1, -1, 1, 2, 2, 2])
    entropy, mask = rng.gamma(2.0, size=(8, 5)) / 3, rng.random((8, 5)) < 0.7
    mask[4] = False
    h = np.array([entropy[b][mask[b]].mean() if mask[b].any() else 0.0 for b in range(8)])
    scored = [h[b] for b in range(8) if groups[b] >= 0 and mask[b].any()]
    for initial, threshold in ((0.1, np.log(2)), (5.0, np.log(2)), (-1.0, 0.3), (-1.0, 3.0), (None, np.mean(scored) + 0.01)):
        known = np.mean(scored) if initial is None or initial < 0 else initial
        expected = [(a[b] - 0.3 * h[b]) * (known > threshold or h[b] <= threshold) * (groups[b] >= 0) for b in range(8)]
        given = None if initial is None else np.array(initial)
        found = advantages.penalize_entropy(a, entropy, mask, groups, given, gamma=0.3, threshold=threshold)
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)
    assert len({bool(known > t) for known, t in ((0.1, np.log(2)), (5.0, np.log(2)))}) == 2


def test_equal_rewards_leave_the_entropy_term():
    a = advantages.group_center(np.ones(3), GROUPS)
    shaped = advantages.penalize_entropy(a, 0.5 * MASK, MASK, GROUPS)
    np.testing.assert_allclose(shaped, [-0.05] * 3, rtol=1e-6)
    dropped = advantages.penalize_entropy(a, 0.5 * MASK, MASK, GROUPS, np.array(0.2), threshold=0.4)
    np.testing.assert_array_equal(dropped, np.zeros(3))
