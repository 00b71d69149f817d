import jax
import numpy as np
import pytest

from pojax import advantages

ROLE, EPISODE = np.array([0, 1, 1, 0, 1, 1]), np.array([0, 0, 0, 1, 1, 1])


def test_card():
    rewards = np.array([0.5, 1, 0, 0.2, 1, 1])
    peers = advantages.peer_groups(np.zeros(6, int), ROLE, EPISODE)
    np.testing.assert_allclose(advantages.group_center(rewards, peers), [0.15, 0.5, -0.5, -0.15, 0, 0], rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("first", [0, 1, 2])
def test_double_precision(x64, first):
    rng = np.random.default_rng(first)
    groups, role, episode = rng.integers(-1, 3, 40), rng.integers(-1, 3, 40), rng.integers(-1, 3, 40)
    r, expected = rng.normal(size=40), np.zeros(40)
    scoped = role >= first
    inside = (groups >= 0) & (role >= 0) & ~(scoped & (episode < 0))
    for i in np.flatnonzero(inside):
        mine = [
            j
            for j in np.flatnonzero(inside)
            if groups[j] == groups[i] and role[j] == role[i] and (not scoped[i] or episode[j] == episode[i])
        ]
        expected[i] = r[i] - r[mine].mean()
    peers = jax.jit(lambda *x: advantages.peer_groups(*x, first_episode_role=first))(groups, role, episode)
    np.testing.assert_allclose(advantages.group_center(r, peers), expected, rtol=1e-9, atol=1e-12)


def test_one_peer_has_no_advantage():
    peers = advantages.peer_groups(np.zeros(3, int), np.array([0, 1, 1]), np.array([0, 0, 1]))
    np.testing.assert_array_equal(advantages.group_center(np.array([1.0, 2.0, 3.0]), peers), np.zeros(3))


def test_episodes_by_the_order_of_rows():
    role, episode = advantages.proposer_solver_episodes(np.array([4, 4, 9, 4, 4, -1, 9]), size=2)
    np.testing.assert_array_equal(role, [0, 1, 0, 0, 1, -1, 1])
    np.testing.assert_array_equal(episode, [0, 0, 0, 1, 1, -1, 0])
    with pytest.raises(ValueError, match="size is 1"):
        advantages.proposer_solver_episodes(np.zeros(4, int), size=1)
