"""Preferences between responses of one prompt: every row carries the pairs that it wins."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Int

from pojax.annotations import Hyper, Mask
from pojax.checks import checked
from pojax.groups import inside
from pojax.numerics import counts, floating, per_row
from pojax.reductions import row_mean

__all__ = ["trpa", "trpa_unpaired"]


@checked(beta="(0, inf)", anisotropy="(0, inf)")
def trpa(
    logprobs: Float[ArrayLike, "B T"],
    ref_logprobs: Float[ArrayLike, "B T"],
    levels: Int[ArrayLike, "B"],
    groups: Int[ArrayLike, "B"],
    mask: Mask,
    *,
    beta: Hyper = 0.1,
    anisotropy: Hyper = 2.5,
) -> Float[Array, "B"]:
    """Every better response of a group against every worse one: sum over worse j of -log sigmoid(h_bj), h = beta * (l_b - l_j).

    l = mean over the response's tokens of logprob - ref. levels: 1 is the best (`preference_levels`); pairs are those of different level.
    anisotropy multiplies h where the better one has level 1. The paper averages over all pairs of the batch: scale="pair_share", the
    per_minibatch rule of that name, with aggregate="token_sum". A response without tokens has l = 0. Rows that win no pair, groups of
    equal levels and rows that are out have loss 0; see `trpa_unpaired` for what released code does in a batch without any pair.
    Raises ValueError for beta or anisotropy not above 0.
    Source: Trust Region Preference Approximation, arXiv 2504.04524, and its released code (means over tokens).
    """
    groups, levels = jnp.asarray(groups), jnp.asarray(levels)
    score = row_mean(floating(logprobs) - floating(ref_logprobs), counts(mask) & inside(groups)[:, None])
    wins = inside(groups)[:, None] & (groups[:, None] == groups[None, :]) & (levels[:, None] < levels[None, :])
    factor = per_row(beta, 2) * jnp.where(levels[:, None] == 1, per_row(anisotropy, 2), 1.0)
    margin = factor * jnp.where(wins, score[:, None] - score[None, :], 0.0)
    return jnp.sum(jnp.where(wins, jax.nn.softplus(-margin), 0.0), axis=1)


@checked()
def trpa_unpaired(
    logprobs: Float[ArrayLike, "B T"], ref_logprobs: Float[ArrayLike, "B T"], levels: Int[ArrayLike, "B"], mask: Mask
) -> Float[Array, "B"]:
    """What released code minimises in a batch without any pair: -log sigmoid(l) at level 1, -log sigmoid(-l) elsewhere, l as in `trpa`.

    Without beta. scale="unpaired_share", the per_minibatch rule of that name, with aggregate="token_sum"; not part of the paper.
    Source: Trust Region Preference Approximation, arXiv 2504.04524, released code.
    """
    score = row_mean(floating(logprobs) - floating(ref_logprobs), mask)
    return jax.nn.softplus(jnp.where(jnp.asarray(levels) == 1, -score, score))
