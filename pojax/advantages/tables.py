"""Fields taken from tables and data-set columns."""

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Int, Shaped

from pojax.checks import check_range, checked

__all__ = ["lookup"]


@checked()
def lookup(column: Shaped[ArrayLike, "N ..."], prompt_index: Int[ArrayLike, "B"]) -> Shaped[Array, "B ..."]:
    """The entry of every row's prompt: column[prompt_index], whatever further axes the column has; 0 for index -1.

    Name what it is written to, such as writes="baseline".
    Raises ValueError where a concrete index is below -1 or not below N.
    Source: indexing; per-prompt tables as in Single-stream Policy Optimization, arXiv 2509.13232.
    """
    column, index = jnp.asarray(column), jnp.asarray(prompt_index)
    check_range("lookup", "prompt_index", prompt_index, f"[-1, {column.shape[0]})")
    rows = column[jnp.maximum(index, 0)]
    return jnp.where((index >= 0).reshape((-1,) + (1,) * (column.ndim - 1)), rows, jnp.zeros((), column.dtype))
