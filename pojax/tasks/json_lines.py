"""Problems of one's own: JSON lines or Parquet, {"prompt": ..., "answer": ..., "solution": ...}."""

from collections.abc import Mapping, Sequence
from typing import Any

from pojax.tasks.files import read_records
from pojax.tasks.records import records_tasks
from pojax.tasks.task import Task


def json_lines(
    *,
    path: str,
    held_out_path: str | None = None,
    prompt_key: str = "prompt",
    answer_key: str = "answer",
    solution_key: str = "solution",
    template: str | None = None,
    shots: int = 0,
    columns: Sequence[str] = (),
    verifier: Any = ("exact", {}),
    split_by: str = "prompt",
    tokenizer: str = "sentencepiece",
    vocabulary: int = 1024,
    chat: Mapping[str, Any] | None = None,
    seed: int = 0,
    validation: int | None = None,
    held_out: int | None = None,
) -> dict[str, Task]:
    """Problems from files: one JSON object per line (empty lines aside), or `.parquet`. Returns {"train", "validation", "held_out"}.

    path: a file, or a folder of such files. held_out_path: the same for the held-out rows. The other options are those of
    `records.records_tasks`. Raises ValueError naming file and line of a malformed row, and for an empty file.
    """
    return records_tasks(
        "json_lines",
        read_records(path, "json_lines"),
        None if held_out_path is None else read_records(held_out_path, "json_lines"),
        prompt_key=prompt_key,
        answer_key=answer_key,
        solution_key=solution_key,
        template=template,
        shots=shots,
        columns=columns,
        verifier=verifier,
        split_by=split_by,
        tokenizer=tokenizer,
        vocabulary=vocabulary,
        chat=chat,
        seed=seed,
        validation=validation,
        held_out=held_out,
    )
