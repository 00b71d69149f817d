import json

import numpy as np
import pytest

from pojax import tasks
from pojax.types import Sample

pytest.importorskip("math_verify", reason="the extra math is not installed")


def problem(i, **fields):
    return {
        "problem": f"What is half of ${i}$?",
        "solution": f"We halve it: $\\boxed{{\\frac{{{i}}}{{2}}}}$.",
        "level": f"Level {1 + i % 5}",
        "type": "Algebra",
        **fields,
    }


def write(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def make(path, **options):
    return tasks.math(path=str(path), **{"tokenizer": "characters"} | options)


def sample(text):
    return Sample(None, None, text, "end")


def test_lines_and_verdicts(tmp_path):
    splits = make(write(tmp_path / "math.jsonl", [problem(i) for i in range(2, 42)]))
    assert {split: task.size for split, task in splits.items()} == {"train": 32, "validation": 4, "held_out": 4}
    task = splits["train"]
    i = int(task.prompt(0).split("$")[1])
    assert task.solution(0) == problem(i)["solution"] and task.columns["difficulty"][0] == 1 + i % 5
    assert task.verify(0, sample(f"\\boxed{{{i / 2}}}")) == {"correct": 1.0, "format": 1.0}
    ids = [task.tokenizer.encode(text) for text in (f"so \\boxed{{\\frac{{{2 * i}}}{{4}}}}", "\\boxed{99}", f"{i}")]
    width = max(map(len, ids))
    tokens = np.array([row + [1] * (width - len(row)) for row in ids])
    components, ok, failures = tasks.verify_rows(task, np.zeros(3, int), tokens, np.ones_like(tokens), np.ones(3, bool))
    assert components["correct"].tolist() == [1, 0, 0] and components["format"].tolist() == [1, 1, 0] and ok.all() and not failures
    assert task.answer_in("\\boxed{ \\dfrac{1}{2} }") == task.answer_in("is \\boxed{\\frac{1}{2}}.")


def test_folders(tmp_path):
    for split, numbers in (("train", range(2, 22)), ("test", range(30, 33))):
        for i in numbers:
            path = tmp_path / "folders" / split / "algebra" / f"{i}.json"
            write(path, [problem(i, level="Level ?")])
    splits = make(tmp_path / "folders", verifier=("exact", {"extract": "boxed"}))
    assert {split: task.size for split, task in splits.items()} == {"train": 18, "validation": 2, "held_out": 3}
    assert splits["held_out"].columns["difficulty"].tolist() == [0, 0, 0] and splits["held_out"].prompt(0) == "What is half of $30$?\n"
    write(tmp_path / "lines" / "train.jsonl", [problem(i) for i in range(2, 22)])
    held_out = write(tmp_path / "other.jsonl", [problem(3, answer="1.5"), problem(40, answer="20", solution=None)])
    splits = make(tmp_path / "lines", held_out_path=held_out)
    assert splits["train"].size + splits["validation"].size == 19 and splits["held_out"].solution(1) == "\\boxed{20}"
    with pytest.raises(ValueError, match="held_out_path .* beside the test split"):
        make(tmp_path / "folders", held_out_path=held_out)


def test_bad_input(tmp_path, monkeypatch):
    path = write(tmp_path / "a.jsonl", [problem(2), problem(3, solution="no box")])
    with pytest.raises(ValueError, match=r"a\.jsonl:2: no 'answer', and 'solution' is 'no box', allowed: one of them"):
        make(path)
    with pytest.raises(ValueError, match=r"a\.jsonl:1: 'answer' is missing|a\.jsonl:1: 'problem' of the template is missing"):
        make(write(tmp_path / "a.jsonl", [{"solution": "\\boxed{1}"}]))
    (tmp_path / "empty" / "train").mkdir(parents=True)
    with pytest.raises(ValueError, match="holds no JSON file, allowed: one per problem"):
        make(tmp_path / "empty")
    monkeypatch.setitem(__import__("sys").modules, "math_verify", None)
    with pytest.raises(ImportError, match=r'pip install "pojax\[math\]"'):
        make(write(tmp_path / "a.jsonl", [problem(i) for i in range(9)]))
