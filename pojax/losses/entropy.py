"""Entropy of the policy as a term of the loss."""

from jaxtyping import Array, ArrayLike, Float

from pojax.checks import checked
from pojax.numerics import floating

__all__ = ["entropy_bonus"]


@checked()
def entropy_bonus(entropy: Float[ArrayLike, "B T"]) -> Float[Array, "B T"]:
    """Negative entropy of the policy's next-token distribution, in nats: -H_bt; minimising it with a positive scale keeps exploring.

    Source: Williams and Peng 1991, "Function optimization using connectionist reinforcement learning"; A3C, arXiv 1602.01783, section 4.
    """
    return -floating(entropy)
