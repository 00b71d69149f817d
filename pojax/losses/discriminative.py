"""Losses that tell right answers of a group from wrong ones. A group's loss stands at each of its rows, so `group_mean` averages groups."""

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Bool, Float, Int, Shaped

from pojax.annotations import Hyper, Mask
from pojax.checks import checked
from pojax.groups import group_log_mean_exp, group_sum, inside
from pojax.losses.ratios import token_ratio
from pojax.numerics import counts, log_ratio, masked, per_row
from pojax.reductions import per_response, row_count, row_mean

__all__ = ["disco", "real"]


@checked(tau="(0, inf)", score="{logL, Lratio}", form="{disco, disco_b}")
def disco(
    logprobs: Float[ArrayLike, "B T"],
    old_logprobs: Float[ArrayLike, "B T"],
    correct: Shaped[ArrayLike, "B"],
    groups: Int[ArrayLike, "B"],
    mask: Mask,
    *,
    tau: Hyper = 10.0,
    score: str = "logL",
    form: str = "disco",
) -> Float[Array, "B"]:
    """Scores of right answers above the soft maximum of those of wrong ones: -(mean_pos s - tau log mean_neg exp(s / tau)), of the group.

    score s of a response: "logL" mean over its tokens of logprob, "Lratio" mean of exp(logprob - old), the exponent in [-20, 20].
    form "disco_b": -(mean_pos s - mean_neg s), which tau tends to at infinity. tau: 10 for logL and 1 for Lratio in the paper.
    The loss of a group stands at each of its rows; aggregate "group_mean" is the paper's mean over questions. A group without both classes
    has loss 0 and stays in that mean; a row without tokens is in no class; rows that are out get 0.
    The paper constrains the divergence from the old policy: `kl_hinge` and a term k1(old, current).
    Released code: its soft maximum has the right gradient but the value tau per group, so that logged losses mean nothing.
    Raises ValueError for tau not above 0, another score or form.
    Source: DisCO, Discriminative Constrained Optimization, arXiv 2505.12366, and its released code.
    """
    on = counts(mask) & inside(groups)[:, None]
    logprobs = masked(logprobs, on)
    each = logprobs if score == "logL" else token_ratio(logprobs, masked(old_logprobs, on))
    scores, right = row_mean(each, on), counts(correct)
    used = row_count(on) > 0.0
    positive, negative = used & right, used & ~right
    both = _both(positive, negative, groups)
    above = _mean(scores, positive, groups)
    tau = per_row(tau, 1)
    below = tau * group_log_mean_exp(scores / tau, groups, negative) if form == "disco" else _mean(scores, negative, groups)
    return jnp.where(both, below - above, 0.0)


@checked(tau="(0, inf)")
def real(
    logprobs: Float[ArrayLike, "B T"],
    old_logprobs: Float[ArrayLike, "B T"],
    advantages: Float[ArrayLike, "B"] | Float[ArrayLike, "B T"],
    groups: Int[ArrayLike, "B"],
    mask: Mask,
    *,
    tau: Hyper = 0.5,
) -> Float[Array, "B"]:
    """Rewards as labels of a classifier: log(1 + sum_pos exp(-s / tau)) + log(1 + sum_neg exp(s / tau)), of the group.

    s = mean over the response's tokens of logprob - old, each in [-20, 20]; positive: advantage above 0, so reward above the mean.
    The gradient of a response has at most the weight 1 / tau. tau: temperature of the classifier, in nats.
    The loss of a group stands at each of its rows; aggregate "group_mean" is the mean over all groups. A group with one class has loss 0;
    rows that are out get 0. A row without tokens is in no class; released code counts it as a negative with s = 0.
    Raises ValueError for tau not above 0.
    Source: REAL, Rewards as Labels, arXiv 2602.05630, and the form in ms-swift.
    """
    on = counts(mask) & inside(groups)[:, None]
    tau = per_row(tau, 1)
    logits = row_mean(log_ratio(logprobs, old_logprobs), on) / tau
    used, label = row_count(on) > 0.0, per_response(advantages, on) > 0.0
    positive, negative = used & label, used & ~label
    loss = _softplus_of_sum(-logits, positive, groups) + _softplus_of_sum(logits, negative, groups)
    return jnp.where(_both(positive, negative, groups), loss, 0.0)


def _both(positive: Bool[Array, "B"], negative: Bool[Array, "B"], groups: Int[ArrayLike, "B"]) -> Bool[Array, "B"]:
    return (group_sum(positive, groups) > 0.0) & (group_sum(negative, groups) > 0.0)


def _mean(x: Float[Array, "B"], selected: Bool[Array, "B"], groups: Int[ArrayLike, "B"]) -> Float[Array, "B"]:
    """Mean over the selected rows of the group, at each of its rows."""
    return group_sum(jnp.where(selected, x, 0.0), groups) / jnp.maximum(group_sum(selected, groups), 1.0)


def _softplus_of_sum(x: Float[Array, "B"], selected: Bool[Array, "B"], groups: Int[ArrayLike, "B"]) -> Float[Array, "B"]:
    """log(1 + sum over the selected rows of exp(x)), which never overflows."""
    number = group_sum(selected, groups)
    total = group_log_mean_exp(x, groups, selected) + jnp.log(jnp.maximum(number, 1.0))
    return jnp.where(number > 0.0, jnp.logaddexp(0.0, total), 0.0)
