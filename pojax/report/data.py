"""What the page shows, made from runs: a bounded number of points of every curve, of rows and of tokens."""

import datetime
import json
import math
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pojax import __version__
from pojax import config as configs
from pojax.report.names import describe
from pojax.report.read import Run
from pojax.symptoms import symptoms
from pojax.workdir import value_at

POINTS = 500  # of a curve
ROWS, TOKENS = 5000, 400_000  # of sampled responses, all runs together


def page_data(runs: Sequence[Run], points: int = POINTS, rows: int = ROWS, tokens: int = TOKENS) -> dict[str, Any]:
    """What the page's script reads, as JSON has it. points, rows, tokens: bounds on what is shown."""
    groups = group_runs(runs)
    width = max(1, math.ceil(max((line["step"] for run in runs for line in run.lines), default=1) / points))
    series = [curves(run.lines, width) for run in runs]
    samples, logged = sample_rows(runs, rows, tokens)
    return {
        "made": datetime.datetime.now().astimezone().isoformat(" ", "minutes"),
        "pojax": __version__,
        "runs": [_about(run, groups) for run in runs],
        "groups": [{"label": label, "runs": members} for label, members in zip(_labels(runs, groups), groups, strict=True)],
        "metrics": sorted((describe(name) for name in {n for s in series for n in s}), key=lambda m: (m["order"], m["name"])),
        "series": series,
        "steps_per_point": width,
        "samples": samples,
        "samples_logged": logged,
        "differences": differences(runs, groups),
        "configs": [json.dumps(runs[members[0]].config, indent=2, sort_keys=True) for members in groups],
        "environments": _environments(runs),
    }


def _about(run: Run, groups: Sequence[Sequence[int]]) -> dict[str, Any]:
    last = run.lines[-1]["step"] if run.lines else 0
    held_out = {
        name: {key: report.get(key) for key in ("pass_at_1", "interval", "greedy", "problems", "samples")}
        for name, report in (("before", run.before), ("after", run.after))
        if report
    }
    return {
        "name": run.name,
        "path": str(run.folder),
        "seed": run.config.get("seed"),
        "task": _name_of(run.config.get("task")),
        "steps": last,
        "planned": run.warm_steps + run.config.get("run", {}).get("steps", 0),
        "warm": run.warm_steps,
        "finished": bool(run.summary and run.summary.get("finished")),
        "seconds": run.summary.get("seconds") if run.summary else None,
        "held_out": held_out,
        "warnings": [symptom._asdict() for symptom in symptoms(run.lines)],
    }


def _name_of(entry: Any) -> str:
    return str(entry[0]) if isinstance(entry, list) and entry else ""


# ---- which runs belong together


def group_runs(runs: Sequence[Run]) -> list[list[int]]:
    """Indices of runs whose configs differ in nothing but `seed` and the keys under `run`, in order of their first."""
    groups: dict[str, list[int]] = {}
    for i, run in enumerate(runs):
        same = {key: value for key, value in run.config.items() if key not in ("seed", "run")}
        groups.setdefault(json.dumps(same, sort_keys=True), []).append(i)
    return list(groups.values())


def _labels(runs: Sequence[Run], groups: Sequence[Sequence[int]]) -> list[str]:
    """What the names of a group's runs begin with, without the number behind it; the first name where that is little or not unique."""
    names = [[runs[i].name for i in members] for members in groups]
    starts = [  # "runs/clip-0.2-seed-" is "runs/clip-0.2"
        os.path.commonprefix(n).rstrip("0123456789").rstrip("-_./ =").removesuffix("seed").rstrip("-_./ =") for n in names
    ]
    labels = [n[0] if len(n) == 1 else start for n, start in zip(names, starts, strict=True)]
    return [
        label if len(label) > 2 and labels.count(label) == 1 else n[0] + (f" and {len(n) - 1} more" if len(n) > 1 else "")
        for label, n in zip(labels, names, strict=True)
    ]


def differences(runs: Sequence[Run], groups: Sequence[Sequence[int]]) -> list[dict[str, Any]]:
    """Config keys that are not the same in all runs, with the distinct values of every group as text."""
    keys = sorted({key for run in runs[1:] for key in configs.differing(runs[0].config, run.config)})
    # A key below one that is listed (a list of another length, a subtree that one run lacks) says nothing new.
    keys = [key for key in keys if not any(key.startswith(f"{other}.") for other in keys)]
    values = [[list(dict.fromkeys(value_at(runs[i].config, key) for i in members)) for members in groups] for key in keys]
    return [{"key": readable_key(runs[0].config, key), "values": v} for key, v in zip(keys, values, strict=True)]


def readable_key(config: Any, path: str) -> str:
    """A path of `configs.differing` as overrides write it: `losses.ppo_clip.epsilon` for `losses.0.1.epsilon`."""
    parts: list[str] = []
    for part in path.split("."):
        if _is_entry(config) and part in ("0", "1"):
            config = config[int(part)]
        elif isinstance(config, list) and part.isdecimal() and int(part) < len(config):
            config = config[int(part)]
            parts.append(str(config[0]) if _is_entry(config) else part)
        else:
            config = config.get(part) if isinstance(config, dict) else None
            parts.append(part)
    return ".".join(parts)


def _is_entry(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and isinstance(value[0], str) and isinstance(value[1], dict)


def _environments(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """Distinct environments, each with its runs; values as text."""
    found: dict[str, dict[str, Any]] = {}
    for i, run in enumerate(runs):
        values = {key: _text(value) for key, value in sorted(run.environment.items())}
        found.setdefault(json.dumps(values), {"values": values, "runs": []})["runs"].append(i)
    return list(found.values())


def _text(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else "none" if value is None else str(value)


# ---- curves


def curves(lines: Sequence[Mapping[str, Any]], width: int) -> dict[str, dict[str, list[Any]]]:
    """{metric: x, y and, where width > 1, low and high}: the mean, least and largest value of every `width` steps that have one.

    Points of all runs stand on the same steps: a point is (k width, (k + 1) width] for a whole k.
    """
    names = sorted({name for line in lines for name in line if name != "step"})
    result = {}
    for name in names:
        pairs = [(line["step"], line[name]) for line in lines if isinstance(line.get(name), int | float) and math.isfinite(line[name])]
        if not pairs:
            continue
        steps, values = np.array(pairs, float).T
        cells, first, counts = np.unique((steps - 1) // width, return_index=True, return_counts=True)
        sums = np.add.reduceat(values, first)
        x = np.minimum((cells + 1) * width, lines[-1]["step"]) if width > 1 else steps[first]
        curve: dict[str, list[Any]] = {"x": [int(v) for v in x], "y": _rounded(sums / counts)}
        if width > 1:
            curve |= {"low": _rounded(np.minimum.reduceat(values, first)), "high": _rounded(np.maximum.reduceat(values, first))}
        result[name] = curve
    return result


def _rounded(values: np.ndarray) -> list[float]:
    return [float(f"{value:.5g}") for value in values]


# ---- sampled responses


def sample_rows(runs: Sequence[Run], rows: int, tokens: int) -> tuple[list[dict[str, Any]], int]:
    """(rows of every run with `run` and `step`, how many there were before every other logged step was left out, and again, to fit)."""
    kept = [list(run.samples) for run in runs]

    def size(measure: Any) -> int:
        return sum(measure(row) for steps in kept for _, found in steps for row in found)

    logged = size(lambda row: 1)
    while (size(lambda row: 1) > rows or size(lambda row: len(row["tokens"])) > tokens) and any(len(steps) > 1 for steps in kept):
        kept = [steps[::-1][::2][::-1] if len(steps) > 1 else steps for steps in kept]  # the newest stays
    return [row | {"run": i, "step": step} for i, steps in enumerate(kept) for step, found in steps for row in found], logged
