import numpy as np
from arrays import EX

from pojax import advantages, losses
from pojax.losses.aggregations import sequence_mean, token_mean

KEEP = np.array([[1, 1, 0], [1, 0, 0], [1, 1, 1], [0, 0, 0], [1, 1, 1], [1, 1, 1]], np.float32)


def test_card_of_dynamic_sampling():
    """Correct [1, 1, 0, 0, 1, 0] in groups of two: only the third group is kept."""
    correct = np.array([1.0, 1, 0, 0, 1, 0])
    value = advantages.drop_uniform_groups(KEEP, correct, np.array([3, 3, 0, 0, 8, 8]))
    np.testing.assert_array_equal(value, KEEP * np.array([0, 0, 0, 0, 1, 1])[:, None])


def test_rows_that_are_out_and_groups_of_one_are_dropped():
    value = advantages.drop_uniform_groups(KEEP, np.array([1.0, 0, np.nan, 0, 5, 6]), np.array([3, 3, -1, -1, 8, 9]))
    np.testing.assert_array_equal(value, KEEP * np.array([1, 1, 0, 0, 0, 0])[:, None])


def test_drop_truncated():
    truncated = np.array([True, False, True, False, False, False])
    value = advantages.drop_truncated(KEEP, truncated)
    np.testing.assert_array_equal(value, KEEP * ~truncated[:, None])
    np.testing.assert_array_equal(advantages.drop_truncated(KEEP.astype(bool), truncated.astype(np.float32)), value)


def test_drop_failures():
    """Rejection sampling on the example's rows of which the first and the third are right."""
    correct = np.array([1.0, 0.0, 1.0, 0.0])
    kept = advantages.drop_failures(EX.mask, correct)
    np.testing.assert_array_equal(kept, EX.mask * correct[:, None])
    loss = np.sum(token_mean(np.asarray(kept)) * losses.negative_log_likelihood(EX.logprobs))
    np.testing.assert_allclose(loss, 1.09167, rtol=1e-5)
    np.testing.assert_array_equal(token_mean(advantages.drop_failures(EX.mask, 0 * correct)), 0)  # nothing right: no loss, not NaN
    np.testing.assert_array_equal(advantages.drop_failures(EX.mask, EX.rewards, threshold=0.5), EX.mask * [[1], [0], [1], [0]])


def test_supervised_floor():
    np.testing.assert_allclose(np.sum(token_mean(EX.mask) * losses.negative_log_likelihood(EX.logprobs)), 1.13182, rtol=1e-5)
    np.testing.assert_allclose(np.sum(sequence_mean(EX.mask) * losses.negative_log_likelihood(EX.logprobs)), 1.12708, rtol=1e-5)


def test_drop_duplicates():
    """Rows 0, 1 and 4 say the same; 1 is cleared already, 4 is of another group; 2 and 3 differ where 3 is masked."""
    tokens = np.array([[5, 6, 7], [5, 6, 9], [5, 6, 7], [8, 8, 8], [5, 6, 7], [5, 6, 7], [8, 8, 9], [8, 8, 8]])
    mask = np.array([[1, 1, 0], [1, 1, 0], [1, 1, 1], [1, 1, 0], [1, 1, 0], [1, 1, 0], [1, 1, 0], [1, 1, 1]])
    groups = np.array([3, 3, 3, 3, 0, 3, 3, -1])
    value = advantages.drop_duplicates(mask, tokens, mask, groups)
    np.testing.assert_array_equal(value, mask * np.array([1, 0, 1, 1, 1, 0, 0, 1])[:, None])
    cleared = mask * np.array([0, 1, 1, 1, 1, 1, 1, 1])[:, None]
    value = advantages.drop_duplicates(cleared, tokens, mask, groups)
    np.testing.assert_array_equal(value, cleared * np.array([0, 1, 1, 1, 1, 0, 0, 1])[:, None])  # the first that is kept stands


def test_filters_write_keep():
    assert advantages.drop_truncated.writes == advantages.drop_uniform_groups.writes == ("keep",)


def test_tokens_without_credit():
    keep = np.array([[1, 1, 0], [1, 1, 1], [1, 0, 1]])
    np.testing.assert_array_equal(advantages.drop_without_credit(keep, np.array([0.0, -0.5, 1e-30])), keep * [[0], [1], [1]])
    credit = np.array([[0.1, 0, 0.3], [0, -0.2, 0], [0, 0, 0]])
    np.testing.assert_array_equal(advantages.drop_without_credit(keep, credit), [[1, 0, 0], [0, 1, 0], [0, 0, 0]])
