"""Weights of prompts by how hard they are: fields that scale a loss term, so that a divisor never sees them."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Int, Shaped

from pojax.annotations import Hyper, writes
from pojax.checks import checked
from pojax.groups import group_mean, inside, whole_batch
from pojax.numerics import floating, masked, per_row
from pojax.reductions import masked_mean

__all__ = ["hard_prompt_weight", "size_weight"]

SMALLEST = 1e-6  # below it a base or a logarithm's argument is not taken


@writes("prompt_weight")
@checked(form="{exp, power, log}", power="[0, inf)", over="{group, batch}")
def hard_prompt_weight(
    rewards: Float[ArrayLike, "B"], groups: Int[ArrayLike, "B"], *, form: str = "exp", power: Hyper = 1.0, over: str = "group"
) -> Float[Array, "B"]:
    """Weight of a prompt that falls with the mean reward of its responses: phi_b = exp(1 - m_g), with m_g = mean_g r in [0, 1].

    form: "exp"; "power", (1.05 - m)^power; "log", -ln(0.02 + m), slightly negative at m = 1: the paper's alternatives. power is assumed 1.
    phi is 1 where all responses are perfect and e where all fail (exp). Name it as scale="prompt_weight" of the policy term; the KL term
    stays as it is. Rename rewards to weigh by a component (rewards="iou"). Zero for rows that are out.
    over: "group" (paper), or "batch", the mean over all rows, which is what the released code computes on each device.
    Raises ValueError for another form or over.
    Source: UniVG-R1, arXiv 2505.14231, difficulty-aware weight adjustment; alternatives and over="batch" from its released code.
    """
    is_in = inside(groups)
    mean = group_mean(rewards, groups if over == "group" else whole_batch(groups))
    if form == "exp":
        weight = jnp.exp(1.0 - mean)
    elif form == "power":
        weight = jnp.maximum(1.05 - mean, SMALLEST) ** per_row(power, 1)
    else:
        weight = -jnp.log(jnp.maximum(0.02 + mean, SMALLEST))
    return jnp.where(is_in, weight, 0.0)


@writes("prompt_weight")
@checked(offset="[0, inf)")
def size_weight(
    sizes: Shaped[ArrayLike, "B"], groups: Int[ArrayLike, "B"], *, offset: Hyper = 0.0, power: Hyper = -1.0
) -> Float[Array, "B"]:
    """Weight of a row by a number of its prompt, of mean 1 over the batch: w_b = v_b / mean(v), v_b = (offset + size_b)^power.

    sizes: not negative, such as the target box's share of the image; power -1 then weighs small targets more, which is assumed: the paper
    says "larger for smaller relative box" and the released code reads a finished column, which may be named as scale itself.
    power 1 with offset 1 weighs by a difficulty that counts from 0. Rows with offset + size not above 0 get 0 and are in no mean; zero
    for rows that are out. A constant of the gradient.
    Source: GUI-G1, arXiv 2505.15810, difficulty coefficient of the objective.
    """
    base = jax.lax.stop_gradient(floating(sizes) + per_row(offset, 1))
    on = inside(groups) & (base > 0.0)
    value = masked(jnp.where(on, base, 1.0) ** per_row(power, 1), on)
    mean = masked_mean(value, on)
    return jnp.where(on, value / jnp.where(mean > 0.0, mean, 1.0), 0.0)
