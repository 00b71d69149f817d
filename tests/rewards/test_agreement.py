import numpy as np

from pojax import rewards


def test_only_tokens_of_the_solution_at_their_place_count():
    tokens = np.array([[3, 5, 9, 0], [5, 3, 9, 7], [3, 5, 5, 9]])
    solution, solution_mask = np.tile([3, 5, 9, 7], (3, 1)), np.tile([1, 1, 1, 0], (3, 1))  # the 7 is behind its end
    mask = np.array([[1, 1, 1, 0], [1, 1, 1, 1], [1, 0, 1, 1]])
    value = rewards.token_agreement(tokens, mask, solution, solution_mask)
    np.testing.assert_array_equal(value, [[1, 1, 1, 0], [0, 0, 1, 0], [1, 0, 0, 0]])
    assert rewards.token_agreement.writes == ("token_rewards",)
