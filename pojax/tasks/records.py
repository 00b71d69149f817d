"""From records {"prompt": ..., "answer": ...} of any source to a task: checks, splits, tokenizer and verifier."""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from pojax.tasks.expressions import number
from pojax.tasks.task import Task, split_groups
from pojax.tasks.text import Row, logger, make_tokenizer, masked, text_tasks

CHOICES = {"match": ("exact", "numeric"), "split_by": ("prompt", "masked")}
Records = Sequence[tuple[str, Mapping[str, Any]]]  # where a record stands, for messages, and its fields


def records_tasks(
    name: str,
    records: Records,
    held_out_records: Records | None,
    *,
    keys: tuple[str, str, str],
    columns: Sequence[str],
    match: str,
    marker: str | None,
    split_by: str,
    tokenizer: str,
    vocabulary: int,
    seed: int,
    validation: int | None,
    held_out: int | None,
) -> dict[str, Task]:
    """The three splits of a task over records.

    keys: the fields that hold prompt, answer and worked solution. match: "exact", the response is the answer but for spaces
    around it; "numeric", both are written numbers of equal value ("1,080" and "1080.0").
    marker: the answer stands behind the last marker, in the response, and in the field if it is there too.
    The solution is its field where a record has it, otherwise the whole answer field; a marker and the answer are put behind it
    if it has no marker. columns: fields with a number, which the rows carry along.

    Groups of records stand in an order permuted by `seed`, of which the splits are ranges; records with equal prompts, or with
    split_by="masked" with prompts that are equal but for numbers, are one group. validation, held_out: least numbers of rows in
    these splits, default a tenth each. held_out_records take the place of the held-out split; other records of their groups are
    dropped, and logged. How many prompts outside train occur in train with other numbers is logged.
    tokenizer: "sentencepiece" (trained on the training split, at most `vocabulary` tokens), "characters", or the folder of a saved one.

    Components: correct; format, 1 if the response holds an answer (a number, if numeric). The response must have ended by itself.
    Raises ValueError naming the place of a malformed record.
    """
    for option, found in (("match", match), ("split_by", split_by)):
        if found not in CHOICES[option]:
            raise ValueError(f"{name}: {option} {found!r}, allowed: {', '.join(map(repr, CHOICES[option]))}")
    if marker is not None and not marker.strip():
        raise ValueError(f"{name}: marker {marker!r}, allowed: a text, or None for no marker")
    if held_out is not None and held_out_records is not None:
        raise ValueError(f"{name}: held_out={held_out} beside held-out data of their own, allowed: one of them")
    judge = partial(_judge, numeric=match == "numeric", marker=marker)
    make = partial(_row, keys=keys, columns=tuple(columns), numeric=match == "numeric", marker=marker, judge=judge)
    group = masked if split_by == "masked" else str.strip

    rows = [make(where, record) for where, record in records]
    tenth = max(1, len(rows) // 10)
    sizes = {"validation": tenth if validation is None else validation}
    if held_out_records is None:
        sizes = {"held_out": tenth if held_out is None else held_out} | sizes
        official = []
    else:
        official = [make(where, record) for where, record in held_out_records]
        rows = _drop_known(name, rows, official, group)
    parts = split_groups([group(row.prompt) for row in rows], sizes, seed=seed, name=name)
    splits = {split: [rows[i] for i in indices] for split, indices in parts.items()}
    if official:
        splits["held_out"] = official
    _report_copies(name, splits)
    return text_tasks(name, splits, make_tokenizer(tokenizer, splits, vocabulary), judge)


def _row(
    where: str,
    record: Mapping[str, Any],
    *,
    keys: tuple[str, str, str],
    columns: tuple[str, ...],
    numeric: bool,
    marker: str | None,
    judge: Callable[[str, Any], tuple[bool, bool]],
) -> Row:
    """One checked record; ValueError naming its place."""
    prompt_key, answer_key, solution_key = keys
    prompt, given = record.get(prompt_key), record.get(answer_key)
    if not isinstance(prompt, str) or not prompt.strip():
        raise ValueError(f"{where}: {prompt_key!r} is {_short(prompt)}, allowed: a text that is not empty")
    if isinstance(given, bool) or not isinstance(given, str | int | float) or (isinstance(given, float) and not math.isfinite(given)):
        raise ValueError(f"{where}: {answer_key!r} is {_short(given)}, allowed: a text or a number")
    written = str(given)
    text = (written.rpartition(marker)[2] if marker else written).strip()
    answer = number(text) if numeric else text
    if answer is None or answer == "":
        raise ValueError(
            f"{where}: {answer_key!r} is {_short(given)}, allowed: {'a written number' if numeric else 'a text that is not empty'}"
        )
    solution = record.get(solution_key, written)
    if not isinstance(solution, str):
        raise ValueError(f"{where}: {solution_key!r} is {_short(solution)}, allowed: a text")
    if marker and marker not in solution:
        solution = f"{marker} {text}" if solution == written else f"{solution} {marker} {text}"
    if not judge(solution, answer)[0]:
        raise ValueError(
            f"{where}: the solution {_short(solution)} does not give the answer {text!r}; with a marker its answer is what stands behind"
        )
    for column in columns:
        value = record.get(column)
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise ValueError(f"{where}: {column!r} is {_short(value)}, allowed: a number")
    return Row(prompt, _steps(solution), answer, {column: float(record[column]) for column in columns})


def _short(value: Any) -> str:
    return "missing" if value is None else repr(value)[:60]


def _steps(solution: str) -> list[str]:
    """Lines of a solution that has several, otherwise words; joined they are the solution."""
    lines = solution.splitlines(keepends=True)
    return lines if len(lines) > 1 else re.findall(r"\s*\S+|\s+$", solution)


def _judge(text: str, answer: Any, *, numeric: bool, marker: str | None) -> tuple[bool, bool]:
    if marker:
        if marker not in text:
            return False, False
        text = text.rpartition(marker)[2]
    found = number(text) if numeric else text.strip()
    parsed = found is not None and found != ""
    return parsed and found == answer, parsed


def _drop_known(name: str, rows: list[Row], official: list[Row], group: Callable[[str], str]) -> list[Row]:
    """The rows whose group has no held-out row."""
    known = {group(row.prompt) for row in official}
    kept = [row for row in rows if group(row.prompt) not in known]
    if len(kept) < len(rows):
        logger.warning("%s: %d of %d rows dropped, whose prompts are held out", name, len(rows) - len(kept), len(rows))
    return kept


def _report_copies(name: str, splits: Mapping[str, Sequence[Row]]) -> None:
    """Log how many prompts outside train occur in train with other numbers; silent if none does."""
    seen = {masked(row.prompt) for row in splits["train"]}
    for split in ("validation", "held_out"):
        copies = sum(masked(row.prompt) in seen for row in splits[split])
        if copies:
            logger.warning("%s: %d of %d %s prompts occur in train with other numbers", name, copies, len(splits[split]), split)
