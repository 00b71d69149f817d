"""Filters: which tokens the losses keep. They read `keep` and only clear it; a cleared token is counted by no divisor."""

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Int, Shaped

from pojax.advantages.sets import identical_responses
from pojax.annotations import Hyper, Mask, writes
from pojax.checks import checked
from pojax.groups import all_equal, inside
from pojax.numerics import counts, floating, masked, per_row

__all__ = ["drop_duplicates", "drop_failures", "drop_truncated", "drop_uniform_groups", "drop_without_credit"]


@writes("keep")
@checked()
def drop_duplicates(keep: Mask, tokens: Int[ArrayLike, "B T"], mask: Mask, groups: Int[ArrayLike, "B"]) -> Float[Array, "B T"]:
    """Clear every response that its group already has: keep_bt where no earlier kept row of the group has the same masked tokens, else 0.

    Rows in which nothing is kept are no one's duplicate and stay as they are; so do rows that are out.
    Source: rejection sampling fine-tuning, arXiv 2308.01825 (distinct reasoning paths; here distinct token sequences).
    """
    used = jnp.any(counts(keep), axis=1) & inside(groups)
    first = identical_responses(tokens, mask, jnp.where(used, jnp.asarray(groups), -1))
    return masked(keep, (~used | (first == jnp.arange(first.shape[0])))[:, None])


@writes("keep")
@checked()
def drop_failures(keep: Mask, correct: Shaped[ArrayLike, "B"], *, threshold: Hyper = 1.0) -> Float[Array, "B T"]:
    """Clear the responses that are not right: keep_bt where correct_b >= threshold, else 0; rejection sampling.

    correct: a component or the rewards (correct="rewards"). A cleared row leaves the divisor of the loss, so that with
    `negative_log_likelihood` the loss is the likelihood of the right rows, over their own tokens.
    Source: rejection sampling fine-tuning (RFT), arXiv 2308.01825, section 2.3.
    """
    return masked(keep, (floating(correct) >= per_row(threshold, 1))[:, None])


@writes("keep")
@checked()
def drop_truncated(keep: Mask, truncated: Shaped[ArrayLike, "B"]) -> Float[Array, "B T"]:
    """Clear the rows that hit the length limit: keep_bt * (1 - truncated_b).

    Source: DAPO, arXiv 2503.14476, section 3.4 (overlong filtering).
    """
    return masked(keep, ~counts(truncated)[:, None])


@writes("keep")
@checked()
def drop_uniform_groups(keep: Mask, rewards: Float[ArrayLike, "B"], groups: Int[ArrayLike, "B"]) -> Float[Array, "B T"]:
    """Clear the groups that teach nothing: keep_bt where the rewards of row b's group are not all equal, else 0.

    Clears groups of one and rows that are out as well. Rename rewards (rewards="correct") to filter by a component.
    Source: DAPO, arXiv 2503.14476, eq. (11): 0 < number correct < G, applied to the batch at hand.
    """
    return masked(keep, ~all_equal(jnp.asarray(rewards), groups)[:, None])


@writes("keep")
@checked()
def drop_without_credit(keep: Mask, advantages: Float[ArrayLike, "B"] | Float[ArrayLike, "B T"]) -> Float[Array, "B T"]:
    """Clear the tokens whose advantage is exactly 0, so that the mean of the loss is taken over those that teach something.

    Source: Segment Policy Optimization, arXiv 2505.23564, section 3.2 (edges without advantage are dropped).
    """
    kept = masked(keep, keep)
    credit = per_row(floating(advantages), 2)
    return jnp.where(credit != 0.0, kept, 0.0)
