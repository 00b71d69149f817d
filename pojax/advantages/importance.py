"""Corrections for tokens that another distribution sampled than the one whose gradient is taken.

All weights are constants of the gradient. They multiply the loss after clipping: name them as scale="importance" of the term.
start_logprobs: of the learner; `start_logprobs="old_logprobs"` saves the forward pass where sampler and learner share their numbers, and
`start_logprobs="logprobs"` in `per_minibatch` gives weights of the current policy. What the sampler could not score (NaN) has log-weight 0
and is left out of the statistics of its row (assumed; released code does not say).
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Int

from pojax.annotations import Hyper, Mask, writes
from pojax.checks import checked
from pojax.groups import inside
from pojax.numerics import LARGEST_LOG_RATIO, counts, floating, masked, per_row
from pojax.reductions import masked_mean, row_mean, row_sum

__all__ = ["log_weights", "masked_importance", "normalized_importance", "truncated_importance"]

LEVELS = "{token, sequence, geometric}"


@checked(level=LEVELS)
def log_weights(
    start_logprobs: Float[ArrayLike, "B T"], rollout_logprobs: Float[ArrayLike, "B T"], mask: Mask, *, level: str = "token"
) -> Float[Array, "B T"]:
    """Log of the importance weight of the learner against the sampler at every token: l = start - rollout, clamped to [-20, 20].

    level "token": of the token by itself; "sequence": sum_t mask l of its row; "geometric": the mean over the row's masked tokens. The
    latter two stand at each token of the row; 0 where mask is 0. A constant of the gradient.
    Source: "When Speed Kills Stability: Demystifying RL Collapse from the Training-Inference Mismatch" (Li et al. 2025).
    """
    on, difference = counts(mask), floating(start_logprobs) - floating(rollout_logprobs)
    scored = on & ~jnp.isnan(difference)
    difference = masked(jax.lax.stop_gradient(difference), scored)
    if level != "token":
        rows = row_sum(difference, scored) if level == "sequence" else row_mean(difference, scored)
        difference = jnp.where(on, rows[:, None], 0.0)
    return jnp.clip(difference, -LARGEST_LOG_RATIO, LARGEST_LOG_RATIO)


@writes("importance")
@checked(cap="(0, inf]", level=LEVELS)
def truncated_importance(
    start_logprobs: Float[ArrayLike, "B T"],
    rollout_logprobs: Float[ArrayLike, "B T"],
    mask: Mask,
    *,
    cap: Hyper = 2.0,
    level: str = "token",
) -> Float[Array, "B T"]:
    """Truncated importance weight of the learner against the sampler: w = min(exp(start - rollout), cap), 0 where mask is 0.

    level "token": of every token by itself; "sequence": of the whole response, exp(sum_t mask (start - rollout)), at each of its tokens
    (a product of ratios, as in verl and TRL); "geometric": of its tokens' geometric mean, exp(mean_t (start - rollout)) (the sequence level
    of ms-swift and OpenRLHF). Log-ratios are clamped to [-20, 20]. A constant of the gradient.
    Multiplies the loss after clipping: name it as scale="importance" of the term.
    Raises ValueError for another level, or cap not above 0.
    Source: "Your Efficient RL Framework Secretly Brings You Off-Policy RL Training" (Yao et al. 2025); verl's rollout correction.
    """
    weight = jnp.exp(log_weights(start_logprobs, rollout_logprobs, mask, level=level))
    return jnp.where(counts(mask), jnp.minimum(weight, per_row(cap, 2)), 0.0)


@writes("importance")
@checked(low="[0, inf)", high="(0, inf]", level=LEVELS, decide=LEVELS)
def masked_importance(
    start_logprobs: Float[ArrayLike, "B T"],
    rollout_logprobs: Float[ArrayLike, "B T"],
    mask: Mask,
    *,
    low: Hyper = 0.5,
    high: Hyper = 5.0,
    level: str = "token",
    decide: str | None = None,
) -> Float[Array, "B T"]:
    """Masked importance weight of the learner against the sampler: w where low <= w <= high, else 0; 0 where mask is 0.

    IcePop is the token level; level "sequence" drops or keeps whole responses by the product of their ratios (masked importance sampling,
    MIS). level: of the weight, see `truncated_importance`. decide: level of the weight that is held against the bounds, by default the
    same; decide="geometric" with level="token" is the gate of ms-swift ("sequence_mask") and OpenRLHF ("seq-mask-tis"): the geometric mean
    decides for the row, and the rows that stay keep the weights of their tokens.
    What is dropped has weight 0 and still counts in the aggregation's divisor; `reject_divergent` takes it out of that too.
    Log-ratios are clamped to [-20, 20]. A constant of the gradient. Raises ValueError for another level and for bounds out of range.
    Source: IcePop, Ring-1T, arXiv 2510.18855 (bounds 0.5 and 5); "When Speed Kills Stability" (Li et al. 2025); TRL, ms-swift, OpenRLHF.
    """
    weight = jnp.exp(log_weights(start_logprobs, rollout_logprobs, mask, level=level))
    judged = weight if decide in (None, level) else jnp.exp(log_weights(start_logprobs, rollout_logprobs, mask, level=decide or level))
    within = (judged >= per_row(low, 2)) & (judged <= per_row(high, 2))
    return jnp.where(counts(mask) & within, weight, 0.0)


@writes("importance")
@checked(level="{token, row}")
def normalized_importance(
    importance: Float[ArrayLike, "B T"], mask: Mask, groups: Int[ArrayLike, "B"], *, level: str = "token"
) -> Float[Array, "B T"]:
    """Importance weights over their batch mean: w / mean(w), so that they are 1 on average; all 0 stay 0.

    level "token": the mean over all masked tokens; "row": the mean over rows with a masked token of the row's mean, for weights of whole
    responses, which count once each. Rows that are out have no part in the mean and weight 0. A constant of the gradient.
    Source: verl's rollout correction ("batch normalize"), after "When Speed Kills Stability" (Li et al. 2025).
    """
    on = counts(mask) & inside(groups)[:, None]
    weight = masked(jax.lax.stop_gradient(floating(importance)), on)
    mean = masked_mean(weight, on) if level == "token" else masked_mean(row_mean(weight, on), jnp.any(on, axis=1))
    return weight / jnp.where(mean > 0.0, mean, 1.0)
