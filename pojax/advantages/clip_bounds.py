"""Clip bounds searched once per optimiser batch: `per_minibatch` rules whose results a loss takes as its epsilons."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from pojax.annotations import Hyper, Mask, writes
from pojax.checks import checked
from pojax.losses.ratios import token_ratio
from pojax.numerics import counts, floating, masked, per_row
from pojax.reductions import one_number

__all__ = ["bapo_bounds"]


@writes("epsilon_low", "epsilon_high")
@checked(
    low="[0, 1]", low_end="[0, 1]", low_steps="[0, inf)", high="[1, inf)", high_end="[1, inf)", high_steps="[0, inf)", target="[0, inf)",
    order="{high_first, low_first}", measure="{share, quotient}",
)  # fmt: skip
def bapo_bounds(
    logprobs: Float[ArrayLike, "B T"],
    old_logprobs: Float[ArrayLike, "B T"],
    advantages: Float[ArrayLike, "B"] | Float[ArrayLike, "B T"],
    keep: Mask,
    *,
    low: Hyper = 0.6,
    low_end: Hyper = 0.9,
    low_steps: int = 15,
    high: Hyper = 1.2,
    high_end: Hyper = 3.0,
    high_steps: int = 36,
    target: Hyper = 0.4,
    order: str = "high_first",
    measure: str = "share",
    weighted: bool = True,
) -> tuple[Float[Array, "B"], Float[Array, "B"]]:
    """Clip bounds at which positive tokens reach a share of the loss: the first pair on a path of bounds whose measure is at least target.

    pos = sum over A >= 0 of w min(r, c_high) A, neg = sum over A < 0 of w max(r, c_low) |A|, over the tokens of `keep` in the batch.
    The bounds c_low, c_high on the ratio start at low, high. Order "high_first" raises c_high in high_steps equal steps to high_end, and
    only then c_low in low_steps to low_end; "low_first" the other way round. The last pair is taken where none reaches the target.
    measure: "share" is pos / (pos + neg), "quotient" is pos / (neg + 1e-8). weighted: w is the probability exp(old_logprob), else 1.
    Values: epsilon_low = 1 - c_low and epsilon_high = c_high - 1, one number for the batch at every row, for `ppo_clip`.
    Without a negative token the start is kept; without a positive one both bounds run to their ends; 0 steps leave a bound alone.
    Steps: the paper's 0.05 and 0.02. Released code: order="low_first", measure="quotient", weighted=False, there with target 1 or 0.5
    (quotient 1 is share 1/2). Raising c_low only adds to neg, so that loop never reaches the target by itself. Exact: both sums depend on
    one bound each, so low_steps + high_steps + 2 of them give every pair.
    Raises ValueError for bounds out of order around 1, negative steps, or another order or measure.
    Source: BAPO, arXiv 2510.18927, algorithm 1, and its released code.
    """
    on = counts(keep)
    advantages = masked(per_row(floating(advantages), 2), on)
    ratio = token_ratio(masked(logprobs, on), masked(old_logprobs, on))
    weight = jnp.abs(advantages) * (jnp.exp(masked(old_logprobs, on)) if weighted else 1.0)
    gain, loss = jnp.where(advantages >= 0.0, weight, 0.0), jnp.where(advantages < 0.0, weight, 0.0)
    lows, highs = _grid(low, low_end, low_steps), _grid(high, high_end, high_steps)
    pos = jax.vmap(lambda bound: jnp.sum(gain * jnp.minimum(ratio, bound)))(highs)
    neg = jax.vmap(lambda bound: jnp.sum(loss * jnp.maximum(ratio, bound)))(lows)

    stay, up = np.zeros(1, int), (np.arange(low_steps) + 1, np.arange(high_steps) + 1)
    if order == "high_first":
        i, j = np.concatenate([stay, 0 * up[1], up[0]]), np.concatenate([stay, up[1], 0 * up[0] + high_steps])
    else:
        i, j = np.concatenate([stay, up[0], 0 * up[1] + low_steps]), np.concatenate([stay, 0 * up[0], up[1]])
    pos, neg = pos[j], neg[i]
    some = neg > 0.0
    reached = pos / jnp.where(some, pos + neg if measure == "share" else neg + 1e-8, 1.0) >= one_number(target)
    reached = reached | ~some
    chosen = jnp.where(jnp.any(reached), jnp.argmax(reached), i.size - 1)
    rows = ratio.shape[:1]
    return jnp.broadcast_to(1.0 - lows[i][chosen], rows), jnp.broadcast_to(highs[j][chosen] - 1.0, rows)


def _grid(start: Hyper, end: Hyper, steps: int) -> Float[Array, "n"]:
    """start, ..., end in equal steps; start alone where there are none."""
    start, end = one_number(start), one_number(end)
    return start + (end - start) * jnp.arange(steps + 1) / max(steps, 1)
