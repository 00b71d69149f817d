import numpy as np
import pytest

from pojax import tasks
from pojax.tasks import Task, encode_prompts, encode_solutions, verify_rows
from pojax.tasks.tokenizers import Characters

PROMPTS, SOLUTIONS = ["ab", "abba", "a"], [["b"], ["a", "b"], []]


def make(verify=None, prompts=PROMPTS, fields=None):
    return Task(
        name="letters",
        split="train",
        size=len(prompts),
        tokenizer=Characters("ab"),
        prompt=lambda i: prompts[i],
        steps=lambda i: SOLUTIONS[i],
        verify=verify or (lambda i, sample: {"correct": 1.0}),
        fields=fields or {"correct": ()},
    )


def test_prompts_are_left_padded():
    tokens, mask, kept = encode_prompts(make(), 5)
    np.testing.assert_array_equal(tokens, [[0, 0, 0, 2, 3], [0, 2, 3, 3, 2], [0, 0, 0, 0, 2]])
    np.testing.assert_array_equal(mask, tokens > 0)
    np.testing.assert_array_equal(kept, [0, 1, 2])
    assert tokens.dtype == np.int32 and mask.dtype == bool


def test_long_prompts():
    with pytest.raises(
        ValueError, match=r"letters/train: prompt 1 has 4 tokens, allowed: at most 3 \(1 of 3 prompts are longer, the longest has 4\)"
    ):
        encode_prompts(make(), 3)
    tokens, _, kept = encode_prompts(make(), 3, drop_long=True)
    np.testing.assert_array_equal(kept, [0, 2])
    np.testing.assert_array_equal(tokens, [[0, 2, 3], [0, 0, 2]])
    with pytest.raises(ValueError, match="all 3 prompts are longer than 0"):
        encode_prompts(make(), 0, drop_long=True)
    with pytest.raises(ValueError, match="prompt 1 is empty"):
        encode_prompts(make(prompts=["a", ""]), 3)


def test_solutions_end_with_the_end_token():
    tokens, mask = encode_solutions(make(), 3)
    np.testing.assert_array_equal(tokens, [[3, 1, 0], [2, 3, 1], [1, 0, 0]])
    np.testing.assert_array_equal(mask, tokens > 0)
    np.testing.assert_array_equal(encode_solutions(make(), 3, np.array([2, 0]))[0], [[1, 0, 0], [3, 1, 0]])
    with pytest.raises(ValueError, match=r"solution 1 has 3 tokens with its end token, allowed: at most 2 \(the longest has 3\)"):
        encode_solutions(make(), 2)


def test_verifier_sees_the_sample():
    seen = []

    def verify(i, sample):
        seen.append((i, sample.text, sample.finish_reason, sample.components, sample.step))
        return {"correct": i == 2, "spans": np.array([1, 2])}

    task = make(verify, fields={"correct": (), "spans": (2,)})
    tokens = np.array([[2, 0, 3, 1, 3], [2, 3, 99, 3, 3]])
    mask = np.array([[1, 1, 1, 1, 1], [1, 0, 1, 1, 0]])
    components, ok, failures = verify_rows(
        task, np.array([2, 0]), tokens, mask, np.array([True, False]), conditions={"length": np.array([5, 6])}, step=7
    )
    # Chosen tokens only, up to the end; an unknown id shows.
    assert seen == [(2, "ab", "end", {"length": 5}, 7), (0, "a\ufffdb", "length", {"length": 6}, 7)]
    np.testing.assert_array_equal(components["correct"], np.array([1, 0], np.float32))
    np.testing.assert_array_equal(components["spans"], np.array([[1, 2]] * 2, np.float32))
    assert components["correct"].dtype == np.float32 and ok.all() and failures == []


@pytest.mark.parametrize(
    "verdict, message",
    [
        (lambda: 1 / 0, "ZeroDivisionError: division by zero"),
        (lambda: {"correct": float("nan")}, "component 'correct' is nan"),
        (lambda: {"correct": np.inf}, "component 'correct' is inf"),
        (lambda: {"correct": [1.0]}, "allowed: finite numbers of shape ()"),
        (lambda: {"correct": "yes"}, "ValueError"),
        (dict, "the verifier gave [], allowed: ['correct']"),
        (lambda: {"correct": 1.0, "other": 1.0}, "the verifier gave ['correct', 'other']"),
        (lambda: None, "the verifier gave None"),
        (lambda: exec("raise KeyError('a b\\nc\\nd')"), "KeyError: 'a b"),
    ],
)
def test_a_verifier_that_fails_takes_its_row_out(verdict, message):
    task = make(lambda i, sample: verdict() if i == 1 else {"correct": 1.0})
    components, ok, failures = verify_rows(task, np.array([0, 1]), np.array([[2, 1]] * 2), np.ones((2, 2)), np.ones(2, bool))
    np.testing.assert_array_equal(components["correct"], np.array([1, 0], np.float32))
    np.testing.assert_array_equal(ok, [True, False])
    assert len(failures) == 1 and message in failures[0]
    assert failures[0].startswith("task letters/train, row 1, response 'a': ") and "\n" not in failures[0]


def test_every_numeric_prompt_fits_what_it_says():
    task = tasks.arithmetic()["held_out"]
    tokens, mask, kept = encode_prompts(task, 6)
    assert len(kept) == task.size
    assert [task.tokenizer.decode(row[there]) for row, there in zip(tokens, mask, strict=True)] == [
        task.prompt(i) for i in range(task.size)
    ]
