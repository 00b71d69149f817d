"""Text and tokens give the same verdicts, on right answers, near misses and garbage."""

import functools

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pojax import tasks
from pojax.tasks import verify_rows
from pojax.tasks.numeric import TOKENIZER, draw, token_table
from pojax.types import Sample

ROWS, WIDTH = 8, 14
MAKERS = {
    "arithmetic": lambda: tasks.arithmetic(operations="+-*/"),
    "arithmetic worked": lambda: tasks.arithmetic(operations="+-", worked=True),
    "countdown": lambda: tasks.countdown(operations="+-*/", largest=12, validation=50, held_out=50),
    "modular_chain": lambda: tasks.modular_chain(),
    "modular_chain worked": lambda: tasks.modular_chain(worked=True),
    "sorting": lambda: tasks.sorting(),
    "reversal": lambda: tasks.reversal(),
}


@functools.cache
def made(name):
    task = MAKERS[name]()["train"]
    return task, jax.jit(task.verify_tokens), jax.jit(lambda i, t, m, hint: task.verify_tokens(i, t, m, hint=hint))


@functools.cache
def solutions(name):
    """Tokens of the first solutions, and their numbers of steps."""
    task = made(name)[0]
    ids = [[*task.tokenizer.encode(task.solution(i)), 1][:WIDTH] for i in range(200)]
    return [row + [0] * (WIDTH - len(row)) for row in ids], [len(task.steps(i)) for i in range(200)]


@pytest.fixture(scope="module", autouse=True)
def before_hypothesis_draws():
    """The run-time type checks use the module random, which hypothesis does not like inside a strategy."""
    for name in MAKERS:
        solutions(name)


def response(name, draw):
    """A row of tokens and mask: a solution, damaged in a few places, or any tokens at all; and a number of steps as its hint."""
    all_ids, steps = solutions(name)
    i = draw(st.integers(0, 199))
    ids = list(all_ids[i])
    mask = [position <= (ids.index(1) if 1 in ids else WIDTH) for position in range(WIDTH)]
    kind = draw(st.sampled_from(["right", "damaged", "any"]))
    if kind != "right":
        places = st.integers(0, WIDTH - 1) if kind == "damaged" else st.just(None)
        tokens = st.sampled_from([0, 1, 2, 3, *range(11, 24), -1, 500])
        if kind == "any":
            ids = draw(st.lists(tokens, min_size=WIDTH, max_size=WIDTH))
            mask = draw(st.lists(st.booleans(), min_size=WIDTH, max_size=WIDTH))
        else:
            for _ in range(draw(st.integers(1, 2))):
                ids[draw(places)] = draw(tokens)
                mask[draw(places)] = draw(st.booleans())
    return i, ids, mask, draw(st.integers(0, steps[i]))


@st.composite
def batches(draw):
    name = draw(st.sampled_from(sorted(MAKERS)))
    rows = [response(name, draw) for _ in range(ROWS)]
    indices, tokens, mask, hint = (np.array(column) for column in zip(*rows, strict=True))
    return name, indices, tokens.astype(np.int32), mask, hint


@settings(max_examples=120)
@given(batches())
def test_text_and_tokens_agree(batch):
    name, indices, tokens, mask, hint = batch
    task, verify, verify_hinted = made(name)
    ended = ((tokens == 1) & mask).any(axis=1)
    for conditions, found in (({}, verify(indices, tokens, mask)), ({"hint": hint}, verify_hinted(indices, tokens, mask, hint))):
        expected, ok, failures = verify_rows(task, indices, tokens, mask, ended, conditions=conditions)
        assert ok.all() and not failures
        for component in task.fields:
            np.testing.assert_array_equal(found[component], expected[component], err_msg=f"{name}, {component}, {conditions}")


@pytest.mark.parametrize("name", MAKERS)
def test_solutions_are_right_and_nothing_else_is(name):
    task, verify, verify_hinted = made(name)
    indices = np.arange(64)
    width = 1 + max(len(task.solution(i)) for i in range(64))
    tokens, mask = tasks.encode_solutions(task, width, indices)
    right = verify_rows(task, indices, tokens, mask, np.ones(64, bool))[0]
    assert right["correct"].all() and right["format"].all()
    assert np.asarray(verify(indices, tokens, mask)["correct"]).all()
    assert not np.asarray(verify(indices, tokens, mask & (tokens != 1))["correct"]).any()  # did not end by itself
    moved = verify_rows(task, indices, np.roll(tokens, 1, axis=0), np.roll(mask, 1, axis=0), np.ones(64, bool))[0]
    same = [task.solution(i).rpartition(";")[2] == task.solution((i - 1) % 64).rpartition(";")[2] for i in range(64)]
    np.testing.assert_array_equal(moved["correct"], np.array(same, np.float32))
    # What a hint began, the response finishes.
    rest = [task.steps(i)[1:] for i in range(64)]
    for i in range(64):
        sample = Sample(tokens[i], mask[i], "".join(rest[i]), "end", {"hint": 1})
        assert task.verify(i, sample)["correct"] == 1.0


@pytest.mark.parametrize(
    "text, correct, parsed",
    [("95", 1, 1), ("095", 0, 1), ("96", 0, 1), ("", 0, 0), ("95=", 0, 0), ("+95", 0, 0), ("9;95", 0, 0), ("9 5", 0, 0), ("٩٥", 0, 0)],
)
def test_a_sum_is_judged_exactly(text, correct, parsed):
    task = tasks.arithmetic()["train"]
    i = next(i for i in range(task.size) if task.solution(i) == "95")
    assert task.verify(i, Sample(None, None, text, "end")) == {"correct": correct, "format": parsed}
    assert task.verify(i, Sample(None, None, text, "length")) == {"correct": 0, "format": 0}


def test_float64_components(x64):
    task = tasks.sorting()["validation"]
    tokens, mask = tasks.encode_solutions(task, 8, range(4))
    assert task.verify_tokens(np.arange(4), tokens, mask)["correct"].dtype == np.float64


def test_draw_is_the_beginning_of_a_permutation():
    assert sorted(draw(20, 20, np.random.default_rng(0)).tolist()) == list(range(20))
    few = draw(10**9, 1000, np.random.default_rng(0))
    assert len(set(few.tolist())) == 1000 and 0.4 < few.mean() / 10**9 < 0.6
    with pytest.raises(ValueError, match="limit: found 0"):
        draw(20, 0, np.random.default_rng(0))


def test_token_table():
    tokens, lengths = token_table(np.array(["0", "1+2=", "98"]))
    assert [TOKENIZER.decode(row[:length]) for row, length in zip(tokens, lengths, strict=True)] == ["0", "1+2=", "98"]
    assert (tokens[0, 1:] == 0).all()
