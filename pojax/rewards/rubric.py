"""Rewards made of rubric items that somebody scores with a confidence."""

from functools import reduce
from operator import add

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Int, Shaped

from pojax.annotations import Hyper, Mask
from pojax.checks import checked
from pojax.groups import group_mean, inside, whole_batch
from pojax.numerics import floating
from pojax.reductions import row_mean
from pojax.rewards.combination import select_components

__all__ = ["confidence_weighted_rubric", "mean_probability"]

SUFFIX = "_confidence"


@checked(confidences="[0, inf)", over="{group, batch}")
def confidence_weighted_rubric(
    components: dict[str, Shaped[ArrayLike, "B"]],
    groups: Int[ArrayLike, "B"],
    *,
    weights: dict[str, Hyper],
    confidences: dict[str, Hyper],
    over: str = "group",
) -> Float[Array, "B"]:
    """Mean of rubric scores, items that the critic is unsure of counting less: r_b = sum_k w_k c_k s_bk / sum_k w_k c_k, c_k = mean_g c_bk.

    weights: names the items and their weights w. confidences: names the components with confidences, each called as its item with
    "_confidence" behind it; its number stands in where a row's confidence is NaN. An item without one has confidence 1 (a plain checker).
    Where all confidences are 0, so that the divisor is 0, the weights alone count: sum_k w_k s_bk / sum_k w_k. One item gives its score.
    over: "group" or "batch", whose mean confidence counts. The division by the sum, and "group", are assumed: the paper leaves both open.
    Zero for rows that are out.
    Raises ValueError where weights or confidences names a component that is not there, where a confidence belongs to no item,
    and for another over.
    Source: GRAPE, "Understanding RL for Model Training", arXiv 2509.04501, confidence-weighted rubric reward.
    """
    items, is_in = select_components("confidence_weighted_rubric", components, weights), inside(groups)
    given = {}
    for (confidence, fallback), name in zip(
        select_components("confidence_weighted_rubric", components, confidences), sorted(confidences), strict=True
    ):
        item = name.removesuffix(SUFFIX)
        if item == name or item not in weights:
            raise ValueError(f"confidence_weighted_rubric: confidences names {name!r}, allowed: {sorted(k + SUFFIX for k in weights)}")
        present = is_in & ~jnp.isnan(confidence)
        filled = jnp.where(present, confidence, floating(fallback))
        given[item] = group_mean(filled, groups if over == "group" else whole_batch(groups))
    trust = [weight * given.get(name, jnp.ones(())) for name, (_, weight) in zip(sorted(weights), items, strict=True)]
    divisor = reduce(add, trust)
    unsure = divisor == 0.0
    parts = [jnp.where(unsure, weight, share) * jnp.where(is_in, score, 0.0) for (score, weight), share in zip(items, trust, strict=True)]
    plain = reduce(add, (floating(weight) for _, weight in items))
    divisor = jnp.where(unsure, plain, divisor)
    return jnp.where(is_in, reduce(add, parts) / jnp.where(divisor == 0.0, 1.0, divisor), 0.0)


@checked()
def mean_probability(old_logprobs: Float[ArrayLike, "B T"], mask: Mask) -> Float[Array, "B"]:
    """How sure the sampling policy was of its own response: exp(mean_t old_logprob), the geometric mean of its token probabilities.

    1 for a response without tokens. A stand-in for a critic's confidence where there is no critic: writes="correct_confidence".
    Source: sequence likelihood normalised by length, Uncertainty Estimation in Autoregressive Structured Prediction, arXiv 2002.07650.
    """
    return jnp.exp(row_mean(old_logprobs, mask))
