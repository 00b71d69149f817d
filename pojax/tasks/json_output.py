"""Questions whose answer is JSON that a schema allows."""

from collections.abc import Mapping, Sequence
from typing import Any

from pojax.tasks.files import read_records
from pojax.tasks.records import records_tasks
from pojax.tasks.task import Task


def json_output(
    *,
    path: str,
    held_out_path: str | None = None,
    prompt_key: str = "prompt",
    schema_key: str = "schema",
    value_key: str = "value",
    solution_key: str = "solution",
    template: str | None = None,
    shots: int = 0,
    columns: Sequence[str] = (),
    verifier: Any = ("json_schema", {}),
    split_by: str = "prompt",
    tokenizer: str = "sentencepiece",
    vocabulary: int = 4096,
    chat: Mapping[str, Any] | None = None,
    seed: int = 0,
    validation: int | None = None,
    held_out: int | None = None,
) -> dict[str, Task]:
    """Questions from JSON lines or Parquet with a schema each. Returns {"train", "validation", "held_out"}.

    schema_key: a JSON Schema (Draft 2020-12), as an object or a text. value_key: the one right value, in rows that have it; it is their
    worked solution if there is no other, written as the verifier looks for it. A template may not name fields that are objects: a schema
    that the prompt shows stands in the file as a text.
    path, held_out_path: as those of `json_lines`; the other options are those of `records.records_tasks`.
    Raises ValueError naming file and line of a malformed row or schema.
    """

    def read(file: str) -> list[tuple[str, dict[str, Any]]]:
        keys = dict(schema_key=schema_key, value_key=value_key, solution_key=solution_key)
        return [(where, {**line, **_answer(line, **keys)}) for where, line in read_records(file, "json_output")]

    return records_tasks(
        "json_output", read(path), None if held_out_path is None else read(held_out_path), prompt_key=prompt_key, answer_key=ANSWER,
        solution_key=solution_key, template=template, shots=shots, columns=columns, verifier=verifier, split_by=split_by,
        tokenizer=tokenizer, vocabulary=vocabulary, chat=chat, seed=seed, validation=validation, held_out=held_out,
    )  # fmt: skip


ANSWER = "schema and value"  # in a record beside its own fields, which a template may name


def _answer(line: Mapping[str, Any], *, schema_key: str, value_key: str, solution_key: str) -> dict[str, Any]:
    """The fields of a record that say what its answer is; the verifier checks them."""
    answer = None if line.get(schema_key) is None else {"schema": line[schema_key]}
    if answer is not None and line.get(value_key) is not None:
        answer["value"] = line[value_key]
    return {ANSWER: answer, solution_key: line.get(solution_key) or ""}
