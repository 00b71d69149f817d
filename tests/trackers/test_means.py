import jax
import numpy as np
from arrays import GROUPS6, REWARDS6

from pojax import trackers
from pojax.trackers.means import RunningMean


def test_card():
    table = RunningMean(np.float32(3), np.float32(4))
    assert table.value == 0.75
    assert tuple(trackers.running_mean.update(table, REWARDS6, GROUPS6)) == (6.0, 10.0)


def test_value_is_0_before_the_first_and_rows_that_are_out_do_not_count():
    table = trackers.running_mean.init()
    assert table.value == 0
    table = trackers.running_mean.update(table, np.array([1.0, np.nan, 0.5]), np.array([0, -1, 3]))
    assert tuple(table) == (1.5, 2.0) and table.value == 0.75


def test_types_of_the_table_never_change():
    table = trackers.running_mean.init()
    after = jax.eval_shape(trackers.running_mean.update, table, REWARDS6, GROUPS6)
    assert [(x.shape, x.dtype, x.weak_type) for x in table] == [(x.shape, x.dtype, x.weak_type) for x in after]
