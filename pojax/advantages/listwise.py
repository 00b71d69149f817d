"""Listwise objectives as per-minibatch rules: the exact derivative of a list's loss with respect to every row's log-likelihood."""

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Int

from pojax.advantages.normalizers import group_normalize
from pojax.annotations import Hyper, Mask, writes
from pojax.checks import checked
from pojax.groups import group_log_mean_exp, group_size, group_sum, inside, whole_batch
from pojax.numerics import counts, masked, per_row
from pojax.reductions import row_sum

__all__ = ["listwise_slopes"]


@writes("list_value", "list_slope")
@checked(kl="[0, inf)", entropy="[0, inf)", lists="{batch, group}")
def listwise_slopes(
    logprobs: Float[ArrayLike, "B T"],
    ref_logprobs: Float[ArrayLike, "B T"],
    rewards: Float[ArrayLike, "B"],
    mask: Mask,
    groups: Int[ArrayLike, "B"],
    *,
    kl: Hyper = 0.1,
    entropy: Hyper = 0.01,
    lists: str = "batch",
) -> tuple[Float[Array, "B"], Float[Array, "B"]]:
    """Listwise softmax objective, per row: its value w_b u_b and its derivative w_b (u_b - sum_list w u) in the row's log-likelihood.

    L_b = sum_t mask logprob (no division by length), w = softmax of L over the list, v = softmax of the reference's; z = rewards
    standardised over the list (ddof 0, epsilon 1e-8); u = -z + kl * (log w - log v) + entropy * log w. The sum of the values is
    loss = -sum w z + kl * KL(w || v) - entropy * H(w), and the derivatives of a list add up to 0. The softmax couples all rows of the
    optimiser batch, so this is a per_minibatch rule with current logprobs; `listwise_likelihood` carries value and derivative.
    lists: "batch", all rows of the optimiser batch are one list (paper); "group", each group is one, and the loss is their mean.
    kl, entropy: assumed; so is the exact form beyond the softmax, the return term, and the two regularisers being there.
    Rows without tokens are in no list: their L = 0 would weigh most. A list of one has derivative 0, equal rewards leave the regularisers.
    Short responses dominate w, as L is a raw sum. Zero for rows that are out. Raises ValueError for other lists.
    Source: HAEPO, "History-Aggregated Exploratory Policy Optimization", arXiv 2508.18884, trajectory log-likelihoods and their softmax.
    """
    used = jnp.any(counts(mask), axis=1) & inside(groups)
    members = jnp.where(used, whole_batch(groups) if lists == "batch" else jnp.asarray(groups), -1)
    log_w = _log_softmax(row_sum(logprobs, mask), members)
    log_v = _log_softmax(row_sum(ref_logprobs, mask), members)
    z = group_normalize(masked(rewards, used), members, epsilon=1e-8, ddof=0)
    w = jnp.where(used, jnp.exp(log_w), 0.0)
    u = -z + per_row(kl, 1) * (log_w - log_v) + per_row(entropy, 1) * log_w
    number = jnp.sum(jnp.where(used, 1.0 / jnp.maximum(group_size(members), 1.0), 0.0))  # of lists
    share = w / jnp.maximum(number, 1.0)
    return share * u, share * (u - group_sum(w * u, members))


def _log_softmax(x: Float[Array, "B"], groups: Int[Array, "B"]) -> Float[Array, "B"]:
    """Logarithm of the softmax over each group; 0 for rows that are out."""
    return jnp.where(groups >= 0, x - group_log_mean_exp(x, groups) - jnp.log(jnp.maximum(group_size(groups), 1.0)), 0.0)
