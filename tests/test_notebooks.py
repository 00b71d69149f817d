"""Every notebook runs from top to bottom, cell by cell, in a folder of its own."""

import json
from pathlib import Path

import pytest

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))


def test_there_are_notebooks():
    assert NOTEBOOKS


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook(path, tmp_path, monkeypatch):
    matplotlib = pytest.importorskip("matplotlib", reason="matplotlib is not installed: pip install pojax[plots]")
    matplotlib.use("Agg")
    from matplotlib import pyplot

    monkeypatch.chdir(tmp_path)
    cells = [cell for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == "code"]
    scope = {"__name__": "__main__"}
    figures = 0
    try:
        for number, cell in enumerate(cells):
            source = "".join(cell["source"])
            exec(compile(source, f"{path.name}, code cell {number}", "exec"), scope)
            figures = max(figures, len(pyplot.get_fignums()))
    finally:
        pyplot.close("all")
    assert figures > 0, f"{path.name} draws nothing"
