import re

import jax
import numpy as np
import pytest

from pojax import tasks
from pojax.types import Sample

WIDTH = 26


def left_to_right(chain):
    value, *rest = re.findall(r"[-+*/]?[0-9]+", chain)
    value = int(value)
    for step in rest:
        number = int(step[1:])
        value = {"+": value + number, "-": value - number, "*": value * number, "/": value / number}[step[0]]
    return value


@pytest.mark.parametrize(
    "options", [{}, {"operations": "-/", "largest": 20, "validation": 20, "held_out": 20}, {"numbers": 4, "largest": 12}]
)
def test_solutions_use_the_numbers_and_reach_the_target(options):
    task = tasks.countdown(**options)["train"]
    for i in range(task.size):
        numbers, target = re.fullmatch(r"([0-9,]+)=([0-9]+):", task.prompt(i)).groups()
        numbers = sorted(map(int, numbers.split(",")))
        assert numbers == sorted(map(int, re.findall("[0-9]+", task.solution(i))))
        assert left_to_right(task.solution(i)) == int(target) and 1 <= int(target) <= 100
        assert task.columns["difficulty"][i] == len(numbers)


@pytest.fixture(scope="module")
def row():
    """A problem with numbers 2, 3 and 4, whatever its target, and verdicts on text and on tokens."""
    splits = tasks.countdown(operations="+-*/", largest=9, validation=10, held_out=10)
    task, i = next(
        (t, i) for t in splits.values() for i in range(t.size) if re.match("(2,3,4|2,4,3|3,2,4|3,4,2|4,2,3|4,3,2)=", t.prompt(i))
    )

    verify = jax.jit(task.verify_tokens)

    def judge(text):
        by_text = task.verify(i, Sample(None, None, text, "end"))
        ids = np.zeros((1, WIDTH), np.int32)
        ids[0, : len(text) + 1] = [*task.tokenizer.encode(text), 1]
        by_tokens = verify(np.array([i]), ids, np.ones((1, WIDTH), bool))
        assert {name: float(value[0]) for name, value in by_tokens.items()} == by_text, text
        return by_text["correct"], by_text["format"]

    return judge, int(task.prompt(i).split("=")[1][:-1])


def test_every_chain_is_judged_by_its_value(row):
    judge, target = row
    for a, b, c in [(2, 3, 4), (2, 4, 3), (3, 2, 4), (3, 4, 2), (4, 2, 3), (4, 3, 2)]:
        for first in "+-*/":
            for second in "+-*/":
                chain = f"{a}{first}{b}{second}{c}"
                whole = (first != "/" or a % b == 0) and left_to_right(chain) == int(left_to_right(chain))
                expected = left_to_right(chain) == target and whole
                assert judge(chain) == (float(expected), 1.0), chain


@pytest.mark.parametrize("text", ["2+3", "2+3+4+4", "2+2+3+4", "23+4", "1000002+3+4", "99999999999999999999+3+4", "2+3+4000000"])
def test_other_numbers_are_wrong(row, text):
    assert row[0](text) == (0.0, 1.0)


@pytest.mark.parametrize("text", ["", "2+", "+2+3", "2++3", "02+3+4", "2+3+4=9", "2+0", "2,3", "2+-3"])
def test_what_is_no_chain_has_no_format(row, text):
    assert row[0](text) == (0.0, 0.0)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"operations": "+^"}, "operations"),
        ({"numbers": 1}, "at least 2 numbers"),
        ({"largest": 2000}, "allowed: largest\\^numbers below 2\\^31"),
        ({"numbers": 5, "largest": 40}, "chains, allowed"),
        ({"target": 0}, "target 0"),
        ({"largest": 3}, "of 16 problems"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        tasks.countdown(**options)
