import numpy as np
import pytest
from arrays import EX

from pojax.trackers import entropy_target

GROUPS = np.array([0, 0, 1, 1])


@pytest.mark.parametrize(("target", "temperature", "above"), [(0.5, 0.8, True), (2.0, 1.2, False)])
def test_worked_example(target, temperature, above):
    table = entropy_target.init(target=target)
    assert table.entropy == 0 and table.temperature == np.float32(1.2) and not table.above  # entropy 0 is below any target
    table = entropy_target.update(table, EX.logprobs, EX.mask, GROUPS, target=target)
    np.testing.assert_allclose(table.entropy, 1.13182, rtol=1e-5)
    assert table.temperature == np.float32(temperature) and bool(table.above) == above


def test_rows_that_are_out_and_retempered_rows_have_no_part(x64):
    table = entropy_target.init(target=1.0)
    groups = np.array([0, -1, 1, 1])
    found = entropy_target.update(
        table, np.where((groups < 0)[:, None], np.nan, EX.old), EX.mask, groups, np.array([0, 0, 0, 1]), target=1.0
    )
    np.testing.assert_allclose(found.entropy, -EX.old[[0, 2]].mean(), rtol=1e-9)
    kept = entropy_target.update(found, EX.old, EX.mask, np.full(4, -1), target=1.0)
    assert kept == found  # nothing to measure
