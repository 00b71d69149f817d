"""Tokens whose predicted move leaves a trust region."""

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Bool, Float

from pojax.annotations import Hyper, Mask, writes
from pojax.checks import checked
from pojax.numerics import counts, floating, masked, per_row

__all__ = ["curvature_trust"]


@writes("trust")
@checked(learning_rate="[0, inf)", objective_limit="(0, inf]", policy_limit="(0, inf]", form="{symmetric, asymmetric}")
def curvature_trust(
    gradient_gain: Float[ArrayLike, "B T"],
    gradient_curvature: Float[ArrayLike, "B T"],
    advantages: Float[ArrayLike, "B"] | Float[ArrayLike, "B T"],
    keep: Mask,
    *,
    learning_rate: Hyper,
    objective_limit: Hyper = 0.01,
    policy_limit: Hyper = 1e-4,
    form: str = "symmetric",
) -> Float[Array, "B T"]:
    """1 / (number of trusted tokens of the row) at trusted tokens, else 0; trusted: m_F < policy_limit and |m_H| < objective_limit.

    m_H = lr A^2 gain + lr^2 / 2 A^3 curvature, the predicted change of the token's objective by its own gradient step, and m_F = lr^2 / 2
    (A gain)^2, that of the policy; gain and curvature are the heads `gradient_gain` and `gradient_curvature`, learning_rate that of the
    prospective step. form "asymmetric": 0 <= m_H < objective_limit. Limits by default: CAPO; Dr. CAPO has 5e-4 and 1e-2.
    A per_minibatch rule: with scale="trust" and aggregate="sequence_mean_token_sum" the loss is the mean over rows of the mean over their
    trusted tokens; a row that has none counts with 0. A = 0 is trusted.
    Raises ValueError for a negative learning_rate, a limit not above 0 and another form.
    Source: CAPO, Curvature-Aware Policy Optimization, arXiv 2510.00819, and its released code.
    """
    on, lr = counts(keep), per_row(learning_rate, 2)
    a = masked(per_row(advantages, 2), on)
    gain, curvature = masked(gradient_gain, on), masked(gradient_curvature, on)
    m_h, m_f = lr * a**2 * gain + 0.5 * lr**2 * a**3 * curvature, 0.5 * (lr * a * gain) ** 2
    trusted = on & within_curvature(m_h, m_f, objective_limit=per_row(objective_limit, 2), policy_limit=per_row(policy_limit, 2), form=form)
    return floating(trusted) / jnp.maximum(jnp.sum(trusted, axis=1, keepdims=True), 1)


def within_curvature(
    m_h: Float[ArrayLike, "..."], m_f: Float[ArrayLike, "..."], *, objective_limit: Hyper, policy_limit: Hyper, form: str = "symmetric"
) -> Bool[Array, "..."]:
    """Whether predicted moves, of `curvature_statistics` with any direction, lie in the trust region of `curvature_trust`."""
    m_h, m_f = jnp.asarray(m_h), jnp.asarray(m_f)
    inside = jnp.abs(m_h) < objective_limit if form == "symmetric" else (m_h >= 0.0) & (m_h < objective_limit)
    return inside & (m_f < policy_limit)
