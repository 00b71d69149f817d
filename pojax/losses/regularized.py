"""KL-regularised policy gradients (RPG): losses whose gradient is that of reward minus beta * KL to the policy that sampled.

w = exp(logprob - old), the log-ratio in [-20, 20]; R the reward minus its baseline (the rule for advantages); the four divergences are
fkl = KL(old || policy), rkl = KL(policy || old), and ufkl, urkl, the same for measures that need not sum to 1.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from pojax.annotations import Hyper
from pojax.checks import checked
from pojax.losses.ratios import clipped_surrogate, dual_clipped, interval, token_ratio
from pojax.numerics import floating, log_ratio, per_row

__all__ = ["rpg", "rpg_clip", "rpg_reinforce", "rpg_reinforce_clip", "rpg_reinforce_hard"]

KINDS = "{fkl, ufkl, rkl, urkl}"


def _bounded(x: Array, bound: Hyper | None) -> Array:
    return x if bound is None else jnp.clip(x, -per_row(bound, 2), per_row(bound, 2))


def _score(kl: str, log_w: Array) -> Array:
    """Minus the derivative of the penalty, times w where the sample is weighted: what the divergence adds to the weight of grad log pi."""
    w = jnp.exp(log_w)
    return {"fkl": jnp.ones_like(w), "ufkl": 1.0 - w, "rkl": -w * (log_w + 1.0), "urkl": -w * log_w}[kl]


@checked(beta="[0, inf)", kl=KINDS, kl_bound="(0, inf]")
def rpg(
    logprobs: Float[ArrayLike, "B T"],
    old_logprobs: Float[ArrayLike, "B T"],
    advantages: Float[ArrayLike, "B T"],
    *,
    beta: Hyper = 1e-4,
    kl: str = "urkl",
    kl_bound: Hyper | None = None,
) -> Float[Array, "B T"]:
    """Fully differentiable form: -w R + beta * penalty, whose automatic gradient is the off-policy gradient of reward minus beta * KL.

    penalty: fkl -logprob, ufkl w - log w - 1, rkl w log w, urkl w log w - w. No clip.
    beta is in units of reward per nat. kl_bound: bound on the size of the penalty (rkl, ufkl, and urkl + 1), without gradient beyond;
    released code has 10. Ratio 1 everywhere: ufkl and urkl have no gradient, fkl and rkl a constant one of mean 0.
    Raises ValueError for a negative beta, another kl, or kl_bound not above 0. Source: RPG, arXiv 2505.17508, table 1.
    """
    w, log_w, logprobs = token_ratio(logprobs, old_logprobs), log_ratio(logprobs, old_logprobs), floating(logprobs)
    penalty = {
        "fkl": -logprobs,
        "ufkl": _bounded(w - log_w - 1.0, kl_bound),
        "rkl": _bounded(w * log_w, kl_bound),
        "urkl": _bounded(w * log_w - w + 1.0, kl_bound) - 1.0,
    }[kl]
    return -w * floating(advantages) + per_row(beta, 2) * penalty


@checked(beta="[0, inf)", kl=KINDS, kl_bound="(0, inf]")
def rpg_reinforce(
    logprobs: Float[ArrayLike, "B T"],
    old_logprobs: Float[ArrayLike, "B T"],
    advantages: Float[ArrayLike, "B T"],
    *,
    beta: Hyper = 1e-4,
    kl: str = "urkl",
    kl_bound: Hyper | None = None,
) -> Float[Array, "B T"]:
    """REINFORCE form: -sg(w R + beta c) * logprob, with the gradient of `rpg` and another value.

    c: fkl 1, ufkl 1 - w, rkl -w (log w + 1), urkl -w log w. kl_bound: bound on the size of c; released code has 10.
    Hyper-parameters and errors as `rpg`. Source: RPG, arXiv 2505.17508, table 2 and appendix F.
    """
    log_w = log_ratio(logprobs, old_logprobs)
    weight = jnp.exp(log_w) * floating(advantages) + per_row(beta, 2) * _bounded(_score(kl, log_w), kl_bound)
    return -jax.lax.stop_gradient(weight) * floating(logprobs)


@checked(beta="[0, inf)", kl=KINDS, epsilon="[0, inf)", epsilon_high="[0, inf)", dual_clip="(1, inf]")
def rpg_clip(
    logprobs: Float[ArrayLike, "B T"],
    old_logprobs: Float[ArrayLike, "B T"],
    advantages: Float[ArrayLike, "B T"],
    *,
    beta: Hyper = 1e-4,
    kl: str = "urkl",
    epsilon: Hyper = 0.2,
    epsilon_high: Hyper | None = 0.28,
    dual_clip: Hyper | None = 10.0,
    detach: bool = True,
) -> Float[Array, "B T"]:
    """Algorithm 1: PPO-clip and dual clip on regularised advantages, R - beta log w (urkl), R - beta (log w + 1) (rkl), R (fkl, ufkl).

    For fkl and ufkl the divergence is a term of its own: negative_log_likelihood, or k3(old_logprobs, logprobs), with scale beta.
    detach: regularised advantages are constants, as the paper's theorem needs: inside the interval the gradient is that of `rpg`. Without
    (the algorithm read literally) their own dependence on the policy adds beta * w to every token.
    epsilon, epsilon_high, dual_clip as `ppo_clip`. Raises ValueError as it does, for a negative beta and for another kl.
    Source: RPG, arXiv 2505.17508, algorithm 1.
    """
    log_w, beta = log_ratio(logprobs, old_logprobs), per_row(beta, 2)
    advantages = floating(advantages)
    if kl in ("rkl", "urkl"):
        regularised = advantages - beta * (log_w + (1.0 if kl == "rkl" else 0.0))
        advantages = jax.lax.stop_gradient(regularised) if detach else regularised
    loss = clipped_surrogate(jnp.exp(log_w), advantages, *interval(epsilon, epsilon_high))
    return dual_clipped(loss, advantages, bound=dual_clip)


@checked(beta="[0, inf)", kl=KINDS, epsilon="[0, inf)", epsilon_high="[0, inf)", dual_clip="(1, inf]")
def rpg_reinforce_clip(
    logprobs: Float[ArrayLike, "B T"],
    old_logprobs: Float[ArrayLike, "B T"],
    advantages: Float[ArrayLike, "B T"],
    *,
    beta: Hyper = 1e-4,
    kl: str = "urkl",
    epsilon: Hyper = 0.2,
    epsilon_high: Hyper = 0.28,
    dual_clip: Hyper = 10.0,
) -> Float[Array, "B T"]:
    """Algorithm 2: `rpg_reinforce` without gradient for tokens beyond the interval, by the sign of their whole weight w R + beta c.

    Loss -logprob * (w R + beta c), c as in `rpg_reinforce`, all but logprob constant. Weight >= 0: constant from w = 1 + epsilon_high on;
    weight < 0: constant up to w = 1 - epsilon and from dual_clip on. A constant has R times the bound in place of w R.
    Released code switches on the sign of R, and its constants have a wrong sign (no influence on gradients).
    Raises ValueError for a negative beta or epsilon, another kl, or dual_clip not above 1. Source: RPG, arXiv 2505.17508, algorithm 2.
    """
    log_w, logprobs, reward = log_ratio(logprobs, old_logprobs), floating(logprobs), floating(advantages)
    w = jax.lax.stop_gradient(jnp.exp(log_w))
    extra = per_row(beta, 2) * jax.lax.stop_gradient(_score(kl, log_w))
    low, high = interval(epsilon, epsilon_high)
    top = per_row(dual_clip, 2)
    weight = reward * w + extra
    # What psi = (R + beta c / w) * -logprob decides on: -logprob is never negative.
    above = (weight >= 0.0) & (w >= high)
    below, beyond = (weight < 0.0) & (w <= low), (weight < 0.0) & (w > low) & (w >= top)
    bound = jnp.where(above, high, jnp.where(below, low, top))
    cut = above | below | beyond
    return jnp.where(cut, -jax.lax.stop_gradient(logprobs) * (reward * bound + extra), -logprobs * jax.lax.stop_gradient(weight))


@checked(beta="[0, inf)", kl=KINDS, epsilon="[0, 1)", epsilon_high="[0, inf)")
def rpg_reinforce_hard(
    logprobs: Float[ArrayLike, "B T"],
    old_logprobs: Float[ArrayLike, "B T"],
    advantages: Float[ArrayLike, "B T"],
    *,
    beta: Hyper = 1e-4,
    kl: str = "urkl",
    epsilon: Hyper = 0.2,
    epsilon_high: Hyper = 0.28,
) -> Float[Array, "B T"]:
    """Hard variant of released code: -sg(R v + beta c(v)) * logprob with v = clip(w, 1 - epsilon, 1 + epsilon_high); no token is dropped.

    c as in `rpg_reinforce`. Raises ValueError for a negative beta, epsilon outside [0, 1), a negative epsilon_high, and another kl.
    Source: released code of RPG, arXiv 2505.17508 ("clip_hard").
    """
    low, high = interval(epsilon, epsilon_high)
    w = jnp.clip(token_ratio(logprobs, old_logprobs), low, high)
    weight = floating(advantages) * w + per_row(beta, 2) * _score(kl, jnp.log(w))
    return -jax.lax.stop_gradient(weight) * floating(logprobs)
