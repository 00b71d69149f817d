import re

import pytest

from pojax import tasks


@pytest.mark.parametrize("modulus, length", [(10, 2), (7, 3), (12, 2)])
def test_values_from_left_to_right(modulus, length):
    task = tasks.modular_chain(modulus=modulus, length=length, worked=True, limit=3000)["train"]
    for i in range(task.size):
        first, *rest = re.findall(r"[-+*]?[0-9]+", task.prompt(i))
        value, values = int(first), []
        for step in rest:
            number = int(step[1:])
            assert number < modulus
            value = {"+": value + number, "-": value - number, "*": value * number}[step[0]] % modulus
            values.append(value)
        assert task.solution(i) == ";".join(map(str, values))
        assert task.columns["difficulty"][i] == len(values) == len(task.steps(i))


def test_orders_within_a_class_are_all_asked():
    """Canonical representatives alone would ask only ascending factors."""
    task = tasks.modular_chain(length=1, operations="*", validation=2, held_out=2)["train"]
    pairs = [tuple(map(int, task.prompt(i)[:-1].split("*"))) for i in range(task.size)]
    assert any(a < b for a, b in pairs) and any(a > b for a, b in pairs)
    signs = {re.sub("[0-9]", "", task.prompt(i)) for task in tasks.modular_chain(operations="+-").values() for i in range(task.size)}
    assert {"+-=", "-+="} <= signs


@pytest.mark.parametrize(
    "options, message",
    [
        ({"operations": "+/"}, "operations"),
        ({"modulus": 1}, "modulus 1 and length 2, allowed"),
        ({"length": 0}, "length 0, allowed"),
        ({"length": 6}, "7290000000 chains, allowed"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        tasks.modular_chain(**options)
