"""Data sets that are too large, or not ours, to lie in the repository."""

import os
from pathlib import Path

import pytest


def data(path: str) -> str:
    """Path of a file below `data/` of the folder POJAX_SHARED, or of `shared` beside the checkout; skips the test if it is missing."""
    folder = Path(os.environ.get("POJAX_SHARED") or Path(__file__).resolve().parents[2] / "shared")
    file = folder / "data" / path
    if not file.exists():
        pytest.skip(f"{path} is not there: put it below data/ of a folder and name the folder in POJAX_SHARED")
    return str(file)
