import json
import re
from collections import Counter

import numpy as np
import pytest
import shared

from pojax import tasks
from pojax.types import Sample

PROBLEM = {"Body": "Dan had 5 apples. He ate 2", "Question": "How many are left?", "Equation": "( 5.0 - 2.0 )", "Answer": 3.0}


@pytest.fixture(scope="module")
def real():
    return tasks.svamp(path=shared.data("svamp/SVAMP.json"))


def judge(task, i, text, reason="end"):
    return tuple(task.verify(i, Sample(None, None, text, reason)).values())


def test_no_story_is_in_two_splits(real):
    """Checked on the raw file: stories of the rows that the prompts come from."""
    with open(shared.data("svamp/SVAMP.json")) as file:
        stories = {}
        for problem in json.load(file):
            story = re.sub(r"\d+(\.\d+)?", "#", problem["Body"].strip()).lower()
            stories.setdefault((problem["Body"].strip(), problem["Question"].strip()), story)
    found = {split: set() for split in real}
    for split, task in real.items():
        for i in range(task.size):
            prompt = task.prompt(i)
            body, question = next(key for key in stories if prompt.startswith(key[0]) and prompt.endswith(key[1]))
            found[split].add(stories[body, question])
    assert not (found["train"] & found["held_out"] or found["train"] & found["validation"] or found["validation"] & found["held_out"])
    assert Counter(stories.values()).most_common(1)[0][1] > 5  # there was something to keep together


def test_sizes_and_solutions(real):
    assert sum(task.size for task in real.values()) == 999  # one problem's equation contradicts its answer
    assert 200 <= real["held_out"].size < 210 and 100 <= real["validation"].size < 110
    for task in real.values():
        assert all(judge(task, i, task.solution(i)) == (1, 1) for i in range(task.size))
        assert set(task.columns["difficulty"].tolist()) >= {1, 2}
        assert not any(" " in task.solution(i) or ".0" in task.solution(i) for i in range(task.size))


def test_tokenizer_is_trained_on_train_and_shared(real):
    tokenizer = real["train"].tokenizer
    assert {task.tokenizer for task in real.values()} == {tokenizer}
    assert tokenizer.vocab_size <= 1024
    for task in real.values():
        tokens, mask, _ = tasks.encode_prompts(task, 128)
        assert [tokenizer.decode(row[there]) for row, there in zip(tokens, mask, strict=True)] == [task.prompt(i) for i in range(task.size)]
    tokens, mask = tasks.encode_solutions(real["held_out"], 24)
    components, ok, _ = tasks.verify_rows(real["held_out"], np.arange(len(tokens)), tokens, mask, np.ones(len(tokens), bool))
    assert components["correct"].all() and ok.all() and real["held_out"].verify_tokens is None


def write(folder, problems):
    path = folder / "SVAMP.json"
    path.write_text(problems if isinstance(problems, str) else json.dumps(problems))
    return str(path)


def problems(count):
    return [
        {
            "Body": f"{'Abcdefgh'[i % 8]} had {i} apples",
            "Question": "How many now?",
            "Equation": f"( ( {i}.0 + 1.0 ) * ( 2.0 + 1.0 ) )",
            "Answer": 3 * i + 3,
        }
        for i in range(count)
    ]


def test_small_file(tmp_path):
    splits = tasks.svamp(path=write(tmp_path, [*problems(40), PROBLEM | {"Answer": 4.0}]), tokenizer="characters", validation=5, held_out=5)
    assert {split: task.size for split, task in splits.items()} == {"train": 30, "validation": 5, "held_out": 5}  # 8 stories of 5 rows
    task = splits["train"]
    assert re.fullmatch(r"[A-h] had [0-9]+ apples\. How many now\?", task.prompt(0))
    number = re.search("[0-9]+", task.prompt(0))[0]
    assert task.solution(0) == f"({number}+1)*(2+1)"  # outer brackets that are two pairs stay
    assert task.prompt(0, hint=2) == task.prompt(0) + f"({number}"
    answer = 3 * int(number) + 3
    assert judge(task, 0, f"{answer}") == judge(task, 0, f" {2 * answer} / 2.0") == (1, 1)
    assert judge(task, 0, f"{answer + 1}") == (0, 1)
    for text in ("", f"{answer}=", f"{answer}/0", "x", f"{answer})"):
        assert judge(task, 0, text) == (0, 0)
    assert judge(task, 0, f"{answer}", "length") == (0, 0)


@pytest.mark.parametrize(
    "content, message",
    [
        ("[", r"SVAMP\.json: no JSON"),
        ("{}", r"SVAMP\.json: found dict, allowed: a list of problems"),
        ("[]", r"SVAMP\.json: found an empty list"),
        ([PROBLEM, 3], r"SVAMP\.json: problem 1: found '3', allowed: an object"),
        ([PROBLEM | {"Body": None}], r"problem 0: 'Body' is None, allowed: a text"),
        ([PROBLEM | {"Equation": "5 -"}], r"problem 0: equation '5 -' and answer 3.0: expression: a number is missing"),
        ([PROBLEM | {"Answer": "many"}], r"problem 0: equation .* and answer 'many'"),
        ([PROBLEM], r"validation=100 and held_out=200|held_out=200 and validation=100 of 1 rows"),
    ],
)
def test_bad_files(tmp_path, content, message):
    with pytest.raises(ValueError, match=message):
        tasks.svamp(path=write(tmp_path, content))
    with pytest.raises(ValueError, match="path '': No such file or directory, allowed: a file SVAMP.json"):
        tasks.svamp(path="")


def test_a_number_in_place_of_the_equation(tmp_path):
    numeric = ("numeric", {"extract": "hash_marks"})
    splits = tasks.svamp(path=write(tmp_path, problems(40)), tokenizer="characters", validation=5, held_out=5, verifier=numeric)
    task = splits["train"]
    number = int(re.search("[0-9]+", task.prompt(0))[0])
    assert task.solution(0) == f"({number}+1)*(2+1) #### {3 * number + 3}" and task.columns["difficulty"][0] == 3
    assert judge(task, 0, task.solution(0)) == judge(task, 0, f"#### {3 * number + 3} apples") == (1, 1)
    assert judge(task, 0, f"{3 * number + 3}") == (0, 0)
