import numpy as np
import pytest
from arrays import assert_gradient

from pojax import advantages, trackers
from pojax.trackers.roles import RoleAverages


def reference(r, roles, b, groups, decay):
    """Row after row."""
    b, out = np.array(b, float), np.zeros(len(r))
    for i in range(len(r)):
        if groups[i] >= 0:
            out[i] = r[i] - b[roles[i]]
            b[roles[i]] = decay * b[roles[i]] + (1 - decay) * r[i]
    return out, b


def test_worked_example():
    r, roles, groups = np.array([1.0, -1, 1, -1]), np.array([0, 1, 0, 1]), np.array([0, 0, 1, 1])
    table = trackers.role_averages.init(roles_count=2)
    np.testing.assert_allclose(advantages.role_center(r, roles, table.value, groups), [1, -1, 0.95, -0.95], rtol=1e-5)
    np.testing.assert_allclose(trackers.role_averages.update(table, r, roles, groups).value, [0.0975, -0.0975], rtol=1e-5)


@pytest.mark.parametrize("decay", [0.95, 0.5, 0.0, 1.0])
def test_double_precision(x64, decay):
    rng = np.random.default_rng(0)
    roles, groups, b = rng.integers(0, 4, 40), rng.integers(-1, 6, 40), rng.normal(size=5)
    r = rng.normal(size=40)
    expected, after = reference(r, roles, b, groups, decay)
    junk = np.where(groups < 0, np.nan, r)
    np.testing.assert_allclose(advantages.role_center(junk, roles, b, groups, decay=decay), expected, rtol=1e-9, atol=1e-12)
    new = trackers.role_averages.update(RoleAverages(b), junk, roles, groups, decay=decay)
    np.testing.assert_allclose(new.value, after, rtol=1e-9, atol=1e-12)
    assert new.value[4] == b[4]  # a role that did not come
    nobody = advantages.role_center(r[:1], np.array([-1]), b, np.zeros(1, int), decay=decay)
    np.testing.assert_allclose(nobody, np.nan_to_num(r[:1]), rtol=1e-12)
    assert_gradient(lambda r: advantages.role_center(r, roles, b, groups, decay=decay), r)


def test_two_batches_are_one():
    rng = np.random.default_rng(1)
    r, roles, groups = rng.normal(size=12).astype(np.float32), rng.integers(0, 2, 12), np.arange(12)
    table = trackers.role_averages.init()
    whole = advantages.role_center(r, roles, table.value, groups)
    first = advantages.role_center(r[:5], roles[:5], table.value, groups[:5])
    table = trackers.role_averages.update(table, r[:5], roles[:5], groups[:5])
    second = advantages.role_center(r[5:], roles[5:], table.value, groups[5:])
    np.testing.assert_allclose(whole, np.concatenate([first, second]), rtol=1e-5, atol=1e-6)


def test_unknown_roles():
    with pytest.raises(ValueError, match=r"a role is 2, allowed: \[-1, 2\)"):
        advantages.role_center(np.ones(2), np.array([0, 2]), np.zeros(2), np.zeros(2, int))
