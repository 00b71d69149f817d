"""Data sets that are too large, or not ours, to lie in the repository."""

import os
from pathlib import Path

import pytest


def place(path: str) -> Path:
    """Where a file below `data/` of the folder POJAX_SHARED, or of `shared` beside the checkout, is or would be."""
    return Path(os.environ.get("POJAX_SHARED") or Path(__file__).resolve().parents[2] / "shared") / "data" / path


def data(path: str) -> str:
    """The path as `place` gives it; skips the test if it is missing."""
    file = place(path)
    if not file.exists():
        pytest.skip(f"{path} is not there: put it below data/ of a folder and name the folder in POJAX_SHARED")
    return str(file)
