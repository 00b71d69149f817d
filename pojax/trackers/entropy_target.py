"""A temperature that holds the entropy of the policy at a target."""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Bool, Float, Int, Shaped

from pojax.annotations import Hyper, Mask
from pojax.checks import checked
from pojax.groups import inside
from pojax.numerics import counts
from pojax.reductions import masked_mean, one_number
from pojax.trackers.tracker import Tracker

__all__ = ["EntropyTarget", "entropy_target"]


class EntropyTarget(NamedTuple):
    """Entropy of the last batch in nats per token, the temperature that follows from it, and whether it is above the target."""

    entropy: Float[Array, ""]
    temperature: Float[Array, ""]
    above: Bool[Array, ""]


@checked(target="[0, inf)", low="[0, inf)", high="[0, inf)")
def init_entropy_target(*, target: Hyper = 0.75, low: Hyper = 0.8, high: Hyper = 1.2) -> EntropyTarget:
    """Entropy 0, so that the first iteration has the high temperature. Source: AEPO, arXiv 2510.08141, and its released code."""
    return _state(jnp.zeros(()), target, low, high)


@checked(target="[0, inf)", low="[0, inf)", high="[0, inf)")
def update_entropy_target(
    table: EntropyTarget,
    old_logprobs: Float[ArrayLike, "B T"],
    mask: Mask,
    groups: Int[ArrayLike, "B"],
    retempered: Shaped[ArrayLike, "B"] | None = None,
    *,
    target: Hyper = 0.75,
    low: Hyper = 0.8,
    high: Hyper = 1.2,
) -> EntropyTarget:
    """The batch's entropy H = -mean over tokens of old_logprobs, replacing the last one; temperature high where H < target, else low.

    Rows that are out and retempered rows have no part: the estimate is that of the policy's own samples. A batch without a token
    leaves the table as it is. target: in nats per token.
    Source: AEPO, arXiv 2510.08141 (target 0.25 to 1, 0.75 best), and its released code.
    """
    on = counts(mask) & inside(groups)[:, None]
    if retempered is not None:
        on &= ~counts(retempered)[:, None]
    new = _state(-masked_mean(old_logprobs, on), target, low, high)
    some = jnp.any(on)
    return EntropyTarget(*(jnp.where(some, a, b.astype(a.dtype)) for a, b in zip(new, table, strict=True)))


def _state(entropy: Float[Array, ""], target: Hyper, low: Hyper, high: Hyper) -> EntropyTarget:
    target, low, high = (one_number(x) for x in (target, low, high))
    return EntropyTarget(entropy.astype(target.dtype), jnp.where(entropy < target, high, low), entropy > target)


# AEPO: rollouts=("retempered", dict(inner=("independent", {}), temperature="entropy_control.temperature")),
#   trackers=dict(entropy_control=("entropy_target", {}))
entropy_target = Tracker(init_entropy_target, update_entropy_target)
