import re

import pytest

from pojax import tasks
from pojax.types import Sample


def compute(prompt):
    a, sign, b = re.fullmatch(r"([0-9]+)([-+*/])([0-9]+)=", prompt).groups()
    a, b = int(a), int(b)
    return {"+": a + b, "-": a - b, "*": a * b, "/": a / b if b else None}[sign]


@pytest.mark.parametrize("worked", [False, True])
def test_answers_and_working(worked):
    task = tasks.arithmetic(operations="+-*/", digits=3, limit=4000, worked=worked)["train"]
    for i in range(task.size):
        *lines, answer = task.solution(i).split(";")
        assert int(answer) == compute(task.prompt(i)) >= 0 and answer == str(int(answer))
        assert bool(lines) <= worked
        for line in lines:  # each line of the working is true
            left, right = line.split("=")
            sign = re.search(r"[-+*]", left)[0]
            values = [int(value) for value in left.split(sign)]
            assert int(right) == {"+": sum(values), "-": values[0] - sum(values[1:]), "*": values[0] * values[-1]}[sign]
        if worked:
            assert "".join(task.steps(i)) == task.solution(i) and task.steps(i)[-1] == answer


def test_working_by_hand():
    made = {
        task.prompt(i): task.solution(i) for task in tasks.arithmetic(operations="+-*/", worked=True).values() for i in range(task.size)
    }
    known = {"52-17=": "12-7=5;5-1-1=3;35", "98-98=": "8-8=0;9-9=0;0", "2146/58=": "58*7=406;58*30=1740;37", "0/9=": "0"}
    assert {prompt: made[prompt] for prompt in known} == known
    # Of these a seeded bit chooses one each.
    either = {"37+58=": "7+8=15;3+5+1=9;95", "58+37=": "8+7=15;5+3+1=9;95"}
    assert [made[prompt] for prompt in either if prompt in made] == [either[prompt] for prompt in either if prompt in made] != []
    products = {"37*58=": "37*8=296;37*50=1850;296+1850=2146;2146", "58*37=": "58*7=406;58*30=1740;406+1740=2146;2146"}
    assert [made[prompt] for prompt in products if prompt in made] == [products[prompt] for prompt in products if prompt in made] != []


def test_reversed_answers():
    plain, reverse = tasks.arithmetic(worked=True), tasks.arithmetic(worked=True, reverse=True)
    for split, task in reverse.items():
        for i in range(task.size):
            assert task.prompt(i) == plain[split].prompt(i)
            assert task.steps(i) == [*plain[split].steps(i)[:-1], plain[split].steps(i)[-1][::-1]]
    task = tasks.arithmetic(reverse=True)["train"]
    i = next(i for i in range(task.size) if task.solution(i) == "03")  # of 30
    texts = {"03": 1.0, "30": 0.0, "3": 0.0}
    assert {text: task.verify(i, Sample(None, None, text, "end"))["correct"] for text in texts} == texts


def test_both_orders_are_asked():
    task = tasks.arithmetic()["train"]
    operands = [tuple(map(int, task.prompt(i)[:-1].split("+"))) for i in range(task.size)]
    ascending = sum(a < b for a, b in operands) / sum(a != b for a, b in operands)
    assert 0.45 < ascending < 0.55


def carries(a, b):
    return sum((a % 10**k + b % 10**k) >= 10**k for k in range(1, 4))


def borrows(a, b):
    return sum((a % 10**k) < (b % 10**k) for k in range(1, 4))


@pytest.mark.parametrize("operation, count", [("+", carries), ("-", borrows)])
def test_difficulty_counts_carries_and_borrows(operation, count):
    task = tasks.arithmetic(operations=operation, digits=3, limit=3000)["train"]
    for i in range(task.size):
        a, b = map(int, task.prompt(i)[:-1].split(operation))
        assert task.columns["difficulty"][i] == count(a, b)


def test_a_space_too_large_to_list_is_drawn_from():
    task = tasks.arithmetic(operations="+*", digits=6, limit=5000)["train"]
    prompts = [task.prompt(i) for i in range(task.size)]
    assert len(set(prompts)) == 5000 - 256 - 512
    assert all(int(task.solution(i)) == compute(prompts[i]) for i in range(task.size))
    assert max(len(prompt) for prompt in prompts) == 14


@pytest.mark.parametrize(
    "options, message",
    [
        ({"operations": "+%"}, "operations '\\+%'"),
        ({"operations": "++"}, "each once"),
        ({"operations": ""}, "one or more"),
        ({"digits": 0}, "digits 0, allowed: 1 to 6"),
        ({"digits": 1}, "validation=256 and held_out=512 of 55 problems"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        tasks.arithmetic(**options)
