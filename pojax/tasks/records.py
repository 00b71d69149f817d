"""From records of any source to a task: checks, prompts, splits, tokenizer and verifier."""

import math
import re
import string
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from pojax.tasks import leakage
from pojax.tasks.task import Task, split_groups
from pojax.tasks.text import Row, make_tokenizer, short, text_tasks, worked_solution
from pojax.tasks.verifiers import Verifier, bind

SPLIT_BY: dict[str, Callable[[str], str]] = {"prompt": leakage.same, "masked": leakage.masked}
Records = Sequence[tuple[str, Mapping[str, Any]]]  # where a record stands, for messages, and its fields


def records_tasks(
    name: str,
    records: Records,
    held_out_records: Records | None,
    *,
    prompt_key: str = "prompt",
    answer_key: str = "answer",
    solution_key: str = "solution",
    template: str | None = None,
    shots: int = 0,
    columns: Sequence[str] = (),
    verifier: Any,
    split_by: str = "prompt",
    tokenizer: str,
    vocabulary: int = 1024,
    chat: Mapping[str, Any] | None = None,
    seed: int = 0,
    validation: int | None = None,
    held_out: int | None = None,
) -> dict[str, Task]:
    """The three splits of a task over records.

    prompt_key, answer_key, solution_key: the fields that hold them. template: the prompt, with fields by name in braces, as in
    "{question}\\nAnswer:" (a brace of its own is written twice), in place of the field. shots: that many training rows stand, worked,
    in front of every prompt, and are left out. columns: fields with a number, which the rows carry along.
    verifier: an entry (name, options) of `verifiers`, or a list of them; its components are the task's, and it says what an answer is:
    ("exact", {}), ("numeric", dict(extract="hash_marks")), ("my_module:function", {}).
    The solution is its field where a record has it, otherwise the answer field; if the verifier finds no answer in it, the answer is
    written behind it. A solution that the verifier finds wrong is an error, where the verifier is quick.

    Groups of records stand in an order permuted by `seed`, of which the splits are ranges; records with equal prompts, or with
    split_by="masked" with prompts that are equal but for numbers, are one group. validation, held_out: least numbers of rows in
    these splits, default a tenth each. held_out_records take the place of the held-out split; other records of their groups are
    dropped. How many were dropped, are copies, or occur in train with other numbers is logged.
    tokenizer: "sentencepiece" (trained on the training split, at most `vocabulary` tokens), "characters", or the folder of a saved one.
    chat: None, or keywords of `chat.Chat`, dict() for none of them: prompts are asked in the tokenizer's chat template.
    Raises ValueError naming the place of a malformed record.
    """
    if split_by not in SPLIT_BY:
        raise ValueError(f"{name}: split_by {split_by!r}, allowed: {', '.join(map(repr, SPLIT_BY))}")
    if held_out is not None and held_out_records is not None:
        raise ValueError(f"{name}: held_out={held_out} beside held-out data of their own, allowed: one of them")
    bound = bind(verifier, f"task.{name}.verifier")
    render = prompt_of(name, prompt_key, template)
    make = partial(_row, answer_key=answer_key, solution_key=solution_key, columns=tuple(columns), render=render, verifier=bound)

    rows, notes = [make(where, record) for where, record in records], []
    tenth = max(1, len(rows) // 10)
    sizes = {"validation": tenth if validation is None else validation}
    official: list[Row] = []
    if held_out_records is None:
        sizes = {"held_out": tenth if held_out is None else held_out} | sizes
    else:
        official = [make(where, record) for where, record in held_out_records]
        kept = leakage.drop_known(rows, official, lambda row: SPLIT_BY[split_by](row.prompt))
        if len(kept) < len(rows):
            notes.append(f"{len(rows) - len(kept)} of {len(rows)} rows dropped, whose prompts are held out")
        rows = kept
    parts = split_groups([SPLIT_BY[split_by](row.prompt) for row in rows], sizes, seed=seed, name=name)
    splits = {split: [rows[i] for i in indices] for split, indices in parts.items()}
    if official:
        splits["held_out"] = official
    leakage.report(name, {split: [row.prompt for row in part] for split, part in splits.items()}, notes)
    splits = _with_shots(name, splits, shots)
    return text_tasks(name, splits, make_tokenizer(tokenizer, splits, vocabulary), bound, chat=chat)


def prompt_of(name: str, prompt_key: str, template: str | None) -> Callable[[str, Mapping[str, Any]], str]:
    """(place, record) -> its prompt: a field, or a template with fields by name; ValueError for a template that is none, and for a
    record without such a field."""
    if template is None:

        def field(where: str, record: Mapping[str, Any]) -> str:
            prompt = record.get(prompt_key)
            if not isinstance(prompt, str) or not prompt.strip():
                raise ValueError(f"{where}: {prompt_key!r} is {short(prompt)}, allowed: a text that is not empty")
            return prompt

        return field
    try:
        names = [field for _, field, form, conversion in string.Formatter().parse(template) if field is not None]
        plain = all(re.fullmatch(r"[^{}\[\].!:]+", field) for field in names)
    except ValueError as error:
        raise ValueError(f"{name}: template {short(template)}: {error}; a brace of its own is written twice") from None
    if not names or not plain:
        raise ValueError(f"{name}: template {short(template)}, allowed: a text with fields by name, as in '{{question}}'")

    def filled(where: str, record: Mapping[str, Any]) -> str:
        for key in names:
            if isinstance(record.get(key), bool) or not isinstance(record.get(key), str | int | float):
                has = ", ".join(map(repr, record))
                raise ValueError(f"{where}: {key!r} of the template is {short(record.get(key))}, allowed: a text or number; fields: {has}")
        return template.format(**{key: record[key] for key in names})

    return filled


def _with_shots(name: str, splits: Mapping[str, list[Row]], shots: int) -> dict[str, list[Row]]:
    if not 0 <= shots < len(splits["train"]):
        raise ValueError(f"{name}: shots={shots} of {len(splits['train'])} training rows, allowed: 0 or more, and fewer than all")
    worked = ["".join((row.prompt, "" if row.prompt[-1:].isspace() else " ", *row.steps, "\n\n")) for row in splits["train"][:shots]]
    prefix = "".join(worked)
    left = {**splits, "train": splits["train"][shots:]}
    return {split: [row._replace(prompt=prefix + row.prompt) for row in rows] for split, rows in left.items()}


def _row(
    where: str,
    record: Mapping[str, Any],
    *,
    answer_key: str,
    solution_key: str,
    columns: tuple[str, ...],
    render: Callable[[str, Mapping[str, Any]], str],
    verifier: Verifier,
) -> Row:
    """One checked record; ValueError naming its place."""
    prompt, given = render(where, record), record.get(answer_key)
    try:
        answer = verifier.prepare(given)
        if given is None:
            raise ValueError("an answer for the verifier")
    except (ValueError, TypeError) as error:
        raise ValueError(f"{where}: {answer_key!r} is {short(given)}, allowed: {error}") from None
    solution = record.get(solution_key)
    if solution is None:
        solution = str(given) if isinstance(given, str | int | float) else ""
    if not isinstance(solution, str):
        raise ValueError(f"{where}: {solution_key!r} is {short(solution)}, allowed: a text")
    for column in columns:
        value = record.get(column)
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise ValueError(f"{where}: {column!r} is {short(value)}, allowed: a number")
    steps = _steps(worked_solution(where, solution, answer, verifier))
    return Row(prompt, steps, answer, {column: float(record[column]) for column in columns})


def _steps(solution: str) -> list[str]:
    """Lines of a solution that has several, otherwise words; joined they are the solution."""
    lines = solution.splitlines(keepends=True)
    return lines if len(lines) > 1 else re.findall(r"\s*\S+|\s+$", solution)
