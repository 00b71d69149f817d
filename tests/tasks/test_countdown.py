import re
from itertools import permutations, product

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
def train():
    task = tasks.countdown(operations="+-*/", largest=9, validation=10, held_out=10)["train"]
    return task, jax.jit(task.verify_tokens)


def test_every_chain_of_many_problems(train):
    """All chains over all the numbers, and over two of them, which may reach the target but are wrong."""
    task, verify = train
    cases = []
    for i in np.flatnonzero(task.columns["difficulty"] == 3)[:40].tolist():
        numbers, target = re.fullmatch(r"([0-9,]+)=([0-9]+):", task.prompt(i)).groups()
        for count in (2, 3):
            for chosen in set(permutations(map(int, numbers.split(",")), count)):
                for signs in product("+-*/", repeat=count - 1):
                    chain = "".join(f"{sign}{number}" for sign, number in zip(("", *signs), chosen, strict=True))
                    value, whole = chosen[0], True
                    for sign, number in zip(signs, chosen[1:], strict=True):
                        whole &= sign != "/" or value % number == 0
                        # A rest is rounded down, as a verifier that overlooks it would do.
                        value = {"+": value + number, "-": value - number, "*": value * number, "/": value // number}[sign]
                    cases.append((i, chain, count == 3, whole, value == int(target)))
    tokens = np.zeros((len(cases), 8), np.int32)
    for row, (_, chain, *_) in enumerate(cases):
        tokens[row, : len(chain) + 1] = [*task.tokenizer.encode(chain), 1]
    found = verify(np.array([case[0] for case in cases]), tokens, tokens > 0)
    expected = [all_used and whole and reached for _, _, all_used, whole, reached in cases]
    np.testing.assert_array_equal(found["correct"], np.array(expected, np.float32))
    np.testing.assert_array_equal(found["format"], 1.0)
    by_text = [task.verify(i, Sample(None, None, chain, "end"))["correct"] for i, chain, *_ in cases]
    np.testing.assert_array_equal(by_text, np.array(expected, float))
    assert any(reached and not whole for *_, whole, reached in cases)  # there were rests to notice
    assert any(reached and not all_used for _, _, all_used, _, reached in cases)


@pytest.fixture(scope="module")
def judge(train):
    """Verdict on a text for a problem with numbers 2, 3 and 4, the same from text and from tokens."""
    task, verify = train
    i = next(i for i in range(task.size) if sorted(task.prompt(i).split("=")[0].split(",")) == ["2", "3", "4"])

    def judge(text):
        by_text = task.verify(i, Sample(None, None, text, "end"))
        tokens = np.zeros((1, WIDTH), np.int32)
        tokens[0, : len(text) + 1] = [*task.tokenizer.encode(text), 1]
        by_tokens = verify(np.array([i]), tokens, np.ones((1, WIDTH), bool))
        assert {name: float(value[0]) for name, value in by_tokens.items()} == by_text
        return by_text["correct"], by_text["format"]

    return judge


@pytest.mark.parametrize("text", ["2+3", "2+3+4+4", "2+2+3+4", "23+4", "1000002+3+4", "99999999999999999999+3+4", "2+3+4000000"])
def test_other_numbers_are_wrong(judge, text):
    assert judge(text) == (0.0, 1.0)


@pytest.mark.parametrize("text", ["", "2+", "+2+3", "2++3", "02+3+4", "2+3+4=9", "2+0", "2,3", "2+-3"])
def test_what_is_no_chain_has_no_format(judge, text):
    assert judge(text) == (0.0, 0.0)


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
