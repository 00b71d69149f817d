"""Problems in the form of MATH: problem, solution with a boxed answer, level and type."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pojax.tasks.files import Records, json_object, read_records
from pojax.tasks.records import records_tasks
from pojax.tasks.task import Task
from pojax.tasks.text import short
from pojax.tasks.verifiers.extraction import boxed


def math(
    *,
    path: str,
    held_out_path: str | None = None,
    template: str = "{problem}\n",
    shots: int = 0,
    verifier: Any = ("expression", dict(extract="boxed")),
    split_by: str = "prompt",
    tokenizer: str = "sentencepiece",
    vocabulary: int = 4096,
    chat: Mapping[str, Any] | None = None,
    seed: int = 0,
    validation: int | None = None,
    held_out: int | None = None,
) -> dict[str, Task]:
    r"""Problems with fields problem, solution, level, type and perhaps answer. Returns {"train", "validation", "held_out"}.

    path: a file of JSON lines or Parquet; or a folder with train.jsonl and test.jsonl, or with folders train/ and test/ of one JSON
    file per problem, in which test is the held-out split. held_out_path: a file of its own for that. The answer is the field
    `answer`, or what the last \boxed{...} of the solution holds. Column difficulty: the number in level ("Level 5"), 0 where there is none.
    The other options are those of `records.records_tasks`. Raises ValueError naming file and line of malformed data.
    Source: Hendrycks et al., arXiv 2103.03874.
    """
    train, test = _splits(path)
    if held_out_path is not None:
        if test is not None:
            raise ValueError(f"math: held_out_path {held_out_path!r} beside the test split of {path!r}, allowed: one of them")
        test = read_records(held_out_path, "math")
    return records_tasks(
        "math", [_record(*each) for each in train], None if test is None else [_record(*each) for each in test],
        prompt_key="problem", template=template, shots=shots, columns=("difficulty",), verifier=verifier, split_by=split_by,
        tokenizer=tokenizer, vocabulary=vocabulary, chat=chat, seed=seed, validation=validation, held_out=held_out,
    )  # fmt: skip


def _splits(path: str) -> tuple[Records, Records | None]:
    """The training records, and the test records where the path has some."""
    folder = Path(path)
    if (folder / "train.jsonl").is_file():
        test = folder / "test.jsonl"
        return read_records(str(folder / "train.jsonl"), "math"), read_records(str(test), "math") if test.is_file() else None
    if (folder / "train").is_dir():
        return _one_each(folder / "train"), _one_each(folder / "test") if (folder / "test").is_dir() else None
    return read_records(path, "math"), None


def _one_each(folder: Path) -> Records:
    """One record per JSON file, in the order of their paths."""
    records = [(str(file), json_object(str(file), file.read_bytes())) for file in sorted(folder.rglob("*.json"))]
    if not records:
        raise ValueError(f"math: {folder} holds no JSON file, allowed: one per problem")
    return records


def _record(where: str, record: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    solution = record.get("solution")
    answer = record.get("answer", boxed(solution) if isinstance(solution, str) else None)
    if answer is None:
        raise ValueError(f"{where}: no 'answer', and 'solution' is {short(solution)}, allowed: one of them, with a box in the solution")
    level = re.search(r"[0-9]+", str(record.get("level", "")))
    return where, {**record, "answer": answer, "difficulty": int(level[0]) if level else 0}
