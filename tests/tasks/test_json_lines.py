import json
import logging

import pytest
import shared

from pojax import tasks
from pojax.types import Sample


def write(path, rows):
    path.write_text("".join(row if isinstance(row, str) else json.dumps(row) + "\n" for row in rows))
    return str(path)


def sums(count, **fields):
    return [{"prompt": f"What is {i} plus {i % 5}?", "answer": i + i % 5, **fields} for i in range(count)]


def make(path, **options):
    return tasks.json_lines(path=path, **{"tokenizer": "characters"} | options)


def judge(task, i, text, reason="end"):
    return tuple(task.verify(i, Sample(None, None, text, reason)).values())


def test_rows_and_verdicts(tmp_path):
    path = write(tmp_path / "a.jsonl", [*sums(40), "\n"])
    splits = make(path)
    assert {split: task.size for split, task in splits.items()} == {"train": 32, "validation": 4, "held_out": 4}
    prompts = [task.prompt(i) for task in splits.values() for i in range(task.size)]
    assert sorted(prompts) == sorted(row["prompt"] for row in sums(40))
    task = splits["train"]
    answer = task.solution(0)
    assert sum(map(int, task.prompt(0)[8:-1].split(" plus "))) == int(answer)
    assert judge(task, 0, answer) == judge(task, 0, f" {answer}\n") == (1, 1)
    assert judge(task, 0, f"{answer}.0") == judge(task, 0, "7 or 8") == (0, 1)
    assert judge(task, 0, " ") == judge(task, 0, answer, "length") == (0, 0)
    numeric = make(path, verifier=("numeric", {}))["train"]
    assert judge(numeric, 0, f"{answer}.0") == (1, 1) and judge(numeric, 0, "7 or 8") == (0, 0)
    assert [make(path, seed=1)["train"].prompt(i) for i in range(32)] != prompts[:32]


def test_equal_prompts_stay_together(tmp_path, caplog):
    rows = sums(30) + sums(30) + [{"prompt": " What is 3 plus 3? ", "answer": 6}]
    splits = make(write(tmp_path / "a.jsonl", rows), validation=6, held_out=6)
    found = [{task.prompt(i).strip() for i in range(task.size)} for task in splits.values()]
    assert sum(task.size for task in splits.values()) == 61
    assert not (found[0] & found[1] or found[0] & found[2] or found[1] & found[2])
    copies = "; ".join(
        f"{n} of {n} {s} prompts occur in train with other numbers" for s in ("validation", "held_out") for n in [splits[s].size]
    )
    assert f"json_lines: 31 of 61 prompts are copies of others in their split; {copies}\n" in caplog.text
    caplog.clear()
    stories = [{"prompt": f"{name} has {i}.", "answer": i} for name in ("Ann", "Ben", "Cat", "Dan") for i in range(5)]
    splits = make(write(tmp_path / "b.jsonl", stories), split_by="masked", validation=1, held_out=1)
    assert {split: task.size for split, task in splits.items()} == {"train": 10, "validation": 5, "held_out": 5}
    assert len({task.prompt(i)[:3] for task in [splits["held_out"]] for i in range(5)}) == 1
    assert caplog.text == ""


def test_held_out_file(tmp_path, caplog):
    caplog.set_level(logging.WARNING)
    path, other = write(tmp_path / "a.jsonl", sums(20)), write(tmp_path / "b.jsonl", sums(3))
    splits = make(path, held_out_path=other, validation=2)
    assert {split: task.size for split, task in splits.items()} == {"train": 15, "validation": 2, "held_out": 3}
    assert "3 of 20 rows dropped" in caplog.text
    assert [splits["held_out"].prompt(i) for i in range(3)] == [row["prompt"] for row in sums(3)]
    with pytest.raises(ValueError, match="held_out=4 beside"):
        make(path, held_out_path=other, held_out=4)


def test_marker_and_solutions(tmp_path):
    rows = [{"q": f"{i}+1", "a": f"First {i}.\nThen 1.\n#### {i + 1:,}", "level": i % 3} for i in range(1000, 1020)]
    options = {"prompt_key": "q", "answer_key": "a", "verifier": ("numeric", {"extract": "hash_marks"})}
    task = make(write(tmp_path / "a.jsonl", rows), columns=["level"], **options)["train"]
    value = int(task.prompt(0).split("+")[0])
    assert task.solution(0) == f"First {value}.\nThen 1.\n#### {value + 1:,}"
    assert task.steps(0) == [f"First {value}.\n", "Then 1.\n", f"#### {value + 1:,}"]
    assert task.columns["level"][0] == value % 3
    assert judge(task, 0, f"so #### 7 no #### {value + 1}") == (1, 1)
    assert judge(task, 0, f"{value + 1}") == (0, 0)  # the marker is missing
    assert judge(task, 0, "#### many") == (0, 0) and judge(task, 0, "#### 7") == (0, 1)
    sample = Sample(None, None, f"#### {value + 1}", "end", {"hint": 2})
    assert task.verify(0, sample)["correct"] == 1.0

    equals = ("exact", {"extract": ("after", {"marker": "="})})
    worked = [row | {"solution": "count on"} for row in sums(20)]
    task = make(write(tmp_path / "b.jsonl", worked), verifier=equals)["train"]
    assert task.solution(0).startswith("count on = ") and task.steps(0)[:2] == ["count", " on"]
    assert judge(task, 0, task.solution(0)) == (1, 1)
    assert make(write(tmp_path / "c.jsonl", sums(20)), verifier=equals)["train"].solution(0).startswith("= ")
    with pytest.raises(ValueError, match=r"b.jsonl:1: the solution 'count on' does not give the answer '0'"):
        make(str(tmp_path / "b.jsonl"))


def test_tokenizers(tmp_path):
    path = write(tmp_path / "a.jsonl", sums(40))
    task = tasks.json_lines(path=path, vocabulary=300)["held_out"]
    assert task.tokenizer.decode(task.tokenizer.encode(task.prompt(0))) == task.prompt(0)
    task.tokenizer.save(tmp_path / "tokenizer")
    assert make(path, tokenizer=str(tmp_path / "tokenizer"))["train"].tokenizer.fingerprint() == task.tokenizer.fingerprint()
    with pytest.raises(ValueError, match="tokenizer: found 'words', allowed: 'sentencepiece'"):
        make(path, tokenizer="words")


GOOD = {"prompt": "a", "answer": "b"}


@pytest.mark.parametrize(
    "rows, message",
    [
        ([GOOD, "{oops\n"], r"a\.jsonl:2: found '\{oops' \(.*\), allowed: one JSON object per line"),
        ([GOOD, "\n", "[1]\n"], r"a\.jsonl:3: found '\[1\]', allowed: a JSON object"),
        ([GOOD, {"answer": "b"}], r"a\.jsonl:2: 'prompt' is missing, allowed: a text that is not empty"),
        ([{"prompt": "  ", "answer": "b"}], r":1: 'prompt' is '  '"),
        ([{"prompt": 3, "answer": "b"}], r":1: 'prompt' is 3"),
        ([{"prompt": "a"}], r":1: 'answer' is missing, allowed: a text or a number"),
        ([{"prompt": "a", "answer": True}], r":1: 'answer' is True"),
        (['{"prompt": "a", "answer": NaN}\n'], r":1: 'answer' is nan"),
        ([{"prompt": "a", "answer": ["b"]}], r":1: 'answer' is \['b'\]"),
        ([{"prompt": "a", "answer": " "}], r":1: 'answer' is ' ', allowed: a text that is not empty"),
        ([GOOD | {"solution": 4}], r":1: 'solution' is 4, allowed: a text"),
        ([], r"a\.jsonl: no rows"),
        (["\n", "  \n"], r"a\.jsonl: no rows"),
        ([GOOD], "held_out=1 and validation=1 of 1 rows"),
    ],
)
def test_bad_rows(tmp_path, rows, message):
    with pytest.raises(ValueError, match=message):
        make(write(tmp_path / "a.jsonl", rows))


def test_other_bad_input(tmp_path):
    path = write(tmp_path / "a.jsonl", [GOOD] * 3)
    with pytest.raises(ValueError, match=r":1: 'answer' is 'b', allowed: a written number"):
        make(path, verifier=("numeric", {}))
    with pytest.raises(ValueError, match=r":1: 'level' is missing, allowed: a number"):
        make(path, columns=("level",))
    with pytest.raises(ValueError, match="task.json_lines.verifier: no function 'exakt' in pojax.tasks.verifiers; nearest: exact"):
        make(path, verifier=("exakt", {}))
    with pytest.raises(ValueError, match=r"verifier.extrakt: exact has no option 'extrakt'; nearest: extract"):
        make(path, verifier=("exact", {"extrakt": "boxed"}))
    with pytest.raises(ValueError, match="split_by 'line', allowed: 'prompt', 'masked'"):
        make(path, split_by="line")
    with pytest.raises(ValueError, match="extract.after.marker: found ' ', allowed"):
        make(path, verifier=("exact", {"extract": ("after", {"marker": " "})}))
    with pytest.raises(ValueError, match=r"none\.jsonl': No such file"):
        make(str(tmp_path / "none.jsonl"))
    (tmp_path / "bytes.jsonl").write_bytes(b'{"prompt": "\xff", "answer": "b"}\n')
    with pytest.raises(ValueError, match=r"bytes\.jsonl:1: found .*utf-8"):
        make(str(tmp_path / "bytes.jsonl"))


def test_gsm8k():
    options = {"prompt_key": "question", "verifier": ("numeric", {"extract": "hash_marks"}), "tokenizer": "characters"}
    splits = tasks.json_lines(path=shared.data("gsm8k/test.jsonl"), **options)
    assert sum(task.size for task in splits.values()) == 1319
    for task in splits.values():
        assert all(judge(task, i, task.solution(i)) == (1, 1) for i in range(task.size))


def test_parquet(tmp_path):
    pyarrow = pytest.importorskip("pyarrow", reason="the extra data is not installed")
    parquet = pytest.importorskip("pyarrow.parquet", reason="the extra data is not installed")
    for name, rows in (("a", sums(20)), ("b", sums(25)[20:])):
        parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / f"{name}.parquet")
    splits = make(str(tmp_path / "a.parquet"), held_out_path=str(tmp_path / "b.parquet"))
    lines = make(write(tmp_path / "a.jsonl", sums(20)), held_out_path=write(tmp_path / "b.jsonl", sums(25)[20:]))
    for split, task in splits.items():
        assert [task.prompt(i) for i in range(task.size)] == [lines[split].prompt(i) for i in range(lines[split].size)]
        assert [task.solution(i) for i in range(task.size)] == [lines[split].solution(i) for i in range(task.size)]
    for name in ("a.jsonl", "b.jsonl"):
        (tmp_path / name).unlink()
    assert sum(task.size for task in make(str(tmp_path)).values()) == 25  # all files of a folder
    (tmp_path / "a.parquet").write_bytes(b"PAR1 no more")
    with pytest.raises(ValueError, match=r"json_lines: path '.*a\.parquet': .*allowed: a Parquet file"):
        make(str(tmp_path / "a.parquet"))
    (tmp_path / "none").mkdir()
    with pytest.raises(ValueError, match=r"a folder without \*\.jsonl or \*\.parquet"):
        make(str(tmp_path / "none"))


def test_templates_and_shots(tmp_path):
    rows = [{"a": i, "b": f"{i} {{x}}", "answer": f"{i}!"} for i in range(20)]
    path = write(tmp_path / "a.jsonl", rows)
    task = make(path, template="Add {a} to {b} in {{}}:")["train"]
    i = int(task.prompt(0).split()[1])
    assert task.prompt(0) == f"Add {i} to {i} {{x}} in {{}}:"
    few = make(path, template="{a}:", shots=2, split_by="prompt")
    shown = [part.split(": ") for part in few["held_out"].prompt(0).split("\n\n")[:2]]
    assert all(answer == f"{number}!" for number, answer in shown) and few["train"].size == 14
    trained = {few["train"].prompt(i).split("\n\n")[2] for i in range(14)}
    assert not trained & {f"{number}:" for number, _ in shown}
    for template, message in [
        ("{c}", r"a\.jsonl:1: 'c' of the template is missing, allowed: a text or number; fields: 'a', 'b', 'answer'"),
        ("no field", "json_lines: template 'no field', allowed: a text with fields by name"),
        ("{a", "json_lines: template '{a': expected '}'.*a brace of its own is written twice"),
        ("{}", "template '{}', allowed"),
        ("{0}{a.__class__}", r"template '\{0\}\{a.__class__\}', allowed"),
        ("{a[0]}", "template .*, allowed"),
    ]:
        with pytest.raises(ValueError, match=message):
            make(path, template=template)


def test_a_verifier_of_ones_own(tmp_path):
    rows = [{"prompt": f"{i}?", "answer": "ab"} for i in range(20)]
    task = make(write(tmp_path / "a.jsonl", rows), verifier=("misbehaving:plain_function", {"least": 2}))["train"]
    assert task.fields == {"correct": ()} and judge(task, 0, "ab") == (1,) and judge(task, 0, "b") == (0,)
    with pytest.raises(ValueError, match=r"a\.jsonl:1: the solution 'ab' does not give the answer 'ab'"):
        make(str(tmp_path / "a.jsonl"), verifier=("misbehaving:plain_function", {"least": 3}))
    with pytest.raises(ValueError, match=r"b\.jsonl:1: 'answer' is missing, allowed: an answer for the verifier"):
        make(write(tmp_path / "b.jsonl", [{"prompt": "a"}]), verifier=("misbehaving:plain_function", {}))
