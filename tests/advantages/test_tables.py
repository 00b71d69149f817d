import jax
import numpy as np
import pytest

from pojax import advantages


@pytest.mark.parametrize("shape", [(5,), (5, 2), (5, 2, 3)])
@pytest.mark.parametrize("dtype", [np.float32, np.int32, bool])
def test_lookup_of_any_rank(shape, dtype):
    column = np.random.default_rng(0).integers(0, 2, shape).astype(dtype)
    value = advantages.lookup(column, np.array([4, 0, 4, -1]))
    np.testing.assert_array_equal(value, np.concatenate([column[[4, 0, 4]], np.zeros((1, *shape[1:]), dtype)]))
    assert value.dtype == dtype


@pytest.mark.parametrize("index", [5, -2])
def test_index_that_is_not_there(index):
    with pytest.raises(ValueError, match=rf"lookup: prompt_index is {index}, allowed: \[-1, 5\)"):
        advantages.lookup(np.zeros(5), np.array([0, index]))
    assert jax.jit(advantages.lookup)(np.zeros(5), np.array([0, 3])).shape == (2,)
