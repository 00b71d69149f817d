"""Views of losses that couple no tokens. r = pi / pi_old = exp(d), d = logprob - old; p and q: probabilities now and when sampled."""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array

from pojax.groups import group_mean, inside
from pojax.losses.divergence import binary_kl, binary_tv
from pojax.losses.mirror_descent import tsallis_log
from pojax.losses.ratios import beyond
from pojax.numerics import floating
from pojax.reductions import sequence_log_ratio
from pojax.unified_view.inputs import Inputs, View, column

Three = tuple[Any, Any, Any]


def _keeps_a_gradient(a: Inputs) -> Three:
    below, above = beyond(a.r, a.A, a.low, a.high)
    weight = jnp.where(below, a.get("beta_low", 1.0) * a.low, jnp.where(above, a.get("beta_high", 1.0) * a.high, a.r))
    cut = (a.A < 0.0) & (weight > a.get("dual_clip", jnp.inf)) | below & a.get("only_high", False)
    return ~cut, weight, a.A


def _sapo(a: Inputs) -> Three:
    tau = jnp.where(a.A > 0.0, a.tau, a.tau_negative)
    return 1.0 / jnp.cosh(tau * (a.r - 1.0) / 2.0) ** 2, a.r, a.A


def _mdpo(a: Inputs) -> Three:
    slope = a.d
    if a.q is not None:
        slope = tsallis_log(a.x, q=2.0 - a.q) - tsallis_log(a.old, q=2.0 - a.q) + jnp.exp((1.0 - a.q) * a.x)
    return 1.0, a.r, a.A - slope / a.step_size


def _score(a: Inputs, w: Array) -> Array:
    """c / w of RPG: what a divergence adds to the advantage, over beta."""
    d = jnp.log(w)
    return {"fkl": 1.0 / w, "ufkl": 1.0 / w - 1.0, "rkl": -d - 1.0, "urkl": -d}[a.kl]


def _rpg(a: Inputs) -> Three:
    penalty = {"fkl": 0.0 * a.d, "ufkl": a.r - a.d - 1.0, "rkl": a.r * a.d, "urkl": a.r * a.d - a.r + 1.0}[a.kl]
    return 1.0, a.r, a.A + a.beta * jnp.where(jnp.abs(penalty) <= a.get("kl_bound", jnp.inf), _score(a, a.r), 0.0)


def _rpg_reinforce(a: Inputs) -> Three:
    bound = a.get("kl_bound", jnp.inf) / a.r  # it bounds c itself
    return 1.0, a.r, a.A + a.beta * jnp.clip(_score(a, a.r), -bound, bound)


def _rpg_clip(a: Inputs) -> Three:
    A = a.A + a.beta * _score(a, a.r) if a.kl in ("rkl", "urkl") else a.A
    return a.unclipped(a.r, A), a.r, A


def _rpg_reinforce_clip(a: Inputs) -> Three:
    A = a.A + a.beta * _score(a, a.r)
    cut = jnp.where(A >= 0.0, a.r >= a.high, (a.r <= a.low) | (a.r >= a.dual_clip))
    return ~cut, a.r, A


def _rpg_reinforce_hard(a: Inputs) -> Three:
    v = jnp.clip(a.r, a.low, a.high)
    return 1.0, v, a.A + a.beta * _score(a, v)


def _gated(a: Inputs, divergence: Array) -> Three:
    high = a.get("threshold_high", a.threshold)
    dropped = jnp.where(a.A > 0.0, (a.d > 0.0) & (divergence > high), (a.d < 0.0) & (divergence > a.threshold))
    return ~dropped, jnp.minimum(a.r, a.cap), a.A


def _prime_rl(a: Inputs) -> Three:
    move = jnp.exp(a.x) - jnp.exp(a.old)
    return jnp.where(a.A > 0.0, move <= a.get("threshold_high", a.threshold), move >= -a.threshold), a.r, a.A


def _weighted_likelihood(a: Inputs) -> Three:
    p = jnp.exp(a.x)
    return p <= a.cutoff, {"phi": p * (1.0 - p), "probability": p, "none": jnp.ones_like(p)}[a.weight], 1.0


def negative_aware(a: Inputs, d: Array) -> Three:
    """NFT of log-ratios per token [B, T] or per response [B, 1]."""
    right, q = column(a.correct) > 0.5, jnp.clip(column(group_mean(a.correct, a.groups)), 0.02, 0.98)
    scale = {0: jnp.ones_like(q), 1: 1.0 - q, 2: jnp.sqrt((1.0 - q) / q)}[a.normalize]
    ratio = jnp.exp(jnp.minimum(d, 10.0))
    implied = jnp.maximum((1.0 - q * ratio) / (1.0 - q), a.clamp_negative)  # of the policy that wrong answers come from, over pi_old
    weight = ratio / jnp.where(right, jnp.maximum(ratio, a.clamp_positive), implied)
    return inside(a.groups)[:, None] & (d < 10.0), weight, scale * jnp.where(right, 1.0, -a.neg_weight * q / (1.0 - q))


def _gspo_token(a: Inputs) -> Three:
    s = jnp.exp(sequence_log_ratio(a.logprobs, a.old_logprobs, a.mask, mean=True))[:, None]
    return a.on & a.unclipped(s, a.A), s, a.A


def _vespo(a: Inputs) -> Three:
    log_w = a.total(a.d + jnp.log(a.get("importance", 1.0)))
    k, lam = (jnp.where(a.A >= 0.0, x, y) for x, y in ((a.k, a.k_negative), (a.lam, a.lam_negative)))
    return a.on, jnp.exp(lam + k * log_w - lam * jnp.exp(log_w)), a.A


def _to_reference(a: Inputs) -> Array:
    return floating(a.ref_logprobs) - a.x


BEYOND = "0 where A > 0 and r > 1 + epsilon_high, or A < 0 and r < 1 - epsilon"
REGULARISED = "A + beta c / w: c / w = 1 / r (fkl), 1 / r - 1 (ufkl), -log r - 1 (rkl), -log r (urkl)"
DIVERGENCE = "0 where {} > threshold and the token moved with A's sign"

TOKENS = {
    "policy_gradient": View("1", "1", "A", lambda a: (1.0, 1.0, a.A)),
    "negative_log_likelihood": View("1", "1", "1", lambda a: (1.0, 1.0, 1.0)),
    "weighted_likelihood": View("0 where p > cutoff", "p (1 - p), p, or 1", "1", _weighted_likelihood),
    "one_token_rollout": View(
        "1", "1", "drawn_hits (draws that miss add reward * grad drawn_misses)", lambda a: (1.0, 1.0, floating(a.drawn_hits))
    ),
    "unified_policy_gradient": View(
        "stable", "pi / reference", "A", lambda a: (a.get("stable", 1.0), jnp.exp(a.x - a.reference_logprobs), a.A)
    ),
    "shaped_policy": View("gamma / (r + gamma)^2", "r", "A", lambda a: (a.gamma / (a.r + a.gamma) ** 2, a.r, a.A)),
    "ppo_clip": View(f"{BEYOND}, or A < 0 and r > dual_clip", "r", "A", lambda a: (a.unclipped(a.r, a.A), a.r, a.A)),
    "delay_adapted_clip": View(BEYOND, "r = pi / max(pi_old, pi_arrival)", "A", lambda a: (a.unclipped(a.r, a.A), a.r, a.A)),
    "cispo": View("1", "clip(r, 1 - epsilon, 1 + epsilon_high)", "A", lambda a: (1.0, jnp.clip(a.r, a.low, a.high), a.A)),
    "ce_gppo": View(
        "0 where A < 0 and weight > dual_clip",
        "beta_low (1 - epsilon) and beta_high (1 + epsilon_high) where PPO cuts, else r", "A", _keeps_a_gradient,
    ),
    "gppo": View(
        "0 where A < 0 and weight > dual_clip; with only_high also below the interval",
        "1 - epsilon and 1 + epsilon_high where PPO cuts, else r", "A", _keeps_a_gradient,
    ),
    "pspo": View("1 - alpha", "r", "A", lambda a: (1.0 - a.alpha, a.r, a.A)),
    "sapo": View("sech^2(tau (r - 1) / 2), tau by the sign of A", "r", "A", _sapo),
    "spo_simple": View(
        "1 - sign(A) (r - 1) / epsilon", "r", "A", lambda a: (1.0 - jnp.sign(a.A) * (a.r - 1.0) / a.epsilon, a.r, a.A)
    ),
    "mdpo": View("1", "r", "A - log r / step_size; q: the Tsallis logarithm's derivative", _mdpo, only={"kl": (None,)}),
    "rpg": View("1", "r", REGULARISED, _rpg),
    "rpg_reinforce": View("1", "r", REGULARISED, _rpg_reinforce),
    "rpg_clip": View(f"{BEYOND}, or A < 0 and r > dual_clip; A regularised", "r", "A - beta log r (urkl), A - beta (log r + 1) (rkl), A",
                     _rpg_clip, only={"detach": (True,)}),
    "rpg_reinforce_clip": View(f"{BEYOND}, or A < 0 and r >= dual_clip; A regularised", "r", REGULARISED, _rpg_reinforce_clip),
    "rpg_reinforce_hard": View("1", "v = clip(r, 1 - epsilon, 1 + epsilon_high)", "A + beta c / w at w = v", _rpg_reinforce_hard),
    "divergence_gated": View(
        DIVERGENCE.format("divergence"), "min(r, cap)", "A", lambda a: _gated(a, floating(a.divergence))
    ),
    "dppo_tv": View(DIVERGENCE.format("|p - q|"), "min(r, cap)", "A", lambda a: _gated(a, binary_tv(a.x, a.old))),
    "dppo_kl": View(DIVERGENCE.format("the binary KL(q || p)"), "min(r, cap)", "A", lambda a: _gated(a, binary_kl(a.x, a.old))),
    "prime_rl": View("0 where A > 0 and p - q > threshold_high, or A <= 0 and p - q < -threshold", "r", "A", _prime_rl),
    "ipo_intellect": View(
        "0 where |p - q| > threshold", "r", "A", lambda a: (jnp.abs(jnp.exp(a.x) - jnp.exp(a.old)) <= a.threshold, a.r, a.A)
    ),
    "prime_rl_ref_kl": View(
        "0 where p - q < -threshold", "r", "log(pi_ref / pi)",
        lambda a: (jnp.exp(a.x) - jnp.exp(a.old) >= -a.threshold, a.r, _to_reference(a)),
    ),
    "nft": View(
        "0 where log r >= 10", "right: r / max(r, clamp_positive); wrong: r / max((1 - q r) / (1 - q), clamp_negative), q the success rate",
        "w where right, -w neg_weight q / (1 - q) where wrong; w = 1, 1 - q, sqrt((1 - q) / q)", lambda a: negative_aware(a, a.d),
    ),
    "gspo_token": View(
        f"{BEYOND}, with s for r", "s = exp(mean over the row of log r)", "A", _gspo_token
    ),
    "vespo": View("1", "exp(lam + k log W - lam W), W = exp(sum over the row of log r)", "A", _vespo),
    "k1": View("1", "1", "-1", lambda a: (1.0, 1.0, -1.0)),
    "k2": View("1", "1", "log(pi_ref / pi)", lambda a: (1.0, 1.0, _to_reference(a))),
    "k3": View("1", "1", "pi_ref / pi - 1", lambda a: (1.0, 1.0, jnp.expm1(_to_reference(a)))),
    "k1_value_k2_gradient": View("1", "1", "log(pi_ref / pi)", lambda a: (1.0, 1.0, _to_reference(a))),
    "k3_value_k2_gradient": View("1", "1", "log(pi_ref / pi)", lambda a: (1.0, 1.0, _to_reference(a))),
    "importance_k3": View("1", "r", "log(pi_ref / pi)", lambda a: (1.0, a.r, _to_reference(a))),
    "absolute_log_ratio": View("1", "1", "-sign(log r)", lambda a: (1.0, 1.0, -jnp.sign(a.d))),
}  # fmt: skip
