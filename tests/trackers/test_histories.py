import jax
import numpy as np
import pytest

from pojax import advantages, trackers


def test_card():
    table = trackers.reward_history.init(window=100)
    for mean in (0.5, 0.75, 0.25):
        table = trackers.reward_history.update(table, np.full(4, mean), np.zeros(4, int))
    found = advantages.relative_difficulty(np.array([0.0, 0, 1, 0]), np.zeros(4, int), table.value)
    np.testing.assert_allclose(found, np.full(4, 0.25), rtol=1e-6)


def test_the_ring_holds_the_last_groups():
    """Against a list, over batches of ragged groups in any order, one of them with more groups than the ring holds."""
    rng = np.random.default_rng(0)
    table, seen = trackers.reward_history.init(window=5), []
    traced = []

    @jax.jit
    def update(*given):
        traced.append(given)
        return trackers.reward_history.update(*given)

    assert table.value == 0
    for _ in range(6):
        groups, rewards = rng.integers(-1, 8, 9), rng.normal(size=9).astype(np.float32)
        table = update(table, np.where(groups < 0, np.nan, rewards), groups)
        order = [g for i, g in enumerate(groups) if g >= 0 and g not in groups[:i]]
        seen += [np.mean(rewards[groups == g]) for g in order]
        assert table.number == len(seen)
        np.testing.assert_allclose(np.sort(table.means[: len(seen)]), np.sort(seen[-5:]), rtol=1e-5)
        np.testing.assert_allclose(table.value, np.mean(seen[-5:]), rtol=1e-5, atol=1e-6)
    assert len(traced) == 1


def test_difficulty_of_rows_that_are_out_is_zero():
    found = advantages.relative_difficulty(np.array([1.0, np.nan]), np.array([3, -1]), np.array(0.4))
    np.testing.assert_allclose(found, [-0.6, 0.0], rtol=1e-6)
    with pytest.raises(ValueError, match="window is 0"):
        trackers.reward_history.init(window=0)
