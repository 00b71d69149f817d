import jax
import numpy as np
import pytest

from pojax import advantages

# Two episodes: rewards 0, 0, 10 in states 0, 1, 2; rewards 0, 0 in states 0, 1. One token a turn.
STEPS, ANCHOR, TURN = np.array([[0.0, 0, 10], [0, 0, 0]]), np.array([[0, 1, 2], [0, 1, -1]]), np.array([[0, 1, 2], [0, 1, -1]])
MASK, ONE = np.array([[1, 1, 1], [1, 1, 0]]), np.zeros(2, int)


def test_episodes_and_states():
    value = advantages.episode_and_step_advantages(STEPS, ANCHOR, TURN, ONE, MASK)
    np.testing.assert_allclose(value, [[9.5125, 9.75, 5], [-9.5125, -9.75, 0]], rtol=1e-5)
    episode = advantages.episode_and_step_advantages(STEPS, ANCHOR, TURN, ONE, MASK, omega=0.0)
    np.testing.assert_allclose(episode, [[5, 5, 5], [-5, -5, 0]], rtol=1e-5)
    code = advantages.episode_and_step_advantages(STEPS, ANCHOR, TURN, ONE, MASK, form="mean_std", episodes="per_step")
    np.testing.assert_allclose(code, [[1.4374, 1.4374, 0.730297], [-1.80255, -1.80255, 0]], rtol=1e-5)


def reference(steps, anchor, turn, groups, mask, omega, gamma, form, episodes):
    rows, number = steps.shape
    taken = [(b, k) for b in range(rows) for k in range(number) if groups[b] >= 0 and np.any((turn[b] == k) & (mask[b] == 1))]
    total = {b: sum(steps[b, k] for c, k in taken if c == b) for b in range(rows)}
    back = {}
    for b, k in reversed(taken):
        later = [(c, l) for c, l in back if c == b]
        nearest = min(later, key=lambda x: x[1]) if later else None
        back[b, k] = steps[b, k] + (gamma * back[nearest] if nearest else 0.0)

    def compare(x, mates):
        if len(set(mates)) < 2:
            return 0.0
        return (x - np.mean(mates)) / (1.0 if form == "mean" else np.std(mates, ddof=1) + 1e-6)

    out = np.zeros(mask.shape)
    for b in range(rows):
        for t in np.flatnonzero(mask[b]):
            k = turn[b, t]
            if groups[b] < 0 or k < 0:
                continue
            if episodes == "once":
                mates = [total[c] for c in dict(taken) if groups[c] == groups[b]]
            else:
                mates = [total[c] for c, _ in taken if groups[c] == groups[b]]
            visits = [back[c, l] for c, l in taken if groups[c] == groups[b] and anchor[c, l] == anchor[b, k]]
            out[b, t] = compare(total[b], mates) + omega * compare(back[b, k], visits)
    return out


@pytest.mark.parametrize("form", ["mean", "mean_std"])
@pytest.mark.parametrize("episodes", ["once", "per_step"])
@pytest.mark.parametrize("seed", range(2))
def test_double_precision(x64, form, episodes, seed):
    rng = np.random.default_rng(seed)
    groups = rng.permutation(np.repeat([5, 3, -1], [4, 3, 2]))
    turn = np.sort(rng.integers(0, 4, (9, 8)), axis=1)  # turns may be left out, and hold several tokens
    mask = rng.integers(0, 2, (9, 8))
    mask[2] = 0
    turn = np.where(mask == 1, turn, -1)
    steps, anchor = rng.integers(0, 3, (9, 4)) / 2.0, rng.integers(0, 3, (9, 4))
    expected = reference(steps, anchor, turn, groups, mask, 0.7, 0.9, form, episodes)
    rule = jax.jit(
        lambda s: advantages.episode_and_step_advantages(s, anchor, turn, groups, mask, omega=0.7, gamma=0.9, form=form, episodes=episodes)
    )
    np.testing.assert_allclose(rule(np.where(groups[:, None] < 0, np.nan, steps)), expected, rtol=1e-9, atol=1e-12)


def test_one_episode_and_visits_of_its_own():
    single = advantages.episode_and_step_advantages(STEPS[:1], np.array([[0, 1, 2]]), TURN[:1], ONE[:1], MASK[:1])
    np.testing.assert_array_equal(single, np.zeros((1, 3)))
    again = advantages.episode_and_step_advantages(STEPS[:1], np.array([[4, 4, 2]]), TURN[:1], ONE[:1], MASK[:1])
    np.testing.assert_allclose(again, [[-0.2375, 0.2375, 0]], rtol=1e-5)  # two visits of one state, 9.025 and 9.5
