import json
import logging
import re

import numpy as np
import pytest
import shared

from pojax import tasks
from pojax.types import Sample


def judge(task, i, text, reason="end"):
    return tuple(task.verify(i, Sample(None, None, text, reason)).values())


@pytest.fixture(scope="module")
def real():
    return tasks.gsm8k(path=shared.data("gsm8k"), tokenizer="characters")


def lines(split):
    with open(shared.data(f"gsm8k/{split}.jsonl")) as file:
        return [json.loads(line) for line in file]


def test_splits_are_the_files(real):
    assert {split: task.size for split, task in real.items()} == {"train": 7217, "validation": 256, "held_out": 1319}
    asked = [real["held_out"].prompt(i).strip() for i in range(1319)]
    assert asked == [line["question"].strip() for line in lines("test")]
    known = {" ".join(line["question"].split()) for line in lines("test")}
    learned = [" ".join(real[split].prompt(i).split()) for split in ("train", "validation") for i in range(real[split].size)]
    assert len(learned) == 7473 and not known & set(learned)


def test_every_solution_is_right(real):
    task = real["held_out"]
    for i, line in enumerate(lines("test")):
        assert judge(task, i, task.solution(i)) == (1, 1) and judge(task, i, line["answer"]) == (1, 1)
        assert "<<" not in task.solution(i) and task.columns["difficulty"][i] == len(line["answer"].splitlines()) - 1
    assert judge(task, 0, "#### $18.00") == (1, 1) and judge(task, 0, "#### 17") == (0, 1)
    assert judge(task, 0, "18") == (0, 0) and judge(task, 0, "#### 18", "length") == (0, 0)
    assert task.steps(0)[-1] == "#### 18" and task.answer_in("so #### 18.0") == "18" == task.answer_in("#### $18")


def write(folder, train, test):
    for name, rows in (("train", train), ("test", test)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(folder)


def problem(i, question="Ann has {} apples and gets one. How many has she?"):
    return {"question": question.format(i), "answer": f"She has {i}+1=<<{i}+1={i + 1}>>{i + 1} apples.\nThat is all.\n#### {i + 1:,}"}


def test_options(tmp_path, caplog):
    caplog.set_level(logging.WARNING)
    path = write(tmp_path, [problem(i) for i in range(1000, 1030)] + [problem(1000)], [problem(1000), problem(7)])
    options = {"path": path, "tokenizer": "characters", "validation": 5}
    splits = tasks.gsm8k(**options)
    assert {split: task.size for split, task in splits.items()} == {"train": 24, "validation": 5, "held_out": 2}
    assert caplog.messages == [
        "gsm8k: 2 of 31 rows dropped, whose prompts are held out; 5 of 5 validation prompts occur in train with other numbers; "
        "2 of 2 held_out prompts occur in train with other numbers"
    ]
    task = splits["held_out"]
    assert task.prompt(0) == "Ann has 1000 apples and gets one. How many has she?\n" and task.columns["difficulty"].tolist() == [2, 2]
    assert task.solution(0) == "She has 1000+1=1001 apples.\nThat is all.\n#### 1,001"
    noted = tasks.gsm8k(**options, notes=True, verifier=("numeric", {"extract": "boxed"}), template="Q: {question}\nA:", shots=1)
    task = noted["held_out"]
    assert task.solution(1) == "She has 7+1=<<7+1=8>>8 apples.\nThat is all.\n\\boxed{8}" and noted["train"].size == 23
    shot, asked = task.prompt(1).split("\n\n")
    assert re.fullmatch(r"Q: Ann has (\d+) apples[^\n]*\nA: She has \1\+1[^\n]*\nThat is all\.\n\\boxed\{[\d,]+\}", shot)
    assert asked == "Q: Ann has 7 apples and gets one. How many has she?\nA:"
    assert judge(task, 1, "\\boxed{8}") == (1, 1) and judge(task, 1, "#### 8") == (0, 0)
    many = tasks.gsm8k(**options, verifier=[("numeric", {"extract": ["hash_marks", "last_number"]}), ("language_consistency", {})])
    assert many["held_out"].fields == {"correct": (), "format": (), "language": ()}
    assert judge(many["held_out"], 1, "it is 8") == (1, 1, 1)


def test_random_text_has_unequal_components(tmp_path):
    """What random weights write is never right and never ends; the share of Latin letters still differs from row to row."""
    path = write(tmp_path, [problem(i) for i in range(40)], [problem(50)])
    task = tasks.gsm8k(
        path=path, tokenizer="characters", validation=4, verifier=[("numeric", {"extract": "hash_marks"}), ("language_consistency", {})]
    )["train"]
    letters = task.tokenizer.alphabet + "жшдц漢字"
    generator = np.random.default_rng(0)
    texts = ["".join(generator.choice(list(letters), 40)) for _ in range(8)]
    verdicts = [task.verify(i, Sample(None, None, text, "length")) for i, text in enumerate(texts)]
    assert not any(verdict["correct"] or verdict["format"] for verdict in verdicts)
    assert len({verdict["language"] for verdict in verdicts}) > 4


def test_bad_input(tmp_path):
    with pytest.raises(ValueError, match="gsm8k: path '.*' holds no train.jsonl, allowed: a folder with train.jsonl and test.jsonl"):
        tasks.gsm8k(path=str(tmp_path))
    path = write(tmp_path, [problem(1), {"question": "a", "answer": "no marks"}], [problem(2)])
    with pytest.raises(ValueError, match=r"train\.jsonl:2: 'answer' is 'no marks', allowed: a worked solution"):
        tasks.gsm8k(path=path)
    path = write(tmp_path, [problem(i) for i in range(9)], [{"question": "a", "answer": "so\n#### many"}])
    with pytest.raises(ValueError, match=r"test\.jsonl:1: .*allowed: a written number"):
        tasks.gsm8k(path=path)
    with pytest.raises(ValueError, match="shots=30 of .* training rows"):
        tasks.gsm8k(path=write(tmp_path, [problem(i) for i in range(9)], [problem(50)]), validation=1, shots=30)
