"""Views of losses that couple the tokens of a response: ratios of whole responses, and regressions, whose advantage is the residual.

The coefficient is that of the row. n: tokens of the row; rho: sum over the row of log(pi / pi_old), or of log(pi / pi_ref).
"""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from pojax.numerics import counts, floating, masked
from pojax.reductions import row_mean
from pojax.unified_view.inputs import Inputs, View, column
from pojax.unified_view.tokens import BEYOND, negative_aware

Three = tuple[Any, Any, Any]


def _one_clip(a: Inputs, mean: bool) -> Three:
    rho = a.log_ratio_of_rows("old_logprobs")
    s = jnp.exp(rho / a.n if mean else rho)
    return a.on & a.unclipped(s, a.row_A), s, a.row_A


def _gspo(a: Inputs) -> Three:
    mask, s, A = _one_clip(a, mean=True)
    return mask, s / a.n, A


def _gmpo(a: Inputs) -> Three:
    sign = jnp.sign(a.A)
    bound = jnp.where(sign > 0.0, a.epsilon_high, a.epsilon)
    cut = sign * a.d > bound
    d = jnp.where(sign == 0.0, 0.0, jnp.where(cut, sign * bound, a.d))
    return a.on & ~cut & (sign != 0.0), jnp.exp(column(row_mean(d, a.on))) / a.n, a.row_A


def _taypo(a: Inputs) -> Three:
    credit = jnp.where(a.on, a.gamma ** jnp.maximum(jnp.cumsum(a.on, axis=1) - 1, 0) * a.A, 0.0)
    if a.order == 1:
        return a.on, a.r, credit
    excess = jnp.where(a.on, a.r - 1.0, 0.0)
    before, later = jnp.cumsum(excess, axis=1) - excess, credit * excess
    return a.on, a.r, credit * (1.0 + before) + jnp.cumsum(later[:, ::-1], axis=1)[:, ::-1] - later


def _a_star_po(a: Inputs) -> Three:
    return a.on, 1.0, 2.0 * a.beta * (column(a.rewards) - column(a.v_star) - a.beta * a.log_ratio_of_rows("ref_logprobs"))


def _first(a: Inputs, x: Any) -> Array:
    """What stands at the row's first token that counts."""
    return a.total(jnp.where(jnp.cumsum(counts(a.mask), axis=1) == 1, floating(x), 0.0))


def _dro_v(a: Inputs) -> Three:
    value = column(a.values) if jnp.ndim(a.values) == 1 else _first(a, a.values)
    return a.on, 1.0, a.tau * (column(a.rewards) - value - a.tau * a.log_ratio_of_rows("ref_logprobs"))


def _tbrm(a: Inputs) -> Three:
    value = _first(a, a.log_partition) - (0.0 if a.ref_log_partition is None else _first(a, a.ref_log_partition))
    return a.on, 1.0, -2.0 * (value + a.log_ratio_of_rows("ref_logprobs") - column(a.rewards) / a.beta)


def _step_regression(a: Inputs) -> Three:
    segment = jnp.asarray(a.segment)
    same = (segment[:, :, None] == segment[:, None, :]) & a.on[:, None, :]
    by_step = (jnp.sum(jnp.where(same, x[:, None, :], 0.0), axis=2) for x in (a.A, a.x - floating(a.ref_logprobs), floating(a.on)))
    credit, rho, n = by_step
    return a.on, 1.0, credit / a.beta - n * rho


def _response_divergence(a: Inputs) -> Three:
    up, down = (jnp.exp(jnp.minimum(sign * a.log_ratio_of_rows("ref_logprobs"), 10.0)) for sign in (1.0, -1.0))
    return a.on, 1.0, down - (up if a.form == "chi2" else 1.0)


def _trpa_unpaired(a: Inputs) -> Three:
    score = a.log_ratio_of_rows("ref_logprobs") / a.n
    best = column(a.levels) == 1.0
    return a.on, 1.0 / a.n, jnp.where(best, jax.nn.sigmoid(-score), -jax.nn.sigmoid(score))


ROW = f"{BEYOND}, with s for r"
MEAN = "s = exp(rho / n)"

RESPONSES = {
    name: view._replace(level="response")
    for name, view in {
        "sequence_ppo_clip": View(ROW, "s = exp(rho)", "A", lambda a: _one_clip(a, mean=False)),
        "gspo": View(ROW, f"s / n, {MEAN}", "A", _gspo),
        "luspo": View(ROW, MEAN, "A", lambda a: _one_clip(a, mean=True)),
        "gmpo": View(
            "0 where A > 0 and log r > epsilon_high, or A < 0 and log r < -epsilon, or A = 0",
            "exp(mean over the row of the clipped log r) / n", "A", _gmpo,
        ),
        "taypo": View(
            "1", "r",
            "order 1: gamma^t A_t; order 2: gamma^t A_t (1 + sum of r_u - 1 over u < t) + sum over u > t of gamma^u A_u (r_u - 1)",
            _taypo, only={"order": (1, 2)},
        ),
        "nft_sequence": View(
            "0 where rho >= 10", "as nft, with exp(rho) for r", "as nft",
            lambda a: _on(a, *negative_aware(a, a.log_ratio_of_rows("old_logprobs"))),
        ),
        "listwise_likelihood": View("1", "1", "-list_slope", lambda a: (a.on & (column(a.list_slope) != 0.0), 1.0, -column(a.list_slope))),
        "a_star_po": View("1", "1", "2 beta (reward - V* - beta rho)", _a_star_po),
        "dro_v": View("1", "1", "tau (reward - V - tau rho)", _dro_v),
        "tbrm": View("1", "1", "2 (reward / beta - V(s_1) - rho) (V(s_1) has a gradient of its own)", _tbrm),
        "step_regression": View(
            "1", "1",
            "n_s (A / beta - sum over the step of log(pi / pi_ref)), n_s the tokens of the step (1 where the first alone counts)",
            _step_regression,
        ),
        "response_divergence": View(
            "1", "1", "exp(-rho) - exp(rho) (chi2), exp(-rho) - 1 (kl); exponents at most 10", _response_divergence
        ),
        "trpa_unpaired": View("1", "1 / n", "sigmoid(-rho / n) at level 1, else -sigmoid(rho / n)", _trpa_unpaired),
    }.items()
}  # fmt: skip


def _on(a: Inputs, mask: Any, weight: Any, advantage: Any) -> Three:
    return masked(mask, a.on), weight, advantage
