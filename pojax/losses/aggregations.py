"""Aggregations: from what a term counts (`where`, 0 or 1) to the coefficients of a weighted sum over the whole optimiser batch.

loss = sum(coefficient * value). Dividing here, once and in advance, is what makes micro-batches, devices and packing unable to change a
gradient. `where` is [B, T] for values per token and [B] for values per row. Divisors count rows in which something counts
("non-empty"); where nothing counts all coefficients are 0.
"""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Int, Shaped

from pojax.annotations import Hyper, Mask
from pojax.checks import checked
from pojax.groups import group_size, group_sum
from pojax.numerics import counts, floating, per_row

__all__ = ["constant", "group_mean", "sequence_mean", "sequence_mean_token_sum", "token_mean", "token_sum"]

Where = Mask | Shaped[ArrayLike, "B"]
Coefficients = Float[Array, "B T"] | Float[Array, "B"]


@checked()
def token_mean(where: Where) -> Coefficients:
    """Every token counts the same: where / (number of tokens).

    Equals verl "token-mean" over the whole batch, and TRL loss_type "dapo" (and "bnpo" where one micro-batch is the batch).
    Source: DAPO, arXiv 2503.14476, eq. (8).
    """
    on = counts(where)
    return floating(on) / _at_least_one(jnp.sum(on))


@checked()
def token_sum(where: Where) -> Coefficients:
    """The plain sum: coefficient 1 where it counts.

    Equals verl "token-sum"; a denominator of one's own goes into the term's scale.
    Source: the sum over tokens of GRPO, arXiv 2402.03300, eq. (3), without its divisors.
    """
    return floating(counts(where))


@checked()
def sequence_mean(where: Where) -> Coefficients:
    """Every response counts the same, its tokens share: where / (tokens of the row * non-empty rows).

    Equals verl "seq-mean-token-mean", and TRL loss_type "grpo" where no row is empty (TRL counts empty rows too).
    Source: GRPO, DeepSeekMath, arXiv 2402.03300, eq. (3).
    """
    on = counts(where)
    tokens = _tokens(on)
    coefficients = floating(on) / _at_least_one(_rows(on))
    return coefficients / _at_least_one(tokens)[:, None] if on.ndim == 2 else coefficients


@checked()
def sequence_mean_token_sum(where: Where) -> Coefficients:
    """The mean over responses of the sum over their tokens: where / (non-empty rows).

    Equals verl "seq-mean-token-sum". Source: REINFORCE on whole responses, Back to Basics, arXiv 2402.14740, section 3.2.
    """
    on = counts(where)
    return floating(on) / _at_least_one(_rows(on))


@checked(length="(0, inf)")
def constant(where: Where, *, length: Hyper) -> Coefficients:
    """Tokens count the same in every batch: where / (non-empty rows * length), with length the generation budget in tokens.

    Equals TRL loss_type "dr_grpo" with max_completion_length = length, and verl "seq-mean-token-sum-norm" with loss_scale_factor = length
    (from 0.9.1; earlier versions do not divide by the rows). Raises ValueError for length not above 0.
    Source: Dr. GRPO, arXiv 2503.20783, and its released code (division by generate_max_length).
    """
    on = counts(where)
    return floating(on) / (_at_least_one(_rows(on)) * per_row(length, on.ndim))


@checked()
def group_mean(where: Where, groups: Int[ArrayLike, "B"]) -> Coefficients:
    """Every group counts the same, its tokens share: where / (tokens of the group * non-empty groups); rows that are out get 0.

    Equals the prompt-level aggregation of ScaleRL; in verl and TRL no option does.
    Source: ScaleRL, "The Art of Scaling Reinforcement Learning Compute for LLMs", arXiv 2510.13786 (prompt average).
    """
    on = counts(where) & (jnp.asarray(groups) >= 0).reshape((-1,) + (1,) * (np.ndim(where) - 1))
    tokens = group_sum(_tokens(on), groups)
    used = tokens > 0.0
    number = jnp.round(jnp.sum(jnp.where(used, 1.0 / jnp.maximum(group_size(groups), 1.0), 0.0)))  # every group adds up to 1
    coefficients = 1.0 / (jnp.maximum(tokens, 1.0) * jnp.maximum(number, 1.0))
    return jnp.where(on, per_row(coefficients, on.ndim), 0.0)


def _tokens(on: Shaped[Array, "..."]) -> Shaped[Array, "B"]:
    """How many values of every row count: a sum of integers, exact and the same in every order."""
    return jnp.sum(on, axis=1) if on.ndim == 2 else on.astype(jnp.int32)


def _rows(on: Shaped[Array, "..."]) -> Shaped[Array, ""]:
    return jnp.sum(_tokens(on) > 0)


def _at_least_one(number: Shaped[Array, "..."]) -> Float[Array, "..."]:
    return floating(jnp.maximum(number, 1))
