import jax
import jax.numpy as jnp
import numpy as np
import pytest
from frozen import CASE, assert_like

from pojax import advantages, losses
from pojax.losses import aggregations as aggregate

LOGPROBS, OLD = np.array([[-3.0], [-4], [-5], [-4.5]]), np.array([[-3.2], [-3.9], [-4.5], [-4.6]])
REWARDS, GROUPS, MASK = np.array([1, 0.3, 0.2, 0.9]), np.array([4, 4, 0, 0]), np.ones((4, 1))
VERSIONS = ["none", "v1", "v2"]


@pytest.mark.parametrize(("version", "expected"), [("none", -0.142661), ("v1", -0.105058), ("v2", -0.0709564)])
def test_card(version, expected):
    loss = losses.p3o(LOGPROBS, OLD, REWARDS, MASK, GROUPS, version=version)
    np.testing.assert_allclose(jnp.sum(aggregate.sequence_mean(np.ones(4)) * loss), expected, rtol=1e-5)


@pytest.mark.parametrize("version", VERSIONS)
def test_one_gradient_where_no_update_was_made(version):
    """-D (grad log pi_1 - grad log pi_2) / 2, averaged over pairs."""

    def loss(x):
        return jnp.mean(losses.p3o(x, OLD, REWARDS, MASK, GROUPS, version=version))

    slope = jax.grad(loss)(jnp.asarray(OLD))
    np.testing.assert_allclose(slope[:, 0], np.array([-0.7, 0.7, 0.7, -0.7]) / 2 / 2, rtol=1e-5)
    shifted = losses.p3o(LOGPROBS, OLD, REWARDS + np.array([3, 3, -1, -1]), MASK, GROUPS, version=version)
    np.testing.assert_allclose(shifted, losses.p3o(LOGPROBS, OLD, REWARDS, MASK, GROUPS, version=version), rtol=1e-5)


IDS = np.array([2, 7, 2, 7, 2])  # pairs (0, 2) and (1, 3); row 4 has none
SCORES = np.array([0.3, 1.2, 0.9, -0.4, 5.0])
FULL = np.array([[1, 1, 1, 1], [1, 1, 0, 0], [1, 1, 1, 0], [1, 0, 1, 1], [0, 1, 0, 0]])


@pytest.mark.parametrize("version", VERSIONS)
def test_double_precision(x64, version):
    def total(x, b):
        return sum(x[b, t] - CASE.old[b, t] for t in range(4) if FULL[b, t])

    def objective(d, x1, x2):
        if version == "none":
            return d * (np.exp(x1) - np.exp(x2))
        if version == "v1":
            first, second = (min(max(np.exp(x), 0.7), 1.3) for x in (x1, x2))
            return min(d * np.exp(x1), d * first) + min(-d * np.exp(x2), -d * second)
        return min(d * (x1 - x2), d * min(max(x1 - x2, np.log(0.7)), np.log(1.3)))

    def reference(x, fixed):
        return np.mean([-0.5 * objective(SCORES[i] - SCORES[j], total(x, i), total(x, j)) for i, j in ((0, 2), (1, 3))])[None]

    paired = advantages.paired_rows(IDS)

    def loss(x):
        rows = losses.p3o(x, CASE.old, SCORES, FULL, IDS, epsilon=0.3, version=version)
        return jnp.sum(aggregate.sequence_mean(paired) * rows)[None]

    near = CASE.old + 0.3 * (CASE.logprobs - CASE.old)
    assert_like(loss, reference, near)
    assert_like(loss, reference)


@pytest.mark.parametrize("version", VERSIONS)
def test_rows_without_partner_and_equal_rewards(version):
    def loss(x, rewards, groups):
        return jnp.sum(losses.p3o(x, CASE.old, rewards, FULL, groups, version=version))

    for rewards, groups in ((SCORES, np.arange(5)), (np.full(5, 0.7), np.zeros(5, int)), (SCORES, np.full(5, -1))):
        value, slope = jax.value_and_grad(loss)(jnp.asarray(CASE.logprobs), rewards, groups)
        assert value == 0 and not np.any(slope)


def test_what_is_refused():
    with pytest.raises(ValueError, match=r"p3o: version is 'v3', allowed: \{none, v1, v2\}"):
        losses.p3o(LOGPROBS, OLD, REWARDS, MASK, GROUPS, version="v3")
    with pytest.raises(ValueError, match=r"p3o: epsilon is 1, allowed: \[0, 1\)"):
        losses.p3o(LOGPROBS, OLD, REWARDS, MASK, GROUPS, epsilon=1.0)
