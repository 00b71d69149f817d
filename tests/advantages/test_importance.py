import jax
import jax.numpy as jnp
import numpy as np
import pytest
from arrays import EX

from pojax.advantages import masked_importance, normalized_importance, truncated_importance


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
    with pytest.raises(ValueError, match=r"truncated_importance: level is 'row', allowed: \{token, sequence, geometric\}"):
        truncated_importance(EX.old, EX.rollout, EX.mask, level="row")
    assert truncated_importance.writes == ("importance",)


# -- masked weights, gates, normalisation -----------------------------------------------------------------------------------------

GEOMETRIC = np.array([1.34089, 1.06894, 0.889882, 1.05127])  # of the rows of the worked example
TOKENS = np.array([[0.980199, 2.4596, 1], [0.904837, 1, 1.34986], [1, 0.67032, 1.05127], [1.2214, 0.904837, 0]])


def test_worked_example_of_icepop():
    expected = np.where(TOKENS > 2, 0, TOKENS)
    np.testing.assert_allclose(masked_importance(EX.old, EX.rollout, EX.mask, high=2.0), expected, rtol=1e-5)
    np.testing.assert_allclose(masked_importance(EX.old, EX.rollout, EX.mask), TOKENS, rtol=1e-5)  # 0.5 to 5: none is dropped


def test_worked_example_of_the_geometric_level():
    value = truncated_importance(EX.old, EX.rollout, EX.mask, level="geometric", cap=np.inf)
    np.testing.assert_allclose(value, GEOMETRIC[:, None] * EX.mask, rtol=1e-5)


def test_worked_example_of_the_gate():
    """The geometric mean decides for the row; what stays keeps the weights of its tokens."""
    value = masked_importance(EX.old, EX.rollout, EX.mask, low=0.9, high=1.2, decide="geometric")
    np.testing.assert_allclose(value, TOKENS * np.array([[0], [1], [0], [1]]), rtol=1e-5)


def test_masked_sequences():
    rows = np.array([[2.4109], [1.2214], [0.704688], [1.10517]])
    value = masked_importance(EX.old, EX.rollout, EX.mask, low=1.0, high=2.0, level="sequence")
    np.testing.assert_allclose(value, rows * EX.mask * np.array([[0], [1], [0], [1]]), rtol=1e-5)


def reference_weight(level, row):
    """Of one row in plain Python; the sampler's NaN is no evidence."""
    ratios = [o - r for o, r, m in zip(EX.old[row], EX.rollout[row], EX.mask[row], strict=True) if m]
    if level == "token":
        return [np.exp(x) for x in ratios]
    total = sum(ratios) / (len(ratios) if level == "geometric" else 1)
    return [np.exp(total)] * len(ratios)


@pytest.mark.parametrize("level", ["token", "sequence", "geometric"])
@pytest.mark.parametrize("decide", [None, "token", "sequence", "geometric"])
def test_masked_importance_in_double_precision(x64, level, decide):
    value = np.asarray(masked_importance(EX.old, EX.rollout, EX.mask, low=0.95, high=1.3, level=level, decide=decide))
    for row in range(4):
        weights, judged = reference_weight(level, row), reference_weight(decide or level, row)
        expected = [w if 0.95 <= j <= 1.3 else 0.0 for w, j in zip(weights, judged, strict=True)]
        np.testing.assert_allclose(value[row][EX.mask[row] != 0], expected, rtol=1e-9)
    assert (value[EX.mask == 0] == 0).all()
    gradient = jax.grad(lambda x: jnp.sum(masked_importance(x, EX.rollout, EX.mask, level=level, decide=decide)))(jnp.asarray(EX.old))
    np.testing.assert_array_equal(gradient, 0)


def test_tokens_without_a_score_weigh_one_and_are_left_out_of_their_row():
    rollout = EX.rollout.copy()
    rollout[0, 1] = np.nan
    token = truncated_importance(EX.old, rollout, EX.mask, cap=np.inf)
    np.testing.assert_allclose(token[0], [TOKENS[0, 0], 1, 1], rtol=1e-5)
    row = truncated_importance(EX.old, rollout, EX.mask, cap=np.inf, level="geometric")
    np.testing.assert_allclose(row[0], np.exp(-0.02 / 2), rtol=1e-5)
    nothing = truncated_importance(EX.old, np.full_like(EX.old, np.nan), EX.mask, level="sequence")
    np.testing.assert_array_equal(nothing, EX.mask)


def test_normalised_weights():
    groups = np.array([4, 4, -1, 0])
    weight = np.array([[1.0, 2, 3], [4, 4, 4], [np.nan, 9, 9], [5, 1, 7]])
    on = (EX.mask != 0) & (groups >= 0)[:, None]
    token = normalized_importance(weight, EX.mask, groups)
    np.testing.assert_allclose(token, np.where(on, weight / weight[on].mean(), 0), rtol=1e-6)
    rows = np.array([[2.0], [3.0], [9.0], [4.0]]) * np.ones((1, 3))
    np.testing.assert_allclose(normalized_importance(rows, EX.mask, groups, level="row"), np.where(on, rows / 3.0, 0), rtol=1e-6)
    np.testing.assert_array_equal(normalized_importance(0 * rows, EX.mask, groups), 0)
