from collections import deque

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pojax.tasks import encode_prompts, encode_solutions, key_and_door, verify_rows
from pojax.types import Sample

TASK = key_and_door(seed=3, validation=20, held_out=30)["train"]
LEFT, RIGHT, UP, DOWN = "\u2190\u2192\u2191\u2193"


def cells(task, i):
    """(start, key, door) as (column, row), read off the prompt."""
    key, door, start = task.prompt(i)
    return [divmod(n, 4)[::-1] for n in (ord(start) - ord("a"), ord(key) - 0x24D0, ord(door) - 0x24B6)]


def walk(at, arrow):
    x, y = {LEFT: (-1, 0), RIGHT: (1, 0), UP: (0, -1), DOWN: (0, 1)}.get(arrow, (0, 0))
    return min(max(at[0] + x, 0), 3), min(max(at[1] + y, 0), 3)


def shortest(start, key, door):
    """Breadth first over (cell, key)."""
    queue, seen = deque([(start, start == key, 0)]), set()
    while queue:
        at, has, steps = queue.popleft()
        if has and at == door:
            return steps
        for arrow in (LEFT, RIGHT, UP, DOWN):
            to = walk(at, arrow)
            state = to, has or to == key
            if state not in seen:
                seen.add(state)
                queue.append((*state, steps + 1))
    raise AssertionError


def ids(task, text, width):
    found = task.tokenizer.encode(text)
    return np.array(found + [0] * (width - len(found))), np.arange(width) < len(found)


def test_prompts_solutions_and_difficulty():
    for i in range(0, TASK.size, 97):
        start, key, door = cells(TASK, i)
        assert len({start, key, door}) == 3
        steps = TASK.steps(i)
        actions, said = steps[0::2], steps[1::2]
        assert TASK.columns["difficulty"][i] == len(actions) == shortest(start, key, door) <= 6
        assert len(said) == len(actions) - 1
        at, has = start, False
        for k, action in enumerate(actions):
            at = walk(at, action)
            has = has or at == key
            if k < len(said):
                letter = chr(ord("A" if has else "a") + at[0] + 4 * at[1])
                assert said[k] == letter
        assert has and at == door
        assert TASK.observed(i) == [k % 2 == 1 for k in range(len(steps))]


def test_splits_share_no_problem():
    splits = key_and_door(seed=3, validation=20, held_out=30)
    prompts = [splits[split].prompt(i) for split in splits for i in range(splits[split].size)]
    assert len(set(prompts)) == len(prompts) and splits["validation"].size == 20 and splits["held_out"].size == 30
    again = key_and_door(seed=3, validation=10, held_out=30)
    assert [again["held_out"].prompt(i) for i in range(30)] == [splits["held_out"].prompt(i) for i in range(30)]
    assert encode_prompts(TASK, 3)[1].all()


def test_demonstrations_hold_the_world_back():
    tokens, mask = encode_solutions(TASK, 12)
    for i in range(0, TASK.size, 211):
        n = int(TASK.columns["difficulty"][i])
        assert TASK.tokenizer.decode(tokens[i]) == TASK.solution(i)
        assert tokens[i, 2 * n - 1] == TASK.tokenizer.end
        np.testing.assert_array_equal(mask[i], [k % 2 == 0 and k < 2 * n for k in range(12)])


def test_the_world_follows_the_solution():
    """Stepping the environment with the worked actions gives the worked observations, the reward once, and then nothing moves."""
    rows = list(range(0, TASK.size, 61))
    state = TASK.environment.reset(np.array(rows))
    step = jax.jit(TASK.environment.step)
    steps = [TASK.steps(i) for i in rows]
    total, over = np.zeros(len(rows)), np.zeros(len(rows), bool)
    anchors = [np.asarray(TASK.environment.anchor(state))]
    for turn in range(7):
        acting = np.array([2 * turn < len(s) for s in steps])
        tokens = np.array([[TASK.tokenizer.ids[s[2 * turn] if on else UP]] for s, on in zip(steps, acting, strict=True)])
        state, seen, reward, done = step(state, tokens, np.ones((len(rows), 1)))
        for b, s in enumerate(steps):
            expected = s[2 * turn + 1] if 2 * turn + 1 < len(s) else None
            found = [t for t in np.asarray(seen[b]).tolist() if t >= 0]
            assert TASK.tokenizer.decode(found) == (expected or "")
            assert float(reward[b]) == (1.0 if 2 * turn == len(s) - 1 else 0.0)
        total, over = total + np.asarray(reward), np.asarray(done)
        anchors.append(np.asarray(TASK.environment.anchor(state)))
    np.testing.assert_array_equal(total, np.ones(len(rows)))
    assert over.all()
    start = np.array([x + 4 * y for x, y in (cells(TASK, i)[0] for i in rows)])
    np.testing.assert_array_equal(anchors[0], start)
    assert max(a.max() for a in anchors) < 32


def play(task, i, text):
    """Reward and end of an episode with one character a turn."""
    state, total, done = task.environment.reset(np.array([i])), 0.0, np.array([False])
    for token in task.tokenizer.encode(text):
        state, _, reward, done = task.environment.step(state, np.array([[token]]), np.ones((1, 1)))
        total += float(reward[0])
    return total, bool(done[0])


@pytest.mark.parametrize("seed", range(2))
def test_three_judges_agree(seed):
    """Random walks: the text verifier, the one over tokens and the environment, also in turns of several tokens and with hints."""
    rng = np.random.default_rng(seed)
    rows = rng.integers(TASK.size, size=40).tolist()
    texts = ["".join(rng.choice(list(LEFT + RIGHT + UP + DOWN + "aP"), p=[0.24] * 4 + [0.02] * 2, size=12)) for _ in rows]
    texts[:10] = ["".join(TASK.steps(i)[0::2]) + DOWN for i in rows[:10]]
    hints = np.where(np.arange(40) % 3 == 0, rng.integers(0, 4, 40), 0)
    tokens, mask = (np.stack(x) for x in zip(*(ids(TASK, text, 14) for text in texts), strict=True))
    tokens[5, 1] = TASK.tokenizer.end  # gave up early
    plain, ok, _ = verify_rows(TASK, np.array(rows), tokens, mask, np.ones(40, bool))
    hinted, ok_hinted, _ = verify_rows(TASK, np.array(rows), tokens, mask, np.ones(40, bool), conditions={"hint": hints})
    assert ok.all() and ok_hinted.all() and 0 < plain["correct"].sum() < 40 and plain["correct"][5] == 0
    for given, expected in ((None, plain), (hints, hinted)):
        found = jax.jit(lambda t, m, h=given: TASK.verify_tokens(np.array(rows), t, m, hint=h))(tokens, mask)
        for name in ("correct", "format"):
            np.testing.assert_array_equal(found[name], expected[name])
    for b in (0, 3, 12, 20, 33):
        assert play(TASK, rows[b], texts[b]) == ((1.0, True) if plain["correct"][b] else (0.0, False))
    state, _, reward, _ = TASK.environment.step(TASK.environment.reset(np.array(rows)), tokens, mask)  # all in one turn
    np.testing.assert_array_equal(reward, plain["correct"])


def test_strange_tokens_and_masked_ones():
    state = TASK.environment.reset(np.array([0, 0, 0, 0]))
    before = np.asarray(TASK.environment.anchor(state))
    arrow = TASK.tokenizer.ids[DOWN]
    tokens = np.array([[0], [10_000], [arrow], [TASK.tokenizer.end]])
    after, seen, reward, done = TASK.environment.step(state, jnp.asarray(tokens), np.array([[1], [1], [0], [1]]))
    np.testing.assert_array_equal(TASK.environment.anchor(after), before)
    np.testing.assert_array_equal(done, [False, False, False, True])
    np.testing.assert_array_equal(reward, np.zeros(4))
    assert seen.shape == (4, 1) and seen[3, 0] == -1 and seen[0, 0] == TASK.tokenizer.ids[TASK.prompt(0)[-1]]


def test_hint_and_text():
    sample = Sample(np.zeros(1), np.zeros(1), "".join(TASK.steps(1)[2::2]), "length", {"hint": 2})
    assert TASK.verify(1, sample)["correct"] == 1.0
    assert TASK.prompt(1, hint=2) == TASK.prompt(1) + "".join(TASK.steps(1)[:2])


@pytest.mark.parametrize(
    ("options", "words"), [(dict(width=1, height=2), "3 to 26 cells"), (dict(width=9), "3 to 26"), (dict(longest=1), "longest 1")]
)
def test_refused(options, words):
    with pytest.raises(ValueError, match=f"key_and_door: .*{words}"):
        key_and_door(**options)
