"""Losses over lists of responses: linear in each row's log-likelihood, with slopes that a per-minibatch rule found for the whole list."""

from jaxtyping import Array, ArrayLike, Float

from pojax.annotations import Mask
from pojax.checks import checked
from pojax.numerics import counts, floating
from pojax.reductions import row_sum, straight_through

__all__ = ["listwise_likelihood"]


@checked()
def listwise_likelihood(
    logprobs: Float[ArrayLike, "B T"], mask: Mask, list_value: Float[ArrayLike, "B"], list_slope: Float[ArrayLike, "B"]
) -> Float[Array, "B"]:
    """A row's share of a listwise loss: the value list_value_b with the gradient of list_slope_b * sum_t mask logprob.

    The slopes are the exact derivative of the list's loss at the current policy (`listwise_slopes`), so that the gradient is that of the
    coupled loss while rows stay independent here: micro-batches cannot change it. Add up with aggregate="token_sum".
    Source: HAEPO, arXiv 2508.18884; the chain rule.
    """
    slope = floating(list_slope)
    used = counts(mask) & (slope != 0.0)[:, None]  # a row that is in no list has slope 0 and may hold anything
    return straight_through(floating(list_value), slope * row_sum(logprobs, used))
