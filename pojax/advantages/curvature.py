"""Tokens whose predicted move leaves a trust region."""

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from pojax.annotations import Hyper, Mask, writes
from pojax.checks import checked
from pojax.numerics import counts, floating, masked, per_row

__all__ = ["curvature_trust"]


@writes("trust")
@checked(objective_limit="(0, inf]", policy_limit="(0, inf]", form="{symmetric, asymmetric}")
def curvature_trust(
    objective_shift: Float[ArrayLike, "B T"],
    policy_shift: Float[ArrayLike, "B T"],
    keep: Mask,
    *,
    objective_limit: Hyper = 0.01,
    policy_limit: Hyper = 1e-4,
    form: str = "symmetric",
) -> Float[Array, "B T"]:
    """1 / (number of trusted tokens of the row) at trusted tokens, else 0; trusted: m_F < policy_limit and |m_H| < objective_limit.

    objective_shift, policy_shift: m_H and m_F, the heads of `pojax.losses.curvature`. form "asymmetric": 0 <= m_H < objective_limit.
    A per_minibatch rule: with scale="trust" and aggregate="sequence_mean_token_sum" the loss is the mean over rows of the mean over their
    trusted tokens; a row that has none counts with 0. Defaults: CAPO; Dr. CAPO has 5e-4 and 1e-2.
    Raises ValueError for a limit not above 0 and another form.
    Source: CAPO, Curvature-Aware Policy Optimization, arXiv 2510.00819, and its released code.
    """
    on = counts(keep)
    m_h, m_f = masked(objective_shift, on), masked(policy_shift, on)
    limit = per_row(objective_limit, 2)
    inside = jnp.abs(m_h) < limit if form == "symmetric" else (m_h >= 0.0) & (m_h < limit)
    trusted = on & inside & (m_f < per_row(policy_limit, 2))
    return floating(trusted) / jnp.maximum(jnp.sum(trusted, axis=1, keepdims=True), 1)
