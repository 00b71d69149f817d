"""The task of instructions with constraints that a program checks."""

import json

import pytest

from pojax.tasks import instructions
from pojax.types import Sample


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def row(i):
    wanted = [{"name": "no_commas"}, {"name": "words", "number": 20, "relation": "at most"}, {"name": "repeats_prompt"}]
    return {"prompt": f"Describe day {i}.", "constraints": wanted if i % 2 else wanted[:2], "solution": f"Describe day {i}. It was fine."}


def test_rows(tmp_path):
    tasks = instructions(path=write(tmp_path / "rows.jsonl", map(row, range(12))), tokenizer="characters")
    for task in tasks.values():
        for i in range(task.size):
            assert task.verify(i, Sample(None, None, task.solution(i), "end")) == {"correct": 1, "share": 1}
            odd = int(task.prompt(i).split()[-1][:-1]) % 2
            found = task.verify(i, Sample(None, None, "Well, fine.", "end"))
            assert found["correct"] == 0 and found["share"] == pytest.approx(1 / 3 if odd else 1 / 2)


def test_rows_without_a_solution(tmp_path):
    rows = [{"prompt": f"Title {i}", "constraints": '[{"name": "title"}]'} for i in range(12)]
    task = instructions(path=write(tmp_path / "rows.jsonl", rows), tokenizer="characters")["train"]
    assert task.solution(0) == "" and task.verify(0, Sample(None, None, "<<Mine>> text", "end"))["correct"] == 1


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"prompt": "p"}, r"rows\.jsonl:2: 'constraints' is missing"),
        ({"prompt": "p", "constraints": [{"name": "wordz", "number": 3}]}, r"rows\.jsonl:2: .*'wordz'; nearest: words"),
        ({"prompt": "p", "constraints": [{"name": "words", "numbers": 3}]}, r"rows\.jsonl:2: .*no option 'numbers'; nearest: number"),
        ({"prompt": "p", "constraints": [{"name": "no_commas"}], "solution": "a, b"}, r"rows\.jsonl:2: the solution 'a, b'"),
    ],
)
def test_malformed_rows_are_named(tmp_path, bad, message):
    with pytest.raises(ValueError, match=message):
        instructions(path=write(tmp_path / "rows.jsonl", [row(1), bad]), tokenizer="characters")
