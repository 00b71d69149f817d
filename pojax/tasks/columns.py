"""A task with further data-set columns, read from a file."""

import dataclasses
import hashlib
import zipfile
from collections.abc import Sequence
from typing import Any

import numpy as np

from pojax.binding import ConfigError, entry, find
from pojax.tasks.task import Task


def with_columns(*, task: Any, file: str, columns: Sequence[str] = ("v_star",)) -> dict[str, Task]:
    """The splits of another task, the training split with columns of an .npz file: components of every row, as its own columns are.

    task: the entry (name, dict) of that task. file: what `python -m pojax.collect` writes, or any .npz of arrays [N, ...] for the N rows
    of the training split, with `prompts`, the `fingerprint` of the split that they were made for. A row that holds NaN is never trained on.
    Raises ValueError for a file that cannot be read, that lacks a column, or that was made for other prompts.
    """
    name, keywords = entry(task, "task.with_columns.task")
    try:
        splits: dict[str, Task] = dict(find("tasks", name, "task.with_columns.task")(**keywords))
    except TypeError as error:
        raise ConfigError(f"task.with_columns.task: {error}") from error
    try:
        with np.load(file, allow_pickle=False) as stored:
            arrays = {key: stored[key] for key in stored.files}
    except (zipfile.BadZipFile, ValueError, AttributeError) as error:
        raise ConfigError(f"task.with_columns.file: {file} is no .npz file of arrays") from error
    train = splits["train"]
    for column in columns:
        if column not in arrays:
            raise ConfigError(f"task.with_columns.columns: {file} has no {column!r}; allowed: {', '.join(sorted(arrays))}")
    if "prompts" not in arrays or str(arrays["prompts"]) != fingerprint(train):
        raise ConfigError(f"task.with_columns.file: {file} was made for other prompts than the {train.size} of task {train.name}")
    added = {column: np.asarray(arrays[column]) for column in columns}
    return splits | {"train": dataclasses.replace(train, columns={**train.columns, **added})}


def fingerprint(task: Task) -> str:
    """sha256 of all prompts of a split, in order."""
    lines = "\0".join(task.prompt(i) for i in range(task.size))
    return hashlib.sha256(lines.encode()).hexdigest()
