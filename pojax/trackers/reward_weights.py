"""Weights of several rewards that follow how much the gradient of each agrees with that of all."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from pojax.annotations import Hyper
from pojax.checks import checked
from pojax.numerics import floating
from pojax.reductions import one_number
from pojax.trackers.tracker import Tracker

__all__ = ["RewardWeights", "mirror_ascent", "reward_weights"]


class RewardWeights(NamedTuple):
    """A weight for each reward by name, and the agreements since the last change of the weights, in the order of the sorted names."""

    weights: dict[str, Float[Array, ""]]
    total: Float[Array, "K"]
    number: Float[Array, ""]


@checked()
def mirror_ascent(weights: Float[ArrayLike, "K"], agreements: Float[ArrayLike, "K"], *, step_size: Hyper) -> Float[Array, "K"]:
    """A step of mirror ascent on the simplex: w_k <- softmax_k(log w_k + step_size * s_k).

    s_k = <g_k, sum_j g_j>, the agreement of reward k's gradient with the sum of all, its own included. step_size = learning rate / mu.
    Agreements of 0 leave the weights as they are.
    Source: Dynamic Reward Weighting, arXiv 2509.11452, gradient-based weight optimisation.
    """
    w = floating(weights)
    log_w = jnp.log(jnp.maximum(w, jnp.finfo(w.dtype).tiny))
    return jax.nn.softmax(log_w + one_number(step_size) * floating(agreements))


def init_reward_weights(*, terms: dict) -> RewardWeights:
    """Equal weights for the rewards that terms names, as in the paper. Raises ValueError where terms is empty.

    Source: Dynamic Reward Weighting, arXiv 2509.11452.
    """
    if not terms:
        raise ValueError("reward_weights: terms is {}, allowed: at least one {reward: place of its loss in the list}")
    dtype = jnp.result_type(float)
    return RewardWeights(
        {name: jnp.full((), 1.0 / len(terms), dtype) for name in sorted(terms)}, jnp.zeros(len(terms), dtype), jnp.zeros((), dtype)
    )


@checked(accumulation="[1, inf)")
def update_reward_weights(
    table: RewardWeights, gram: Float[ArrayLike, "J J"], *, terms: dict, step_size: Hyper = 0.1, accumulation: int = 1
) -> RewardWeights:
    """Add this iteration's agreements; every `accumulation` iterations a step of `mirror_ascent` with their mean, then start again.

    gram: products of the gradients of an update's loss terms, `<update>_gram`, such as "policy_gram": each term without its scale where
    that is one number, so that g_k is the gradient of reward k alone. terms: {reward: place of its term in `losses`, from 0}; other terms
    (KL) take no part. s_k = sum_j gram_kj over the rewards.
    step_size: learning rate / mu; 0.1 is 1e-6 / 1e-5 of the paper's run. A schedule may follow the learning rate, as the
    released code does.
    The weights count from the next iteration on (released code: in the same one, by a pass of its own). All trained parameters take part
    (released code: layers 10 to 25).
    Raises ValueError where a place is not in the list.
    Source: Dynamic Reward Weighting, arXiv 2509.11452, gradient-based weight optimisation, and its released code.
    """
    names, size = sorted(terms), np.shape(gram)[0]
    if any(not 0 <= terms[name] < size for name in names):
        raise ValueError(f"reward_weights: terms is {dict(terms)}, allowed: places 0 to {size - 1} of the update's losses")
    places = np.array([terms[name] for name in names])
    gram = jax.lax.stop_gradient(floating(gram))
    total, number = table.total + jnp.sum(gram[places][:, places], axis=1).astype(table.total.dtype), table.number + 1.0
    due = number >= accumulation
    old = jnp.stack([table.weights[name] for name in names])
    new = jnp.where(due, mirror_ascent(old, total / number, step_size=step_size), old).astype(old.dtype)
    weights = {name: new[i] for i, name in enumerate(names)}
    return RewardWeights(weights, jnp.where(due, 0.0, total), jnp.where(due, 0.0, number))


# Dynamic reward weighting by gradients: losses=[("negative_log_likelihood", dict(scale=["balance.weights.a", "a_advantages"])), ...],
#   trackers=dict(balance=("reward_weights", dict(gram="policy_gram", terms=dict(a=0, ...))))
reward_weights = Tracker(init_reward_weights, update_reward_weights)
