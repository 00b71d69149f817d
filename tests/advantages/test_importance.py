import jax
import jax.numpy as jnp
import numpy as np
import pytest
from arrays import EX

from pojax.advantages import truncated_importance


def test_card_token_level():
    expected = [[0.980199, 2, 1], [0.904837, 1, 1.34986], [1, 0.67032, 1.05127], [1.2214, 0.904837, 0]]
    np.testing.assert_allclose(truncated_importance(EX.old, EX.rollout, EX.mask), expected, rtol=1e-5)


def test_card_sequence_level():
    rows = np.array([[2.4109], [1.2214], [0.704688], [1.10517]])
    np.testing.assert_allclose(truncated_importance(EX.old, EX.rollout, EX.mask, cap=3.0, level="sequence"), rows * EX.mask, rtol=1e-5)
    capped = truncated_importance(EX.old, EX.rollout, EX.mask, level="sequence")
    np.testing.assert_allclose(capped, np.minimum(rows, 2.0) * EX.mask, rtol=1e-5)


@pytest.mark.parametrize("level", ["token", "sequence"])
def test_double_precision_and_detached(x64, level):
    difference = (EX.old - EX.rollout) * EX.mask
    if level == "sequence":
        difference = np.repeat(difference.sum(1, keepdims=True), 3, axis=1)
    value = truncated_importance(EX.old, EX.rollout, EX.mask, cap=1.1, level=level)
    np.testing.assert_allclose(value, np.minimum(np.exp(difference), 1.1) * EX.mask, rtol=1e-9)
    gradient = jax.grad(lambda x: jnp.sum(truncated_importance(x, EX.rollout, EX.mask, level=level)))(jnp.asarray(EX.old))
    np.testing.assert_array_equal(gradient, 0)


def test_cap_per_row_extremes_and_bad_level():
    cap = np.array([0.5, 1.0, 2.0, 4.0])
    value = truncated_importance(EX.old + 1e4, EX.old, EX.mask, cap=cap)
    np.testing.assert_array_equal(value, cap[:, None] * EX.mask)
    assert np.all(np.asarray(truncated_importance(EX.old + 1e4, EX.old, EX.mask, cap=np.inf)) <= np.exp(20.0) * 1.001)
    with pytest.raises(ValueError, match=r"truncated_importance: level is 'row', allowed: \{token, sequence\}"):
        truncated_importance(EX.old, EX.rollout, EX.mask, level="row")
    assert truncated_importance.writes == ("importance",)
