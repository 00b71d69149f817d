"""Likelihood of given responses."""

from jaxtyping import Array, ArrayLike, Float

from pojax.checks import checked
from pojax.numerics import floating

__all__ = ["negative_log_likelihood"]


@checked()
def negative_log_likelihood(logprobs: Float[ArrayLike, "B T"]) -> Float[Array, "B T"]:
    """Negative log-likelihood of every token in nats: -logprob. The loss of supervised fine-tuning, on response tokens only.

    Source: maximum likelihood; as the supervised stage in InstructGPT, arXiv 2203.02155.
    """
    return -floating(logprobs)
