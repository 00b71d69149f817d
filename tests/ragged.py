"""A batch with everything that a loss of groups meets: any order, a row out, a row without tokens, junk where it must not matter."""

from types import SimpleNamespace

import numpy as np


def ragged(seed=0, junk=np.nan):
    """float64 arrays of 10 rows and 4 tokens; groups of 4, 3, 1 and 1, and one row out."""
    rng = np.random.default_rng(seed)
    groups = rng.permutation([3, 3, 3, 3, 0, 0, 0, 5, 7, -1])
    lengths = rng.integers(1, 5, 10)
    lengths[np.flatnonzero(groups == 3)[-1]] = 0
    mask = (np.arange(4) < lengths[:, None]).astype(float)
    on = (mask > 0) & (groups >= 0)[:, None]
    tokens = {name: np.where(on, -rng.uniform(0.05, 1.5, (10, 4)), junk) for name in ("logprobs", "old", "ref")}
    rows = {name: np.where(groups >= 0, x, junk) for name, x in {"rewards": rng.normal(size=10), "value": rng.uniform(size=10)}.items()}
    correct = rng.integers(0, 2, 10).astype(float)
    first, second = np.flatnonzero(groups == 3)[:2]
    correct[first], correct[second] = 1.0, 0.0
    return SimpleNamespace(groups=groups, mask=mask, on=on, correct=correct, **tokens, **rows)


def names(groups):
    """Ids of the groups that are in."""
    return [i for i in np.unique(groups) if i >= 0]


def smooth(batch):
    """(logprobs without junk, the same with junk put back): what a gradient is taken at, and what the function is called with."""
    clean = np.where(batch.on, batch.logprobs, 0.0)
    return clean, lambda x: x + np.where(batch.on, 0.0, batch.logprobs)
