import numpy as np

from pojax import advantages

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


def test_filters_write_keep():
    assert advantages.drop_truncated.writes == advantages.drop_uniform_groups.writes == ("keep",)
