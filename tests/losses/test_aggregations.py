import functools

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pojax.losses import aggregations

GROUPS = np.array([4, 4, 0, -1, 9])
WHERE = np.array([[1, 1, 1, 0], [0, 1, 0, 0], [1, 0, 1, 0], [1, 1, 0, 0], [0, 0, 0, 0]])  # ragged; a row that is out; an empty row

RULES = {
    "token_mean": aggregations.token_mean,
    "token_sum": aggregations.token_sum,
    "sequence_mean": aggregations.sequence_mean,
    "sequence_mean_token_sum": aggregations.sequence_mean_token_sum,
    "constant": functools.partial(aggregations.constant, length=8.0),
    "group_mean": functools.partial(aggregations.group_mean, groups=GROUPS),
}
JIT = {name: jax.jit(rule) for name, rule in RULES.items()}


def by_hand(name, where, groups=GROUPS):
    """Row by row in double precision, from the definition of the mean that the name says."""
    where = where.astype(float).reshape(len(where), -1)
    rows = [b for b in range(len(where)) if where[b].any()]
    out = np.zeros_like(where)
    names = sorted({groups[b] for b in rows if groups[b] >= 0})
    for b in rows:
        tokens = where[b].sum()
        match name:
            case "token_mean":
                divisor = where.sum()
            case "token_sum":
                divisor = 1
            case "sequence_mean":
                divisor = tokens * len(rows)
            case "sequence_mean_token_sum":
                divisor = len(rows)
            case "constant":
                divisor = len(rows) * 8
            case "group_mean":
                divisor = where[groups == groups[b]].sum() * len(names) if groups[b] >= 0 else np.inf
        out[b] = where[b] / divisor
    return out


def test_every_aggregation_is_tested():
    assert set(RULES) == set(aggregations.__all__)


@pytest.mark.parametrize("name", RULES)
def test_coefficients(x64, name):
    np.testing.assert_allclose(RULES[name](WHERE), by_hand(name, WHERE), rtol=1e-12)
    rows = WHERE[:, 1]
    value = RULES[name](rows)
    assert value.shape == (5,)
    np.testing.assert_allclose(value, by_hand(name, rows)[:, 0], rtol=1e-12)


@pytest.mark.parametrize("name", RULES)
def test_empty_gives_zeros(name):
    np.testing.assert_array_equal(JIT[name](np.zeros((5, 4), bool)), 0)


@settings(max_examples=20)
@given(st.integers(0, 2**20 - 1), st.sampled_from(sorted(RULES)), st.sampled_from([bool, np.int32, np.float32]))
def test_means_have_weight_one_and_padding_changes_nothing(bits, name, dtype):
    where = np.array([bits >> i & 1 for i in range(20)]).reshape(5, 4)
    value = np.asarray(JIT[name](where.astype(dtype)))
    np.testing.assert_allclose(value, by_hand(name, where), rtol=1e-6)
    if name in ("token_mean", "sequence_mean", "group_mean"):
        counted = where[GROUPS >= 0].any() if name == "group_mean" else where.any()
        np.testing.assert_allclose(value.sum(), 1.0 if counted else 0.0, rtol=1e-6)


def test_padding_rows_and_tokens():
    padded = np.pad(WHERE, ((0, 2), (0, 3)))
    for name in ("token_mean", "sequence_mean", "sequence_mean_token_sum", "constant"):
        np.testing.assert_allclose(RULES[name](padded)[:5, :4], RULES[name](WHERE), rtol=1e-6)
    value = aggregations.group_mean(padded, np.append(GROUPS, [-1, -1]))
    np.testing.assert_allclose(value[:5, :4], RULES["group_mean"](WHERE), rtol=1e-6)


def test_every_group_counts_the_same():
    value = np.asarray(RULES["group_mean"](WHERE))
    np.testing.assert_allclose([value[GROUPS == 4].sum(), value[GROUPS == 0].sum()], 0.5, rtol=1e-6)
    assert not value[3].any()


def test_length_is_traced_and_may_be_one_per_row():
    rule = jax.jit(lambda where, length: aggregations.constant(where, length=length))
    np.testing.assert_allclose(rule(WHERE, 3.0), by_hand("constant", WHERE) * 8 / 3, rtol=1e-6)
    np.testing.assert_allclose(rule(WHERE, 4.0), by_hand("constant", WHERE) * 2, rtol=1e-6)
    assert rule._cache_size() <= 1  # 0: JAX has dropped it since, its cache is shared by all functions
    length = np.arange(1.0, 6.0)
    np.testing.assert_allclose(rule(WHERE, length), by_hand("constant", WHERE) * 8 / length[:, None], rtol=1e-6)
