"""Views of losses that couple the rows of a group: pairs, lists, classes, and statistics of the group that carry a gradient.

The coefficient is that of the row, equal for the rows of a group; k: rows of the group. Where the loss of a group stands at each of its
rows, the coefficients of all k add up, and k is in the advantage.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from pojax.groups import all_equal, group_mean, group_size, group_sum, partner
from pojax.numerics import counts, floating, masked
from pojax.reductions import row_count
from pojax.unified_view.inputs import Inputs, View, column

Three = tuple[Any, Any, Any]


def _sum(x: Array, a: Inputs) -> Array:
    return group_sum(x, a.groups)


def _k(a: Inputs) -> Array:
    return column(group_size(a.groups))


def _in_groups(x: Any, a: Inputs) -> Array:
    """[B] as [B, 1], 0 in rows that are out."""
    return column(masked(x, jnp.asarray(a.groups) >= 0))


def _reg_grpo(a: Inputs) -> Three:
    rho, k = a.log_ratio_of_rows("old_logprobs"), _k(a)
    centred = rho - group_mean(rho, a.groups)
    std = jnp.sqrt(_sum(centred**2, a) / jnp.maximum(k - a.ddof, 1.0))
    target = jnp.where(jnp.asarray(a.groups)[:, None] >= 0, a.row_A, 0.0)
    predicted = centred / (std + a.epsilon)
    error = target - predicted
    through_std = _sum(error * predicted, a) * centred / (jnp.maximum(k - a.ddof, 1.0) * jnp.where(std > 0.0, std, 1.0))
    used = a.on & ~all_equal(target[:, 0], a.groups)[:, None]
    return used, 1.0, 2.0 / (std + a.epsilon) * (error - group_mean(error, a.groups) - through_std)


def _rebel(a: Inputs) -> Three:
    rho, reward, k = a.log_ratio_of_rows("old_logprobs"), _in_groups(a.rewards, a), _k(a)
    residual, slope = (reward - rho / a.eta, 1.0 / a.eta) if a.form == "paper" else (a.eta * reward - rho, 1.0)
    if a.pairs == "all":
        others = jnp.maximum(k - 1.0, 1.0)
        return a.on, 1.0, 4.0 * slope * k / others * (residual - group_mean(residual, a.groups))
    pairs = jnp.maximum(jnp.floor(k / 2.0), 1.0)
    return a.on, 1.0, 2.0 * slope * k / pairs * (residual - residual[partner(a.groups)])


def _copg(a: Inputs) -> Three:
    regularised, k = _in_groups(a.rewards, a) - a.beta * a.log_ratio_of_rows("ref_logprobs"), _k(a)
    others = (_sum(regularised, a) - regularised) / jnp.maximum(k - 1.0, 1.0)
    return a.on & (k > 1.0), 1.0, 2.0 * a.beta * k * (regularised - others)


def _classes(a: Inputs, right: Array) -> tuple[Array, Array, Array]:
    """(positive, negative, both are there), [B, 1]."""
    used = column(row_count(a.on)) > 0.0
    positive, negative = used & right, used & ~right
    return positive, negative, (_sum(positive, a) > 0.0) & (_sum(negative, a) > 0.0)


def _disco(a: Inputs) -> Three:
    positive, negative, both = _classes(a, column(counts(a.correct)) > 0.0)
    weight = jnp.where(a.on, jnp.exp(a.x - floating(a.old_logprobs)), 0.0) if a.score == "Lratio" else floating(a.on)
    score = a.total(weight if a.score == "Lratio" else a.x) / a.n
    share = jnp.where(negative, jnp.exp(score / a.tau) if a.form == "disco" else 1.0, 0.0)
    share = share / jnp.maximum(_sum(share, a), 1e-300 if share.dtype == jnp.float64 else 1e-30)
    return a.on & both, weight / a.n, _k(a) * jnp.where(positive, 1.0 / jnp.maximum(_sum(positive, a), 1.0), -share)


def _real(a: Inputs) -> Three:
    positive, negative, both = _classes(a, a.total(jnp.broadcast_to(a.A, a.on.shape)) > 0.0)
    logit = a.log_ratio_of_rows("old_logprobs") / a.n / a.tau
    up, down = jnp.where(positive, jnp.exp(-logit), 0.0), jnp.where(negative, jnp.exp(logit), 0.0)
    return a.on & both, 1.0 / a.n, _k(a) / a.tau * (up / (1.0 + _sum(up, a)) - down / (1.0 + _sum(down, a)))


def _trpa(a: Inputs) -> Three:
    score, levels, groups = a.log_ratio_of_rows("ref_logprobs") / a.n, jnp.asarray(a.levels), jnp.asarray(a.groups)
    wins = (groups[:, None] == groups) & (groups[:, None] >= 0) & (levels[:, None] < levels)
    slope = a.beta * jnp.where(levels[:, None] == 1, a.anisotropy, 1.0)
    pull = jnp.where(wins, slope * jax.nn.sigmoid(-slope * (score - score[:, 0])), 0.0)  # of the row on the column that it beats
    return a.on, 1.0 / a.n, jnp.sum(pull, axis=1)[:, None] - jnp.sum(pull, axis=0)[:, None]


def _p3o(a: Inputs) -> Three:
    other = partner(a.groups)
    rows = jnp.arange(other.shape[0])
    paired = (other != rows)[:, None]
    x = jnp.where(paired, a.log_ratio_of_rows("old_logprobs"), 0.0)
    reward = column(a.rewards) if jnp.ndim(a.rewards) == 1 else a.total(floating(a.rewards)) / a.n
    reward = jnp.where(paired, reward, 0.0)
    D = reward - reward[other]
    if a.version == "v2":
        sign = jnp.where(rows < other, 1.0, -1.0)[:, None]
        x, toward = sign * (x - x[other]), sign * D
        low, high, weight = jnp.log1p(-a.epsilon), jnp.log1p(a.epsilon), jnp.ones_like(x)
    else:
        x = weight = jnp.exp(x)
        toward, low, high = D, 1.0 - a.epsilon, 1.0 + a.epsilon
    cut = ((toward > 0.0) & (x > high) | (toward < 0.0) & (x < low)) & (a.version != "none")
    return a.on & paired & ~cut, weight, D


def _codpo(a: Inputs) -> Three:
    role = jnp.where(jnp.asarray(a.groups)[:, None] >= 0, column(a.role), 0.0)
    margin = a.beta * _sum(role * a.log_ratio_of_rows("ref_logprobs"), a)
    return a.on & (role != 0.0), 1.0, role * a.beta * jax.nn.sigmoid(-margin) + jnp.where(role > 0.0, a.likelihood / a.n, 0.0)


COUPLED = {
    name: view._replace(level="group")
    for name, view in {
        "reg_grpo": View(
            "0 where all A of the group are equal", "1",
            "2 / (std rho + epsilon) (e - mean e - sum(e z) (rho - mean rho) / ((k - ddof) std rho)), "
            "z = (rho - mean rho) / (std rho + epsilon), e = A - z", _reg_grpo,
        ),
        "rebel": View(
            "1", "1", "2 k / (pairs eta) (R - R of the partner), R = reward - rho / eta; code: eta^2 times it; "
            "pairs all: 4 / eta k / (k - 1) (R - mean R)", _rebel,
        ),
        "copg": View("1", "1", "2 beta k (R - mean of the others' R), R = reward - beta rho", _copg),
        "disco": View(
            "0 where the group has one class", "1 / n, or r / n (Lratio)",
            "right: k / (number right); wrong: -k exp(s / tau) / (sum over the wrong of exp(s / tau)); disco_b: tau infinite", _disco,
        ),
        "real": View(
            "0 where the group has one class", "1 / n",
            "A > 0: k / tau exp(-s / tau) / (1 + sum of them); else minus the same with exp(s / tau); s = rho / n", _real,
        ),
        "trpa": View("1", "1 / n", "sum over pairs won of f sigmoid(-h) - sum over pairs lost of f sigmoid(-h), f = beta (anisotropy), "
                     "h = f (s_winner - s_loser), s = rho / n", _trpa),
        "p3o": View(
            "v1: PPO's with exp(rho) for r; v2: the same for rho - rho of the partner, within log(1 - epsilon), log(1 + epsilon)",
            "exp(rho) (none, v1), 1 (v2)", "reward - reward of the partner", _p3o,
        ),
        "codpo": View(
            "0 outside the pair", "1", "role beta sigmoid(-beta (rho_chosen - rho_rejected)), at the chosen one + likelihood / n", _codpo
        ),
    }.items()
}  # fmt: skip
