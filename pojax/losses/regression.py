"""Least squares: log-ratios fitted to rewards. Log-ratios are not clamped here: a clamp would end the pull of a residual."""

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Int

from pojax.annotations import Hyper, Mask
from pojax.checks import checked
from pojax.groups import all_equal, group_mean, group_rank, group_size, group_std, group_sum, group_variance, inside, refine
from pojax.numerics import counts, floating, masked, per_row
from pojax.reductions import per_response, row_sum

__all__ = ["a_star_po", "copg", "rebel", "reg_grpo", "step_regression"]


def _log_ratio(
    logprobs: Float[ArrayLike, "B T"], other: Float[ArrayLike, "B T"], mask: Mask, groups: Int[ArrayLike, "B"] | None = None
) -> Float[Array, "B"]:
    """sum_t mask (logprob - other); 0 for rows that are out, where groups are given."""
    on = counts(mask) if groups is None else counts(mask) & inside(groups)[:, None]
    return row_sum(floating(logprobs) - floating(other), on)


@checked(epsilon="(0, inf)", ddof="{0, 1}")
def reg_grpo(
    logprobs: Float[ArrayLike, "B T"],
    old_logprobs: Float[ArrayLike, "B T"],
    advantages: Float[ArrayLike, "B"] | Float[ArrayLike, "B T"],
    groups: Int[ArrayLike, "B"],
    mask: Mask,
    *,
    epsilon: Hyper = 1e-2,
    ddof: int = 0,
) -> Float[Array, "B"]:
    """Squared distance of the standardised log-ratio from the standardised reward: (A_b - (rho_b - mean rho) / (std rho + epsilon))^2.

    rho_b = sum_t mask (logprob - old); mean and std over the group, and the gradient flows through both, so that the loss of a group
    depends on the correlation of reward and log-ratio only: with ddof 0 and epsilon 0 its mean is 2 (1 - correlation).
    advantages: standardised in the group (`group_normalize` with the same ddof). No clip.
    epsilon is in nats. On policy every rho is 0: the loss is A^2 and its gradient -2 / epsilon times that of A rho (singular as epsilon
    goes to 0); the paper gives neither epsilon nor ddof: both assumed. A group of equal advantages (equal rewards), a group of one, and
    rows that are out have loss 0, so that equal rewards do not pull log-ratios together.
    Raises ValueError for epsilon not above 0, and ddof other than 0 and 1.
    Source: Reg-GRPO, DeepVideo-R1, arXiv 2506.07464, section 3.2 and appendix A.4.
    """
    rho = _log_ratio(logprobs, old_logprobs, mask, groups)
    target = jnp.where(inside(groups), per_response(advantages, mask), 0.0)
    flat = all_equal(target, groups)
    predicted = (rho - group_mean(rho, groups)) / (group_std(rho, groups, ddof=ddof) + per_row(epsilon, 1))
    return jnp.where(flat, 0.0, (target - predicted) ** 2)


@checked(eta="(0, inf)", form="{paper, code}", pairs="{consecutive, all}")
def rebel(
    logprobs: Float[ArrayLike, "B T"],
    old_logprobs: Float[ArrayLike, "B T"],
    rewards: Float[ArrayLike, "B"],
    groups: Int[ArrayLike, "B"],
    mask: Mask,
    *,
    eta: Hyper = 1.0,
    form: str = "paper",
    pairs: str = "consecutive",
) -> Float[Array, "B"]:
    """Differences of log-ratios fitted to those of rewards: (D / eta - (r_1 - r_2))^2, D = rho_1 - rho_2, averaged over the group's pairs.

    rho = sum_t mask (logprob - old). form "code": (D - eta (r_1 - r_2))^2, eta^2 times the paper's with the same minimum.
    pairs "consecutive": the first and second row of a group, the third and fourth ..., an odd last row is in none (the paper samples two
    responses); "all": every pair of the group. eta is the step size of mirror descent, in nats per unit of reward.
    The mean over pairs stands at each row of the group; aggregate "group_mean" averages groups. r_1 = r_2 pulls D to 0, as in the paper.
    A group of one and rows that are out have loss 0. Raises ValueError for eta not above 0, another form or other pairs.
    Source: REBEL, arXiv 2404.16767, eq. (1) and algorithm 1, and its released code.
    """
    rho, eta = _log_ratio(logprobs, old_logprobs, mask, groups), per_row(eta, 1)
    rewards = masked(rewards, inside(groups))
    residual = rho / eta - rewards if form == "paper" else rho - eta * rewards
    if pairs == "all":  # the mean of (x_i - x_j)^2 over pairs is twice the variance
        return 2.0 * group_variance(residual, groups)
    rank = group_rank(jnp.zeros(residual.shape), groups)  # by row
    pair = refine(groups, rank // 2)
    number = jnp.maximum(jnp.floor(group_size(groups) / 2.0), 1.0)
    return group_sum(group_variance(residual, pair), groups) / number  # a pair has it at two rows: 2 * variance / 2


@checked(beta="(0, inf)")
def copg(
    logprobs: Float[ArrayLike, "B T"],
    ref_logprobs: Float[ArrayLike, "B T"],
    rewards: Float[ArrayLike, "B"],
    groups: Int[ArrayLike, "B"],
    mask: Mask,
    *,
    beta: Hyper = 0.1,
) -> Float[Array, "B"]:
    """Squared differences of regularised rewards in the group: 1 / (k - 1) * sum over pairs of (R_i - R_j)^2, k the group's size.

    R_b = r_b - beta * sum_t mask (logprob - ref), differentiable. The gradient with respect to a token of row i is, divided by the
    aggregation's number of groups, -2 beta sum over the others of (R_i - R_j) / (k - 1): descent follows 2 beta (R_i - mean of the others),
    a leave-one-out policy gradient of the regularised reward, without an importance ratio although the samples may be anybody's.
    beta is in units of reward per nat (assumed: the paper's was not read). The sum of a group stands at each of its rows; aggregate
    "group_mean" averages groups. Equal rewards pull log-ratios together. A group of one and rows that are out have loss 0.
    Raises ValueError for beta not above 0.
    Source: Contrastive Policy Gradient, arXiv 2406.19185; the form over k samples: Command A, arXiv 2504.00698.
    """
    regularised = masked(rewards, inside(groups)) - per_row(beta, 1) * _log_ratio(logprobs, ref_logprobs, mask, groups)
    return group_size(groups) * group_variance(regularised, groups)  # sum over pairs of (x_i - x_j)^2 = k sum of (x - mean)^2


@checked(beta="(0, inf)")
def a_star_po(
    logprobs: Float[ArrayLike, "B T"],
    ref_logprobs: Float[ArrayLike, "B T"],
    rewards: Float[ArrayLike, "B"],
    v_star: Float[ArrayLike, "B"],
    mask: Mask,
    *,
    beta: Hyper = 1e-3,
) -> Float[Array, "B"]:
    """The log-ratio fitted to the optimal advantage: (beta * sum_t mask (logprob - ref) - (r - V*))^2.

    v_star: V* of the prompt in units of reward (`a_star_value` of reference samples). No clip, no importance weight, no group.
    beta is in units of reward per nat: the paper's beta_2, apart from the beta_1 of V* (its theory has one).
    Raises ValueError for beta not above 0. Source: A*-PO, arXiv 2505.20686, algorithm 1 (second stage).
    """
    return (per_row(beta, 1) * _log_ratio(logprobs, ref_logprobs, mask) + floating(v_star) - floating(rewards)) ** 2


@checked(beta="(0, inf)")
def step_regression(
    logprobs: Float[ArrayLike, "B T"],
    ref_logprobs: Float[ArrayLike, "B T"],
    advantages: Float[ArrayLike, "B T"],
    segment: Int[ArrayLike, "B T"],
    mask: Mask,
    *,
    beta: Hyper = 0.1,
) -> Float[Array, "B T"]:
    """Log-ratio of every reasoning step fitted to its advantage: 1/2 (sum over the step's tokens of (logprob - ref) - A / beta)^2.

    segment: number of the step along the row, 0, 1, 2 ..., below T; anything where mask is 0. advantages: one number per step, at each of
    its tokens (their mean is read). The step's value stands at each of its tokens: with where="step_start" (`step_starts`), token_mean is
    the mean over steps. A = 0 pulls the step to the reference.
    beta is in units of reward per nat; its default and the square's constants are assumed.
    Raises ValueError for beta not above 0.
    Source: Direct Advantage Policy Optimization (not the ByteDance DAPO), arXiv 2412.18279.
    """
    on = counts(mask)
    rows, width = jnp.arange(on.shape[0])[:, None], on.shape[1]
    index = jnp.where(on, jnp.clip(jnp.asarray(segment), 0, width - 1), 0)

    def by_step(x: Float[Array, "B T"]) -> Float[Array, "B T"]:
        """Sums over the tokens of each step, at each of them."""
        x = masked(x, on)
        return jnp.take_along_axis(jnp.zeros(on.shape, x.dtype).at[rows, index].add(x), index, axis=1)

    advantage = by_step(floating(advantages)) / jnp.maximum(by_step(floating(on)), 1.0)
    residual = by_step(floating(logprobs) - floating(ref_logprobs)) - advantage / per_row(beta, 2)
    return jnp.where(on, 0.5 * residual**2, 0.0)
