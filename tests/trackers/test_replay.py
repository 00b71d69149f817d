import itertools

import jax
import numpy as np
import pytest

from pojax.trackers import replay_buffer
from pojax.trackers.replay import select_replay

T = 2


def push(table, prompts, rewards, replayed=None, groups=None, step=0):
    n = len(prompts)
    tokens = np.arange(n * T).reshape(n, T) + 100 * step
    fields = dict(
        tokens=tokens, mask=np.ones((n, T), bool), old_logprobs=-tokens / 10.0, rewards=np.asarray(rewards, float),
        temperature=np.full(n, 1.0 + step), truncated=np.arange(n) % 2 == 0, policy_step=np.full(n, step),
        prompt_index=np.asarray(prompts), groups=np.zeros(n, int) if groups is None else groups, replayed=replayed,
    )  # fmt: skip
    return replay_buffer.update(table, **fields), fields


def test_first_in_first_out():
    """Against lists: rows of several prompts, twice in a batch, more of them than there is room, out, and replayed."""
    rng = np.random.default_rng(0)
    table, lists = replay_buffer.init(5, T, size=3), {p: [] for p in range(5)}
    update = jax.jit(replay_buffer.update)
    for step in range(6):
        prompts = rng.integers(0, 4, 9)
        prompts[:2] = -1 if step == 3 else prompts[:2]
        groups, replayed = rng.integers(-1, 3, 9), rng.integers(0, 2, 9)
        _, fields = push(table, prompts, rng.normal(size=9), replayed, groups, step)
        table = update(table, **fields)
        for b in range(9):
            if groups[b] >= 0 and not replayed[b] and prompts[b] >= 0:
                lists[prompts[b]].append((b, step, fields))
    assert max(map(len, lists.values())) > 6
    for prompt, entries in lists.items():
        assert table.number[prompt] == len(entries)
        for i, (b, step, fields) in list(enumerate(entries))[-3:]:
            slot = i % 3
            for name in ("tokens", "mask", "rewards", "temperature", "truncated"):
                np.testing.assert_allclose(getattr(table, name)[prompt, slot], fields[name][b], rtol=1e-6)
            np.testing.assert_allclose(table.logprobs[prompt, slot], fields["old_logprobs"][b], rtol=1e-6)
            assert table.policy_step[prompt, slot] == step
    before = jax.tree.map(np.asarray, table)
    same, _ = push(table, [1, 2], [9.0, 9.0], groups=np.array([-1, -1]))
    jax.tree.map(np.testing.assert_array_equal, same, before)


def test_an_index_beyond_the_table():
    with pytest.raises(ValueError, match=r"prompt_index is 5, allowed: \[-1, 5\)"):
        push(replay_buffer.init(5, T, size=3), [5], [1.0])


BUFFER = np.array([[0, 1, 0.2, 1, 0, 0.5]])


@pytest.mark.parametrize(("strategy", "expected"), [("recent", {3, 4, 5}), ("highest", {1, 3, 5}), ("max_variance", {0, 1, 3})])
def test_worked_example(strategy, expected):
    slots, filled = select_replay(jax.random.key(0), BUFFER, np.array([6]), rows=3, strategy=strategy, minimum=6)
    assert set(np.asarray(slots)[0].tolist()) == expected and np.all(filled)


def test_the_ring_and_the_age():
    """Of eight responses the last six are there: the oldest stands in slot 2."""
    slots, _ = select_replay(jax.random.key(0), BUFFER, np.array([8]), rows=3, minimum=6)
    assert np.asarray(slots)[0].tolist() == [1, 0, 5]
    slots, _ = select_replay(jax.random.key(0), BUFFER, np.array([8]), rows=1, strategy="highest", minimum=6)
    assert np.asarray(slots)[0].tolist() == [3]  # of equal rewards the older


@pytest.mark.parametrize("filled", [6, 4, 2, 0])
def test_max_variance_is_the_best_subset(x64, filled):
    rng = np.random.default_rng(filled)
    rewards = np.round(rng.uniform(size=(40, 6)), 1)
    rewards[::2] = rng.integers(0, 2, (20, 6))
    number = np.full(40, filled)
    for rows in (1, 2, 3, 4):
        slots, taken = select_replay(jax.random.key(0), rewards, number, rows=rows, strategy="max_variance", minimum=1)
        for row in range(40):
            assert taken[row].sum() == min(rows, filled)
            found = rewards[row][np.asarray(slots[row])[np.asarray(taken[row])]]
            assert len(set(np.asarray(slots[row])[np.asarray(taken[row])].tolist())) == len(found)
            if len(found):
                subsets = [rewards[row][list(c)] for c in itertools.combinations(range(filled), len(found))]
                best = max(s.var() for s in subsets)
                assert found.var() == pytest.approx(best, abs=1e-12)
                assert found.sum() == pytest.approx(max(s.sum() for s in subsets if s.var() > best - 1e-12), abs=1e-12)


def test_random_and_minimum():
    keys = jax.random.split(jax.random.key(1), 300)
    slots, taken = jax.vmap(lambda k: select_replay(k, BUFFER, np.array([4]), rows=2, strategy="random", minimum=4))(keys)
    assert np.all(taken)
    counts = np.bincount(np.asarray(slots).reshape(-1), minlength=6)
    assert (counts[4:] == 0).all() and (np.asarray(slots)[:, 0, 0] != np.asarray(slots)[:, 0, 1]).all()
    np.testing.assert_allclose(counts[:4], 150, atol=4 * np.sqrt(300 * 0.25))
    for number, minimum in ((3, 4), (0, 0)):
        _, taken = select_replay(jax.random.key(0), BUFFER, np.array([number]), rows=2, minimum=minimum)
        assert not np.any(taken)
    with pytest.raises(ValueError, match="rows is 7, allowed: at most 6, the size of the buffer"):
        select_replay(jax.random.key(0), BUFFER, np.array([6]), rows=7)
