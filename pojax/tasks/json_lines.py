"""Problems of one's own: a file with one JSON object per line, {"prompt": ..., "answer": ..., "solution": ...}."""

import json
from collections.abc import Sequence
from typing import Any

from pojax.tasks.records import records_tasks
from pojax.tasks.task import Task


def json_lines(
    *,
    path: str,
    held_out_path: str | None = None,
    prompt_key: str = "prompt",
    answer_key: str = "answer",
    solution_key: str = "solution",
    columns: Sequence[str] = (),
    match: str = "exact",
    marker: str | None = None,
    split_by: str = "prompt",
    tokenizer: str = "sentencepiece",
    vocabulary: int = 1024,
    seed: int = 0,
    validation: int | None = None,
    held_out: int | None = None,
) -> dict[str, Task]:
    """Problems from a file of JSON lines, empty lines aside. Returns {"train", "validation", "held_out"}.

    held_out_path: a file of its own for the held-out rows. The other options are those of `records.records_tasks`.
    GSM8K: prompt_key="question", match="numeric", marker="####".
    Raises ValueError naming file and line of a malformed row, and for an empty file.
    """
    return records_tasks(
        "json_lines",
        _read(path),
        None if held_out_path is None else _read(held_out_path),
        keys=(prompt_key, answer_key, solution_key),
        columns=columns,
        match=match,
        marker=marker,
        split_by=split_by,
        tokenizer=tokenizer,
        vocabulary=vocabulary,
        seed=seed,
        validation=validation,
        held_out=held_out,
    )


def _read(path: str) -> list[tuple[str, dict[str, Any]]]:
    """The objects of a file, each with the place where it stands."""
    try:
        with open(path, "rb") as file:
            lines = [(f"{path}:{line}", content) for line, content in enumerate(file, start=1) if content.strip()]
    except OSError as error:
        raise ValueError(f"json_lines: path {path!r}: {error.strerror}, allowed: a file with one JSON object per line") from None
    if not lines:
        raise ValueError(f"{path}: no rows, allowed: at least one JSON object, one per line")
    return [(where, _object(where, content)) for where, content in lines]


def _object(where: str, content: bytes) -> dict[str, Any]:
    try:
        record = json.loads(content.decode())
    except (ValueError, RecursionError) as error:
        found = content.strip()[:60].decode(errors="replace")
        raise ValueError(f"{where}: found {found!r} ({error}), allowed: one JSON object per line") from None
    if not isinstance(record, dict):
        raise ValueError(f"{where}: found {str(record)[:60]!r}, allowed: a JSON object")
    return record
