"""Dense rewards from a worked solution."""

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Int

from pojax.annotations import Mask, writes
from pojax.checks import checked
from pojax.numerics import counts, floating

__all__ = ["token_agreement"]


@writes("token_rewards")
@checked()
def token_agreement(
    tokens: Int[ArrayLike, "B T"], mask: Mask, solution_tokens: Int[ArrayLike, "B T"], solution_mask: Mask
) -> Float[Array, "B T"]:
    """Reward of every token for being that of the worked solution: 1 where tokens_bt = solution_tokens_bt, else 0.

    0 also where mask is 0 and behind the end of the solution. Right where a solution can be checked place by place, such as numbers
    written from the lowest digit on: a process reward without a reward model. `with_solutions` provides the solutions.
    Source: stands in for the process reward model of DeepSeekMath (GRPO), arXiv 2402.03300, section 4.1.3.
    """
    same = jnp.asarray(tokens) == jnp.asarray(solution_tokens)
    return floating(same & counts(solution_mask) & counts(mask))
