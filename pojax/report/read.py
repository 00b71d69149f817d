"""What the folder of a run holds, as far as a report shows it. Files are read, nothing in them is run or unpickled."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pojax import metrics
from pojax.binding import ConfigError
from pojax.workdir import ENVIRONMENT, RECORD, read_json


class Run(NamedTuple):
    """A run as its folder tells it."""

    folder: Path
    name: str  # the shortest end of the path that tells it from the others
    config: dict[str, Any]
    lines: list[dict[str, Any]]  # of metrics.jsonl, by step
    environment: dict[str, Any]  # {} where the run recorded none
    before: dict[str, Any] | None  # held-out evaluations
    after: dict[str, Any] | None
    summary: dict[str, Any] | None  # None for a run that is not finished
    samples: list[tuple[int, list[dict[str, Any]]]]  # (step, rows), by step

    @property
    def warm_steps(self) -> int:
        warm = self.config.get("warm_start")
        return warm.get("steps", 0) if warm else 0


def read_runs(folders: Sequence[str | os.PathLike]) -> list[Run]:
    """The runs of several workdirs; ConfigError for a folder without a run or given twice, ValueError naming a damaged file and line."""
    paths = [Path(folder) for folder in folders]
    seen: dict[Path, Path] = {}
    for path in paths:
        real = path.resolve()
        if real in seen:
            raise ConfigError(f"--workdir: {path} is given twice (also as {seen[real]}), allowed: every run once")
        seen[real] = path
    return [_read(path, name) for path, name in zip(paths, short_names([path.resolve() for path in paths]), strict=True)]


def short_names(paths: Sequence[Path]) -> list[str]:
    """The shortest end of every path that is the end of no other one."""
    names = []
    for path in paths:
        length = 1
        while length < len(path.parts) and sum(other.parts[-length:] == path.parts[-length:] for other in paths) > 1:
            length += 1
        names.append("/".join(path.parts[-length:]))
    return names


def _read(folder: Path, name: str) -> Run:
    record = read_json(folder / RECORD)
    if record is None:
        raise ConfigError(f"--workdir={folder}: holds no {RECORD}, so no run")
    _check(isinstance(record, dict) and isinstance(record.get("config"), dict), folder / RECORD, "an object with a config")
    held: dict[str, dict[str, Any] | None] = {}
    for file in (ENVIRONMENT, "before.json", "after.json", "summary.json"):
        held[file] = read_json(folder / file)
        _check(held[file] is None or isinstance(held[file], dict), folder / file, "an object")
    return Run(
        folder=folder,
        name=name,
        config=record["config"],
        lines=sorted(metrics.read(folder / metrics.FILE), key=lambda line: line["step"]),
        environment=held[ENVIRONMENT] or {},
        before=held["before.json"],
        after=held["after.json"],
        summary=held["summary.json"],
        samples=_samples(folder / "samples"),
    )


def _samples(folder: Path) -> list[tuple[int, list[dict[str, Any]]]]:
    found: list[tuple[int, list[dict[str, Any]]]] = []
    for path in sorted((p for p in folder.glob("*.json") if p.stem.isdecimal()), key=lambda p: int(p.stem)):
        content = read_json(path)
        rows: Any = content.get("rows") if isinstance(content, dict) else None
        _check(isinstance(rows, list) and all(isinstance(r, dict) and isinstance(r.get("tokens"), list) for r in rows), path, "rows")
        found.append((int(path.stem), rows))
    return found


def _check(holds: bool, path: Path, allowed: str) -> None:
    if not holds:
        raise ValueError(f"{path}: not what a run writes, allowed: a JSON file with {allowed}")
