"""Advantages divided by the density of a Beta law fitted to the success rates of the batch (BNPO)."""

from functools import reduce
from operator import add

import jax
import jax.numpy as jnp
from jax.scipy.special import gammaln
from jaxtyping import Array, ArrayLike, Float, Int, Shaped

from pojax.annotations import Hyper
from pojax.checks import check_range, checked
from pojax.groups import group_mean, group_size, inside
from pojax.numerics import floating, per_row
from pojax.rewards.combination import select_components

__all__ = ["beta_normalize", "beta_normalize_each", "fit_beta"]

LARGEST_WEIGHT = 1e6  # of the released code: keeps 1 / density finite at success rates near 0 and 1


@checked()
def beta_normalize(
    rewards: Float[ArrayLike, "B"], groups: Int[ArrayLike, "B"], *, low: Hyper = 0.0, high: Hyper = 1.0
) -> Float[Array, "B"]:
    """Centred reward over the density of a Beta law: A_b = (x_b - p_g) / Beta(p_g; alpha, beta).

    x = (r - low) / (high - low) and p_g = mean_g x is the group's success rate.
    alpha and beta are fitted to the success rates p of this batch's groups (`fit_beta`), so nothing is carried between batches.
    low, high: the least and the largest possible reward. The weight 1 / density is capped at 1e6.
    Zero for rows that are out and where p is 0 or 1 (all rewards are equal then). A group of one has p = 0, weight 1 and no part in
    the fit, so that a batch of such groups is REINFORCE without a baseline, as in the released code.
    Raises ValueError where a concrete reward is outside [low, high], or low is not below high.
    Source: BNPO, arXiv 2506.02864, sections 4.2 and 4.3, and its released code (the clamps of alpha, beta and the weight).
    """
    is_in, alone = inside(groups), group_size(groups) == 1.0
    low, high = per_row(low, 1), per_row(high, 1)
    width = high - low
    check_range("beta_normalize", "high - low", width, "(0, inf)")
    x = jnp.where(is_in, (floating(rewards) - low) / width, 0.0)
    check_range("beta_normalize", "a reward, rescaled by low and high,", jnp.round(x, 6), "[0, 1]")  # a division may round to 1.0000001
    p = jnp.where(alone, 0.0, group_mean(x, groups))
    alpha, beta = fit_beta(p, jnp.where(alone, -1, jnp.asarray(groups)))
    interior = (p > 0.0) & (p < 1.0)
    q = jnp.where(interior, p, 0.5)  # double where: log(0) * 0 is NaN
    log_beta = gammaln(alpha) + gammaln(beta) - gammaln(alpha + beta)  # betaln is off by 5e-8 in float64
    log_density = (alpha - 1.0) * jnp.log(q) + (beta - 1.0) * jnp.log1p(-q) - log_beta
    weight = jnp.exp(jnp.minimum(-log_density, jnp.log(LARGEST_WEIGHT)))
    return jnp.where(is_in, jnp.where(interior, weight, jnp.where(alone, 1.0, 0.0)) * (x - p), 0.0)


@checked()
def beta_normalize_each(
    components: dict[str, Shaped[ArrayLike, "B"]], groups: Int[ArrayLike, "B"], *, weights: dict[str, Hyper]
) -> Float[Array, "B"]:
    """Advantage decomposition: the mean over K rewards of the advantage of each, A_b = 1/K * sum_k weight_k * A_bk, A_k = `beta_normalize`.

    weights: names the K components, each with values in [0, 1]; the paper's plain average is weight 1 for each.
    Raises ValueError where weights is empty or names a component that is not there, and as `beta_normalize`.
    Source: BNPO, arXiv 2506.02864, section 4.4.
    """
    selected = select_components("beta_normalize_each", components, weights)
    return reduce(add, (weight * beta_normalize(component, groups) for component, weight in selected)) / len(selected)


@checked()
def fit_beta(p: Float[ArrayLike, "B"], groups: Int[ArrayLike, "B"]) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Parameters of the normalising Beta law: alpha = max(1, 1 + a / 3), beta = max(1, 1 + b / 3), for a Beta(a, b) law of success rates.

    a = c m, b = c (1 - m), c = m (1 - m) / v - 1, with mean m and variance v (ddof 1) of p over the groups, each counted once.
    p: a group's success rate at each of its rows. Both are 1 (a flat density) where fewer than two groups are in, or all rates are equal.
    Constants of the gradient.
    Source: BNPO, arXiv 2506.02864, section 4.2 (minimal variance) with the clamp at 1 of the released code.
    """
    p = jax.lax.stop_gradient(floating(p))
    share = jnp.where(inside(groups), 1.0 / jnp.maximum(group_size(groups), 1.0), 0.0)  # every group weighs 1
    number = jnp.sum(share)
    m = jnp.sum(share * jnp.where(share > 0.0, p, 0.0)) / jnp.maximum(number, 1.0)
    v = jnp.sum(share * jnp.where(share > 0.0, p - m, 0.0) ** 2) / jnp.maximum(number - 1.0, 1.0)
    # Rounding of equal rates gives a tiny variance, hence a law so sharp that its density overflows.
    flat = v <= (4.0 * jnp.finfo(p.dtype).eps) ** 2
    c = jnp.where(flat, 0.0, m * (1.0 - m) / jnp.where(flat, 1.0, v) - 1.0)
    return jnp.maximum(1.0, 1.0 + c * m / 3.0), jnp.maximum(1.0, 1.0 + c * (1.0 - m) / 3.0)
