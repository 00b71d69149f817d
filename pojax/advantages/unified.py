"""Parts of the unified policy gradient estimator, and the gate that chooses between the two ends of it for every prompt.

References and masks depend on current log-probabilities and are constants of the gradient: rules of `per_minibatch`.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Int, Shaped

from pojax.annotations import Hyper, Mask, writes
from pojax.checks import checked
from pojax.groups import group_max, group_sum, inside
from pojax.losses.ratios import beyond, interval
from pojax.numerics import counts, floating, log_ratio, masked, per_row
from pojax.reductions import sequence_log_ratio

__all__ = [
    "capped_reference",
    "clip_stability",
    "demonstration_gate",
    "expert_advantages",
    "expert_reference",
    "sequence_reference",
    "shaping_stability",
]


@writes("stable")
@checked(epsilon="[0, inf]", epsilon_high="[0, inf]", level="{token, sequence}")
def clip_stability(
    logprobs: Float[ArrayLike, "B T"],
    old_logprobs: Float[ArrayLike, "B T"],
    advantages: Float[ArrayLike, "B"] | Float[ArrayLike, "B T"],
    mask: Mask,
    *,
    epsilon: Hyper = 0.2,
    epsilon_high: Hyper | None = None,
    level: str = "token",
) -> Float[Array, "B T"]:
    """Stabilisation mask of PPO's clip: 0 where A > 0 and r > 1 + epsilon_high, or A < 0 and r < 1 - epsilon, else 1; 0 where mask is 0.

    level "token": r = exp(logprob - old_logprob); "sequence" (GSPO): the geometric mean of the row's ratios. epsilon_high: default epsilon.
    Source: Towards a Unified View of LLM Post-Training, arXiv 2509.04419, table of instances (PPO, GRPO, GSPO).
    """
    advantages = per_row(floating(advantages), 2)
    move = log_ratio(logprobs, old_logprobs) if level == "token" else sequence_log_ratio(logprobs, old_logprobs, mask, mean=True)[:, None]
    low, high = beyond(jnp.exp(move), advantages, *interval(epsilon, epsilon_high))
    return floating(counts(mask) & ~(low | high))


@writes("reference_logprobs")
@checked(low="[0, inf)", high="(0, inf]")
def capped_reference(
    logprobs: Float[ArrayLike, "B T"], old_logprobs: Float[ArrayLike, "B T"], mask: Mask, *, low: Hyper = 0.0, high: Hyper = 5.0
) -> Float[Array, "B T"]:
    """Reference of CISPO: log of p / clip(r, low, high), so that p / p_ref is the capped ratio; 0 where mask is 0.

    low, high: bounds of the ratio r = exp(logprob - old_logprob) itself; verl's are 1 - epsilon and 1 + epsilon_high, TRL has no lower one.
    Source: Towards a Unified View of LLM Post-Training, arXiv 2509.04419; CISPO (MiniMax-M1), arXiv 2506.13585 (cap 5: ScaleRL).
    """
    logprobs = masked(jax.lax.stop_gradient(floating(logprobs)), mask)
    move = log_ratio(logprobs, masked(jax.lax.stop_gradient(floating(old_logprobs)), mask))
    return masked(logprobs - jnp.clip(move, jnp.log(per_row(low, 2)), jnp.log(per_row(high, 2))), mask)


@writes("reference_logprobs")
@checked()
def sequence_reference(logprobs: Float[ArrayLike, "B T"], old_logprobs: Float[ArrayLike, "B T"], mask: Mask) -> Float[Array, "B T"]:
    """Reference of GSPO: log of p / s, s the geometric mean of the row's ratios, so that p / p_ref = s at every token; 0 where mask is 0.

    Source: Towards a Unified View of LLM Post-Training, arXiv 2509.04419; GSPO, arXiv 2507.18071, eq. (7).
    """
    logprobs = jax.lax.stop_gradient(floating(logprobs))
    move = sequence_log_ratio(logprobs, jax.lax.stop_gradient(floating(old_logprobs)), mask, mean=True)
    return masked(logprobs - move[:, None], mask)


@writes("reference_logprobs")
@checked()
def expert_reference(
    logprobs: Float[ArrayLike, "B T"], old_logprobs: Float[ArrayLike, "B T"], expert: Shaped[ArrayLike, "B"], mask: Mask
) -> Float[Array, "B T"]:
    """Reference of a batch of both kinds: the policy itself on rows of experts (likelihood), old_logprobs on the others; 0 where mask is 0.

    expert: 1 on rows with a demonstration. Source: Towards a Unified View of LLM Post-Training, arXiv 2509.04419, table of instances.
    """
    own = counts(expert)[:, None]
    return masked(jnp.where(own, jax.lax.stop_gradient(floating(logprobs)), jax.lax.stop_gradient(floating(old_logprobs))), mask)


@checked()
def expert_advantages(
    advantages: Float[ArrayLike, "B"], expert: Shaped[ArrayLike, "B"], groups: Int[ArrayLike, "B"], *, value: Hyper = 1.0
) -> Float[Array, "B"]:
    """Advantages with `value` on rows of experts, as they are on the others; 0 for rows that are out.

    value 1 makes the unified estimator the likelihood there; another is the weight of the likelihood (beta of HPT).
    Source: Towards a Unified View of LLM Post-Training, arXiv 2509.04419, table of instances (SFT has advantage 1).
    """
    advantages = masked(advantages, inside(groups))
    return jnp.where(inside(groups) & counts(expert), per_row(value, 1), advantages)


@writes("stable")
@checked(gamma="(0, inf)")
def shaping_stability(
    logprobs: Float[ArrayLike, "B T"], reference_logprobs: Float[ArrayLike, "B T"], mask: Mask, *, gamma: Hyper = 0.1
) -> Float[Array, "B T"]:
    """Stabilisation factor of LUFFY's policy shaping f(x) = x / (x + gamma): f'(r) = gamma / (r + gamma)^2; 0 where mask is 0.

    r = exp(logprob - reference_logprob), the probability itself where the reference is 0. gamma is a probability.
    Source: LUFFY, arXiv 2504.14945 (gamma 0.1), as an instance in Towards a Unified View of LLM Post-Training, arXiv 2509.04419.
    """
    move = log_ratio(masked(logprobs, mask), masked(reference_logprobs, mask))
    ratio, gamma = jnp.exp(jax.lax.stop_gradient(move)), per_row(gamma, 2)
    return masked(gamma / (ratio + gamma) ** 2, mask)


@writes("keep")
@checked(gate="[0, inf)", form="{paper, code}")
def demonstration_gate(
    keep: Mask,
    correct: Shaped[ArrayLike, "B"],
    expert: Shaped[ArrayLike, "B"],
    groups: Int[ArrayLike, "B"],
    *,
    gate: Hyper = 0.0,
    form: str = "paper",
) -> Float[Array, "B T"]:
    """Learn each prompt by one of two ways: clear its demonstration where the policy solves it, else clear what the policy sampled.

    form "paper": solved where the mean of `correct` over the prompt's sampled rows is above gate (a rate); "code": where the number of
    sampled rows with correct > 0 is above gate (a count). With gate 0 both are: some row is right.
    expert: 1 on rows with a demonstration (arrangement `experts`). A prompt without one, and a prompt of which nothing was sampled, keeps
    what it has. Rows that are out are cleared. The two losses take where="sampled" and where="expert".
    Raises ValueError for another form and a negative gate.
    Source: HPT, Towards a Unified View of LLM Post-Training, arXiv 2509.04419, and its released code (gate 0, or 2 of 8).
    """
    is_in = inside(groups)
    shown, sampled = is_in & counts(expert), is_in & ~counts(expert)
    right = jnp.where(sampled, masked(correct, sampled) if form == "paper" else masked(correct, sampled) > 0.0, 0.0)
    number, solved = group_sum(sampled, groups), group_sum(right, groups)
    rate = solved / jnp.maximum(number, 1.0) if form == "paper" else solved
    by_reward = rate > per_row(gate, 1)
    both = (group_max(shown, groups) > 0.0) & (number > 0.0)
    return masked(keep, (is_in & (~both | (by_reward == sampled)))[:, None])
