import jax
import jax.numpy as jnp
import numpy as np

from pojax import trackers
from pojax.trackers.quantiles import RunningQuantiles

SCORES = np.array([2.0, 1, 0, 2, 1, 0])
BUNDLE = np.array([0, 1, 2, 0, 1, 2])


def test_worked_example():
    table = RunningQuantiles(jnp.float32(0.4), jnp.float32(1.6), jnp.array(True))
    new = trackers.running_quantiles.update(table, SCORES, BUNDLE, lower=0.2, upper=0.8, rate=0.1)
    np.testing.assert_allclose([new.low, new.high], [0.386667, 1.61333], rtol=1e-5)


def test_double_precision_from_the_first_batch_on(x64):
    rng = np.random.default_rng(0)
    table = trackers.running_quantiles.init()
    low = high = None
    for _ in range(3):
        bundle = rng.permutation(np.repeat([5, 1, 8, 2, -1], 3))
        scores = np.where(bundle < 0, np.nan, rng.normal(size=9)[np.abs(bundle)])
        x = np.array([scores[bundle == i][0] for i in (5, 1, 8, 2)])
        if low is None:
            low, high = np.quantile(x, 0.3), np.quantile(x, 0.6)
        low, high = low + 0.2 * (0.3 - np.mean(x < low)), high + 0.2 * (0.6 - np.mean(x < high))
        table = trackers.running_quantiles.update(table, scores, bundle, lower=0.3, upper=0.6, rate=0.2)
        np.testing.assert_allclose([table.low, table.high], [low, high], rtol=1e-9)
        assert table.started


def test_converges_to_the_quantiles():
    rng, table = np.random.default_rng(1), trackers.running_quantiles.init()
    update = jax.jit(trackers.running_quantiles.update)
    for _ in range(300):
        table = update(table, rng.uniform(size=64).astype(np.float32), np.arange(64), rate=0.03)
    np.testing.assert_allclose([table.low, table.high], [0.2, 0.8], atol=0.05)


def test_a_batch_without_bundles_changes_nothing():
    table = trackers.running_quantiles.init()
    new = trackers.running_quantiles.update(table, SCORES, np.full(6, -1))
    assert not new.started and new.low == 0 and new.high == 0
