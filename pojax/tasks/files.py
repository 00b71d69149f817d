"""Records of files: one JSON object per line, or Parquet; nothing in them is executed."""

import json
from pathlib import Path
from typing import Any

Records = list[tuple[str, dict[str, Any]]]  # where a record stands, for messages, and its fields


def read_records(path: str, name: str) -> Records:
    """The records of a file, `.parquet` or JSON lines (empty lines aside), or of all such files of a folder, in the order of their names.

    Raises ValueError naming file and line for what cannot be read, and for no records; `name` is the task that asks.
    """
    if Path(path).is_dir():
        files = sorted(str(file) for file in Path(path).iterdir() if file.suffix in (".parquet", ".jsonl"))
        if not files:
            raise ValueError(f"{name}: path {path!r}: a folder without *.jsonl or *.parquet, allowed: a file, or a folder of them")
        return [record for file in files for record in read_records(file, name)]
    return _parquet(path, name) if path.endswith(".parquet") else _lines(path, name)


def _lines(path: str, name: str) -> Records:
    try:
        with open(path, "rb") as file:
            lines = [(f"{path}:{line}", content) for line, content in enumerate(file, start=1) if content.strip()]
    except OSError as error:
        raise ValueError(f"{name}: path {path!r}: {error.strerror}, allowed: a file with one JSON object per line") from None
    if not lines:
        raise ValueError(f"{path}: no rows, allowed: at least one JSON object, one per line")
    return [(where, json_object(where, content)) for where, content in lines]


def json_object(where: str, content: bytes) -> dict[str, Any]:
    """The JSON object that a text is; ValueError naming the place for anything else."""
    try:
        record = json.loads(content.decode())
    except (ValueError, RecursionError) as error:
        found = content.strip()[:60].decode(errors="replace")
        raise ValueError(f"{where}: found {found!r} ({error}), allowed: one JSON object per line") from None
    if not isinstance(record, dict):
        raise ValueError(f"{where}: found {str(record)[:60]!r}, allowed: a JSON object")
    return record


def _parquet(path: str, name: str) -> Records:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise ImportError('Parquet files need the package pyarrow: pip install "pojax[data]"') from None
    try:
        rows = pyarrow.parquet.read_table(path).to_pylist()
    except (OSError, pyarrow.ArrowException) as error:
        reason = " ".join(str(error).split())[:200]
        raise ValueError(f"{name}: path {path!r}: {reason}, allowed: a Parquet file") from None
    if not rows:
        raise ValueError(f"{path}: no rows, allowed: at least one")
    return [(f"{path}: row {i}", row) for i, row in enumerate(rows)]
