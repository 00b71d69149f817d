"""The splits of every task whose space is finite, and the task type itself."""

import dataclasses

import jax
import numpy as np
import pytest

from pojax import tasks
from pojax.tasks.task import split_groups, split_ranges

# A problem in a form that all its equivalent writings share, from its prompt alone and by other means than the task's own.


def arithmetic_class(prompt):
    for sign in "+*":
        if sign in prompt:
            return sign, tuple(sorted(map(int, prompt[:-1].split(sign))))
    return prompt


def countdown_class(prompt):
    return tuple(sorted(map(int, prompt.split("=")[0].split(","))))


def sorting_class(prompt):
    return tuple(sorted(prompt))


def reversal_class(prompt):
    return frozenset([prompt[:-1], prompt[-2::-1]])


def chain_class(prompt):
    """Neighbouring terms as one bag, neighbouring factors as another."""
    text = prompt[:-1]
    parts = [("*" if "*" in text[1:2] else "+", text[0])] + [(text[j], text[j + 1]) for j in range(1, len(text), 2)]
    bags = []
    for sign, value in parts:
        if bags and (bags[-1][0] == "*") == (sign == "*"):
            bags[-1][1].append((sign, value))
        else:
            bags.append((sign, [(sign, value)]))
    return tuple(tuple(sorted(bag)) for _, bag in bags)


CASES = {
    "sums": (lambda **k: tasks.arithmetic(**k), arithmetic_class, 5050),
    "all operations": (
        lambda **k: tasks.arithmetic(operations="+-*/", digits=1, validation=40, held_out=40, **k),
        arithmetic_class,
        3 * 55 + 90,
    ),
    "countdown": (lambda **k: tasks.countdown(**k), countdown_class, 465 + 4960),
    "sorting": (lambda **k: tasks.sorting(**k), sorting_class, 220 + 715 + 2002 + 5005),
    "reversal": (lambda **k: tasks.reversal(**k), reversal_class, (1000 + 100) // 2 + (10000 + 100) // 2),
    # 1 operation: 55 + 100 + 55; 2: three signs ++ 220, +- and -- 55*10 twice (as a-b+c is a+c-b), +* *+ 55*10, *- 55*10, -* 1000, ** 220
    "chains": (lambda **k: tasks.modular_chain(**k), chain_class, 210 + 220 + 550 + 550 + 550 + 550 + 550 + 1000 + 220),
}


@pytest.fixture(scope="module")
def built():
    return {name: make() for name, (make, _, _) in CASES.items()}


@pytest.mark.parametrize("name", CASES)
def test_splits_are_ranges_of_all_classes_that_never_meet(built, name):
    _, class_of, total = CASES[name]
    classes = {split: [class_of(task.prompt(i)) for i in range(task.size)] for split, task in built[name].items()}
    assert list(classes) == ["train", "validation", "held_out"]
    everything = [problem for split in classes.values() for problem in split]
    assert len(set(everything)) == len(everything) == total  # every class once: splits do not meet, and none is missing


@pytest.mark.parametrize("name", CASES)
def test_each_split_has_every_answer_class_and_difficulty(built, name):
    task = built[name]["train"]
    difficulties = set(task.columns["difficulty"].tolist())
    assert len(difficulties) > 1
    digits = {task.solution(i)[-1] for i in range(task.size)}
    for split in ("validation", "held_out"):
        other = built[name][split]
        assert set(other.columns["difficulty"].tolist()) == difficulties
        if name in ("sums", "all operations", "chains", "reversal"):
            assert {other.solution(i)[-1] for i in range(other.size)} == digits  # the answer's last digit
        if name == "sorting":
            assert set("".join(other.solution(i) for i in range(other.size))) == set("0123456789")
        if name == "countdown":  # the answer is an expression; its value is the target
            assert {other.prompt(i)[-2] for i in range(other.size)} == set("0123456789")


@pytest.mark.parametrize("name", CASES)
def test_seed_decides_everything(built, name):
    make = CASES[name][0]
    again, other = make()["train"], make(seed=1)["train"]
    first = built[name]["train"]
    rows = range(first.size)
    assert [first.prompt(i) + first.solution(i) for i in rows] == [again.prompt(i) + again.solution(i) for i in rows]
    assert [first.prompt(i) for i in rows] != [other.prompt(i) for i in rows]


def test_default_sizes(built):
    assert built["sums"]["held_out"].size >= 512 and built["sums"]["validation"].size >= 256
    larger = tasks.arithmetic(validation=300)["held_out"]  # what is held out does not move with the other splits
    assert [larger.prompt(i) for i in range(512)] == [built["sums"]["held_out"].prompt(i) for i in range(512)]


def test_hints_cut_the_solution_at_steps():
    task = tasks.arithmetic(worked=True)["train"]
    i = next(i for i in range(task.size) if len(task.steps(i)) == 3)
    assert [task.hint(i, k) for k in range(4)] == ["".join(task.steps(i)[:k]) for k in range(4)]
    assert task.hint(i, 3) == task.solution(i)
    assert task.prompt(i, hint=np.int32(2)) == task.prompt(i) + task.hint(i, 2)
    for k in (-1, 4):
        with pytest.raises(ValueError, match=rf"hint: found {k}, allowed: 0 to 3"):
            task.prompt(i, hint=k)


def test_task_says_what_is_wrong():
    task = tasks.sorting()["validation"]
    with pytest.raises(ValueError, match="no rows"):
        dataclasses.replace(task, size=0, columns={})
    with pytest.raises(ValueError, match="column 'difficulty' has 3 rows, allowed: 256"):
        dataclasses.replace(task, columns={"difficulty": np.zeros(3)})
    with pytest.raises(ValueError, match="'correct' is both"):
        dataclasses.replace(task, columns={"correct": np.zeros(task.size)})


@pytest.mark.parametrize("validation, held_out", [(0, 1), (1, 0), (5, 5)])
def test_splits_that_would_be_empty(validation, held_out):
    with pytest.raises(ValueError, match=f"validation={validation} and held_out={held_out} of 10 problems"):
        split_ranges(np.arange(10), validation=validation, held_out=held_out, name="x")
    with pytest.raises(ValueError, match="of 10 rows"):
        split_groups([str(i) for i in range(10)], {"held_out": held_out, "validation": validation}, seed=0, name="x")


def test_groups_stay_together():
    keys = [f"{i % 7}" for i in range(50)]
    parts = split_groups(keys, {"held_out": 8, "validation": 8}, seed=3, name="x")
    assert list(parts) == ["train", "validation", "held_out"]
    assert sorted(np.concatenate(list(parts.values())).tolist()) == list(range(50))
    found = [{keys[i] for i in rows} for rows in parts.values()]
    assert not (found[0] & found[1] or found[0] & found[2] or found[1] & found[2])
    assert len(parts["held_out"]) >= 8 and len(parts["validation"]) >= 8


def test_registry_holds_constructors():
    assert len(set(tasks.__all__)) == len(tasks.__all__)
    for name in tasks.__all__:
        assert getattr(tasks, name).__name__ == name


def test_a_task_may_be_static_under_jit():
    task = tasks.sorting()["validation"]
    size = jax.jit(lambda x, task: x + task.size, static_argnums=1)
    assert size(1, task) == task.size + 1
