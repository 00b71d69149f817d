"""The task of programs: rows as MBPP, HumanEval and input/output sets write them."""

import json
import os

import pytest

from pojax.tasks import code
from pojax.tasks.verifiers import sandbox
from pojax.types import Sample

REFUSED = sandbox.protections()["refused"] if os.name == "posix" else "needs Linux"
pytestmark = pytest.mark.skipif(REFUSED is not None, reason=f"no namespaces here: {REFUSED}")


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def mbpp(i):
    return {
        "text": f"Write a function to add {i} to a number.",
        "code": f"def plus(x):\n    return x + {i}",
        "test_list": [f"assert plus({k}) == {k + i}" for k in range(3)],
        "test_setup_code": "",
    }


def verdict(task, i, text):
    return task.verify(i, Sample(None, None, text, "end"))


def test_rows_in_the_form_of_mbpp(tmp_path):
    keys = dict(prompt_key="text", tests_key="test_list", setup_key="test_setup_code", solution_key="code")
    tasks = code(path=write(tmp_path / "mbpp.jsonl", map(mbpp, range(12))), tokenizer="characters", **keys)
    task = tasks["train"]
    assert {split: tasks[split].size for split in tasks} == {"train": 10, "validation": 1, "held_out": 1}
    assert task.solution(0).startswith("```python\ndef plus(x):\n    return x + ") and task.solution(0).endswith("\n```")
    assert set(task.fields) == {"correct", "passed", "format"}
    assert verdict(task, 0, task.solution(0)) == {"correct": 1, "passed": 1, "format": 1}
    assert verdict(task, 0, task.solution(1)) == {"correct": 0, "passed": 0, "format": 1}


def test_rows_in_the_form_of_humaneval_and_of_input_and_output(tmp_path):
    check = "def check(candidate):\n    assert candidate([1, 2]) == 3\n"
    rows = [{"prompt": f"Sum {i}.", "tests": check, "entry_point": "total", "solution": "total = sum"} for i in range(8)]
    rows += [
        {"prompt": f"Echo {i}.", "tests": {"cases": [{"input": f"{i}", "output": f"{i}"}]}, "solution": "print(input())"} for i in range(2)
    ]
    tasks = code(path=write(tmp_path / "rows.jsonl", rows), tokenizer="characters")
    for task in tasks.values():
        assert verdict(task, 0, task.solution(0)) == {"correct": 1, "passed": 1, "format": 1}
        assert verdict(task, 0, "```python\ntotal = len\n```")["correct"] == 0


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"prompt": "p"}, r"rows\.jsonl:2: 'tests' is missing, allowed: .*asserts"),
        ({"prompt": "p", "tests": 5}, r"rows\.jsonl:2: 'tests' is 5"),
        ({"prompt": "p", "tests": ["assert f() =="]}, r"rows\.jsonl:2: 'tests' is .*, allowed: assert 0 as Python code"),
        ({"prompt": "p", "tests": "assert f(", "solution": "f = 1"}, r"rows\.jsonl:2: .*allowed: tests as Python code"),
        ({"prompt": "p", "tests": ["assert f()"], "solution": 3}, r"rows\.jsonl:2: .*allowed: a text under 'solution'"),
        ({"tests": ["assert f()"]}, r"rows\.jsonl:2: 'prompt' is missing"),
    ],
)
def test_malformed_rows_are_named(tmp_path, row, message):
    good = {"prompt": "q", "tests": ["assert f()"]}
    with pytest.raises(ValueError, match=message):
        code(path=write(tmp_path / "rows.jsonl", [good, row]), tokenizer="characters")
