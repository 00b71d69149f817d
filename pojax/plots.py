"""The picture of a run: what metrics.jsonl holds, over the steps."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pojax import metrics
from pojax.environment import optional

__all__ = ["curve"]

# Title, unit, and the metrics of each panel by the last part of their name: "policy/entropy" and "entropy" are both "entropy".
PANELS = (
    ("Reward and validation", "", ("reward", "pass_at_1")),
    ("Loss", "", ("loss",)),
    ("Entropy", "nats per token", ("entropy",)),
    ("Response length", "tokens", ("length",)),
    ("KL estimate k3", "nats per token", ("k3_ref", "k3_old")),
    ("Gradient norm", "", ("gradient_norm",)),
)
SKIPPED = ("components/", "time/")


def curve(workdir: str | os.PathLike) -> str:
    """Draw WORKDIR/curve.png from WORKDIR/metrics.jsonl; returns its path, or one line that says why there is none.

    A panel each for reward and validation pass@1, loss, entropy, response length, KL estimates and gradient norm, as far as the run has
    them: every step thin, the running mean over a thirtieth of the run on top. A dashed line marks where the warm start ended.
    """
    workdir = Path(workdir)
    lines = metrics.read(workdir / metrics.FILE)
    panels = [(title, unit, series) for title, unit, names in PANELS if (series := _series(lines, names))]
    if not panels:
        return f"no curve: {workdir / metrics.FILE} holds none of the metrics that it shows"
    try:
        figure_class = optional("matplotlib.figure", extra="plots", what="curve.png").Figure
    except ImportError as error:
        return str(error)
    columns = min(2, len(panels))
    rows = -(-len(panels) // columns)
    figure = figure_class(figsize=(5.5 * columns, 2.8 * rows), layout="constrained")
    axes = np.asarray(figure.subplots(rows, columns, squeeze=False)).ravel()
    boundary = _warm_start_end(lines)
    for axis, (title, unit, series) in zip(axes, panels, strict=False):
        _panel(axis, title, unit, series)
        if boundary is not None:
            axis.axvline(boundary, color="0.4", linestyle="--", linewidth=1, label="end of warm start" if axis is axes[0] else None)
        axis.set_xlim(lines[0]["step"] - 0.5, lines[-1]["step"] + 0.5)
        axis.legend(fontsize=8, frameon=False)
    for axis in axes[len(panels) :]:
        axis.set_visible(False)
    for axis in axes[max(0, len(panels) - columns) : len(panels)]:
        axis.set_xlabel("step")
    path, temporary = workdir / "curve.png", workdir / ".curve.png"
    figure.savefig(temporary, dpi=110, format="png")
    temporary.replace(path)
    return str(path)


def _series(lines: Sequence[dict[str, Any]], names: Sequence[str]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Metric -> (steps, values), without what was not finite."""
    keys = sorted({key for line in lines for key in line if key.rpartition("/")[2] in names and not key.startswith(SKIPPED)})
    series = {}
    for key in keys:
        points = [(line["step"], line[key]) for line in lines if line.get(key) is not None]
        if points:
            steps, values = np.array(points, float).T
            series[key] = steps, values
    return series


def _warm_start_end(lines: Sequence[dict[str, Any]]) -> int | None:
    """The last step before the first reward; None for a run that has rewards from the start, or none."""
    first = next((i for i, line in enumerate(lines) if "reward" in line), 0)
    return lines[first - 1]["step"] if first else None


def _panel(axis: Any, title: str, unit: str, series: dict[str, tuple[np.ndarray, np.ndarray]]) -> None:
    for color, (key, (steps, values)) in enumerate(series.items()):
        label = key.replace("pass_at_1", "pass@1").replace("/", " ").replace("_", " ").replace(".", " ")
        dense = len(values) > 30
        if dense:
            axis.plot(steps, values, color=f"C{color}", alpha=0.3, linewidth=0.8)
            steps, values = _smooth(steps, values, len(values) // 30)
        axis.plot(steps, values, color=f"C{color}", linewidth=1.6, label=label, marker=None if dense else ".")
    axis.set_title(title, fontsize=10)
    axis.set_ylabel(unit, fontsize=9)
    axis.grid(alpha=0.25)


def _smooth(steps: np.ndarray, values: np.ndarray, window: int) -> tuple[np.ndarray, np.ndarray]:
    kernel = np.ones(window) / window
    return np.convolve(steps, kernel, "valid"), np.convolve(values, kernel, "valid")
