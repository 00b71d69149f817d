"""Where segments of a response begin: functions for the `boundaries` of an arrangement, [n, T] bool, True at the first token of one.

A response's first token always begins a segment, whatever they say of it, and a token that the policy did not choose never does.
"""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Bool, Float, Int

from pojax.annotations import Hyper, Mask
from pojax.checks import check_range
from pojax.numerics import counts, masked


def every(mask: Mask, *, tokens: int) -> Bool[Array, "B T"]:
    """A segment every `tokens` tokens that the policy chose.

    Raises ValueError for tokens < 1. Source: Segment Policy Optimization, arXiv 2505.23564, section 3.1 (fixed token count).
    """
    if tokens < 1:
        raise ValueError(f"every: tokens is {tokens}, allowed: 1 or more")
    on = counts(mask)
    return on & ((jnp.cumsum(on, axis=1) - 1) % tokens == 0)


def low_probability(old_logprobs: Float[ArrayLike, "B T"], mask: Mask, *, threshold: Hyper = 0.9, interval: int = 5) -> Bool[Array, "B T"]:
    """A segment begins at the first token that the policy was not sure of, p_t < threshold, and at every interval-th such token after it.

    So every segment but the first and the last holds `interval` of these tokens.
    Raises ValueError for interval < 1 and for a threshold outside [0, 1].
    Source: Segment Policy Optimization, arXiv 2505.23564, section 3.1 (cut points), and its released code.
    """
    check_range("low_probability", "threshold", threshold, "[0, 1]")
    if interval < 1:
        raise ValueError(f"low_probability: interval is {interval}, allowed: 1 or more")
    on = counts(mask)
    low = on & (jnp.exp(masked(old_logprobs, on)) < threshold)
    return low & ((jnp.cumsum(low, axis=1) - 1) % interval == 0)


def after_token(tokens: Int[ArrayLike, "B T"], mask: Mask, encode: Callable[[str], list[int]], *, token: int | str) -> Bool[Array, "B T"]:
    """A segment begins after every `token` (an id, or a text of one token): the steps of a worked solution.

    Raises ValueError for a text that is not one token. Source: VinePPO, arXiv 2410.01679, section 4 (reasoning steps).
    """
    ids = encode(token) if isinstance(token, str) else [token]
    if len(ids) != 1:
        raise ValueError(f"after_token: token is {token!r}, which is {len(ids)} tokens; allowed: an id or a text of one token")
    on = counts(mask)
    closes = on & (jnp.asarray(tokens) == ids[0])
    return on & jnp.pad(closes[:, :-1], ((0, 0), (1, 0)))


def segment_starts(boundaries: Callable[..., Any], rollout: Any) -> Bool[Array, "B T"]:
    """What `boundaries` says of a rollout, with the first token that the policy chose."""
    on = counts(rollout.mask)
    begins = jnp.asarray(boundaries(**{name: value for name, value in rollout.fields().items() if name in GIVEN}), bool)
    if begins.shape != on.shape:
        raise ValueError(f"boundaries: found an array of shape {list(begins.shape)}, allowed: [B, T] = {list(on.shape)}")
    return on & (begins | (jnp.cumsum(on, axis=1) == 1))


GIVEN = ("tokens", "mask", "old_logprobs", "old_entropy", "prompt_tokens", "prompt_mask", "lengths")  # what boundaries may read
