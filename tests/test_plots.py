"""The curve of a run."""

import json
import sys

import numpy as np
import pytest

from pojax import metrics, plots


def write(workdir, lines):
    (workdir / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def run(steps, warm):
    for step in range(1, steps + 1):
        if step <= warm:
            yield {"step": step, "warm_start.policy/loss": 2.0 / step}
        else:
            yield {
                "step": step,
                "reward": step / steps,
                "length": 5,
                "policy/loss": None if step % 7 == 0 else -0.1,
                "components/length": 3,
            }


def test_curve(tmp_path):
    write(tmp_path, run(steps=60, warm=20))
    path = tmp_path / "curve.png"
    assert plots.curve(tmp_path) == str(path)
    image = pytest.importorskip("matplotlib.image").imread(path)
    assert image.shape[0] > 300 and image.shape[1] > 800 and len(np.unique(image.reshape(-1, image.shape[2]), axis=0)) > 10
    assert not list(tmp_path.glob(".*"))


def test_series_and_warm_start():
    lines = list(run(steps=60, warm=20))
    assert plots._warm_start_end(lines) == 20
    assert plots._warm_start_end(lines[20:]) is None and plots._warm_start_end(lines[:20]) is None
    series = plots._series(lines, ("loss",))
    assert list(series) == ["policy/loss", "warm_start.policy/loss"]
    steps, values = series["policy/loss"]
    assert len(steps) == 34 and not np.any(steps % 7 == 0) and np.all(values == -0.1)  # what was not finite is left out
    assert list(plots._series(lines, ("length",))) == ["length"]


def test_nothing_to_draw(tmp_path):
    assert "metrics.jsonl holds none of the metrics" in plots.curve(tmp_path)
    write(tmp_path, [{"step": 1, "other": 2.0}])
    assert "metrics.jsonl holds none of the metrics" in plots.curve(tmp_path)
    assert not (tmp_path / "curve.png").exists()


def test_without_matplotlib(tmp_path, monkeypatch):
    write(tmp_path, run(steps=3, warm=0))
    for module in [module for module in sys.modules if module.startswith("matplotlib")]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setattr(sys, "meta_path", [])
    assert plots.curve(tmp_path) == "curve.png needs the package matplotlib: pip install 'pojax[plots]'"


def test_a_file_of_the_sink(tmp_path):
    sink = metrics.jsonl(tmp_path / metrics.FILE)
    sink.write(1, {"reward": float("inf")})
    sink.close()
    assert "holds none of the metrics" in plots.curve(tmp_path)
