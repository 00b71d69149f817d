"""Reasoning steps as units of an average."""

from jaxtyping import Array, ArrayLike, Float, Int

from pojax.advantages.segments import label_changes
from pojax.annotations import Mask, writes
from pojax.checks import checked
from pojax.numerics import counts, floating

__all__ = ["step_starts"]


@writes("step_start")
@checked()
def step_starts(segment: Int[ArrayLike, "B T"], keep: Mask) -> Float[Array, "B T"]:
    """1 at the first kept token of every stretch of equal labels, else 0: as `where` of a term, one token stands for its step.

    Source: the mean over steps of Direct Advantage Policy Optimization, arXiv 2412.18279.
    """
    return floating(label_changes(segment, counts(keep)))
