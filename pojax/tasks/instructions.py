"""Instructions that a program can check: so many words, no commas, ends with a phrase."""

from collections.abc import Mapping, Sequence
from typing import Any

from pojax.tasks.files import read_records
from pojax.tasks.records import records_tasks
from pojax.tasks.task import Task


def instructions(
    *,
    path: str,
    held_out_path: str | None = None,
    prompt_key: str = "prompt",
    constraints_key: str = "constraints",
    solution_key: str = "solution",
    template: str | None = None,
    shots: int = 0,
    columns: Sequence[str] = (),
    verifier: Any = ("constraints", {}),
    split_by: str = "prompt",
    tokenizer: str = "sentencepiece",
    vocabulary: int = 4096,
    chat: Mapping[str, Any] | None = None,
    seed: int = 0,
    validation: int | None = None,
    held_out: int | None = None,
) -> dict[str, Task]:
    """Instructions from JSON lines or Parquet. Returns {"train", "validation", "held_out"}.

    constraints_key: a list of {"name": ..., option: value, ...}, or its JSON as a text; names and options are those of
    `verifiers.constraints`. `repeats_prompt` without a prompt means the record's own. solution_key: a response that keeps them all, in
    rows that have one. path, held_out_path: as those of `json_lines`; the other options are those of `records.records_tasks`.
    Raises ValueError naming file and line of a malformed row, also for a solution that breaks a constraint.
    """

    def read(file: str) -> list[tuple[str, dict[str, Any]]]:
        records = read_records(file, "instructions")
        return [(where, {**line, **_answer(line, prompt_key, constraints_key, solution_key)}) for where, line in records]

    return records_tasks(
        "instructions", read(path), None if held_out_path is None else read(held_out_path), prompt_key=prompt_key,
        answer_key=constraints_key, solution_key=solution_key, template=template, shots=shots, columns=columns, verifier=verifier,
        split_by=split_by, tokenizer=tokenizer, vocabulary=vocabulary, chat=chat, seed=seed, validation=validation, held_out=held_out,
    )  # fmt: skip


def _answer(line: Mapping[str, Any], prompt_key: str, constraints_key: str, solution_key: str) -> dict[str, Any]:
    """The fields of a record that say what its answer is; the verifier checks them."""
    constraints = line.get(constraints_key)
    if isinstance(constraints, list):
        own = {"prompt": line.get(prompt_key)}
        repeats = [isinstance(item, Mapping) and item.get("name") == "repeats_prompt" for item in constraints]
        constraints = [{**own, **item} if here else item for here, item in zip(repeats, constraints, strict=True)]
    return {constraints_key: constraints, solution_key: line.get(solution_key) or ""}
