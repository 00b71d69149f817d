import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pojax.sampling import truncate

filtered = jax.jit(truncate)
LOGITS = np.random.default_rng(0).normal(size=(64, 23)).astype(np.float32) * 2.0


def by_hand(logits, top_k, top_p, min_p):
    """One row in the words of the definitions: -> kept tokens."""
    order = sorted(range(len(logits)), key=lambda v: -logits[v])
    if top_k:
        order = order[:top_k]
    probabilities = np.exp(np.float64(logits[order]))
    probabilities /= probabilities.sum()
    if top_p < 1:
        count = 1 + int(np.sum(np.cumsum(probabilities) < top_p))
        order = order[:count]
    return {v for v in order if np.exp(logits[v] - logits[order[0]]) >= min_p}


def settings(top_k=0, top_p=1.0, min_p=0.0):
    n = len(LOGITS)
    return np.full(n, top_k, np.int32), np.full(n, top_p, np.float32), np.full(n, min_p, np.float32)


@pytest.mark.parametrize(
    "given",
    [dict(top_k=5), dict(top_p=0.7), dict(min_p=0.2), dict(top_k=8, top_p=0.8, min_p=0.1), dict(top_k=1), dict(top_p=1e-6), dict(top_k=99)],
    ids=str,
)
def test_kept_tokens(given):
    controls = settings(**given)
    out = np.asarray(filtered(LOGITS, *controls))
    for row, (logits, *control) in enumerate(zip(LOGITS, *controls, strict=True)):
        kept = by_hand(logits, *control)
        assert set(np.flatnonzero(np.isfinite(out[row]))) == kept
        np.testing.assert_array_equal(out[row, sorted(kept)], logits[sorted(kept)])


def test_every_row_has_its_own_settings():
    top_k, top_p, min_p = settings()
    top_k[::3], top_p[1::3], min_p[2::6] = 4, 0.6, 0.3
    out = np.asarray(filtered(LOGITS, top_k, top_p, min_p))
    for row in range(len(LOGITS)):
        assert set(np.flatnonzero(np.isfinite(out[row]))) == by_hand(LOGITS[row], top_k[row], top_p[row], min_p[row])
    np.testing.assert_array_equal(out[5::6], LOGITS[5::6])  # off


def test_ties_are_kept_and_masked_tokens_stay_masked():
    logits = np.array([[1.0, 1.0, 0.0, -np.inf]] * 3, np.float32)
    top_k, top_p, min_p = np.array([1, 0, 4], np.int32), np.array([1.0, 0.3, 1.0], np.float32), np.zeros(3, np.float32)
    kept = np.isfinite(filtered(logits, top_k, top_p, min_p))
    np.testing.assert_array_equal(kept, [[1, 1, 0, 0], [1, 1, 0, 0], [1, 1, 1, 0]])


def test_off_sorts_nothing():
    jaxpr = jax.make_jaxpr(truncate)(LOGITS, *settings())
    assert "sort" not in {eqn.primitive.name for eqn in jaxpr.jaxpr.eqns}  # it stands inside a branch
    assert "sort" in str(jaxpr) and "cond" in {eqn.primitive.name for eqn in jaxpr.jaxpr.eqns}
    np.testing.assert_array_equal(filtered(LOGITS, *settings()), LOGITS)
    assert jnp.isfinite(filtered(LOGITS * 1e30, *settings(top_k=3))).any()
