"""Rewards minus a divergence of occupancies that a discriminator estimates."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Int

from pojax.annotations import Hyper
from pojax.checks import checked
from pojax.groups import inside
from pojax.numerics import floating, masked, per_row

__all__ = ["occupancy_penalty"]


@checked(coefficient="[0, inf)", clip="(0, inf]", trim="[0, 0.5)", distance="{kl, chi2, sqrt_chi2}", form="{paper, code}")
def occupancy_penalty(
    rewards: Float[ArrayLike, "B"],
    scores: Float[ArrayLike, "B"],
    groups: Int[ArrayLike, "B"],
    *,
    coefficient: Hyper,
    clip: Hyper = float("inf"),
    trim: Hyper = 0.01,
    distance: str = "sqrt_chi2",
    form: str = "paper",
) -> Float[Array, "B"]:
    """Reward minus coefficient * distance of the row's score d: kl d, chi2 exp(d) - 1, sqrt_chi2 (exp(d) - 1) / sqrt(m).

    scores: d = log of (occupancy of the current policy / of the base policy), from a discriminator (`occupancy_discriminator`).
    m: mean of exp(d) - 1 over the rows that are in without the share `trim` at either end; where m is not above 0 nothing is divided.
    A distance that is not finite is 0; it is clipped to [-clip, clip]. coefficient is in units of reward.
    form "code": with fewer than 1 / trim rows released code takes the mean of nothing, and the distance is plain chi2; "paper" takes the
    mean of all. d = 0 has no penalty. Rows that are out get 0. Raises ValueError for values outside the ranges above.
    Source: Correlated Proxies (ORPO), arXiv 2403.03185, and its released code.
    """
    is_in = inside(groups)
    d = jnp.where(is_in, jax.lax.stop_gradient(floating(scores)), 0.0)
    value = d if distance == "kl" else jnp.expm1(d)
    if distance == "sqrt_chi2":
        mean = _trimmed_mean(value, is_in, trim, empty=form == "code")
        value = jnp.where(mean > 0.0, value / jnp.sqrt(jnp.where(mean > 0.0, mean, 1.0)), value)
    bound = per_row(clip, 1)
    value = jnp.clip(jnp.where(jnp.isfinite(value), value, 0.0), -bound, bound)
    return masked(rewards, is_in) - jnp.where(is_in, per_row(coefficient, 1) * value, 0.0)


def _trimmed_mean(x: Float[Array, "B"], is_in: Array, trim: Hyper, *, empty: bool) -> Float[Array, "..."]:
    """Mean of what is left in the middle of the rows that are in; where nothing is cut, of all of them, or (empty) 0."""
    number = jnp.sum(is_in)
    cut = jnp.floor(number * per_row(trim, 1) + 1e-6)[..., None]  # 100 * 0.01 is 1 in every precision
    at = jnp.arange(x.shape[0])
    middle = (at >= cut) & (at < number - cut)
    total = jnp.sum(jnp.where(middle, jnp.sort(jnp.where(is_in, x, jnp.inf)), 0.0), axis=-1)
    mean = total / jnp.maximum(jnp.sum(middle, axis=-1), 1)
    return jnp.where(cut[..., 0] == 0.0, 0.0, mean) if empty else mean
