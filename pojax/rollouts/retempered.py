"""Further rows for some of the prompts, sampled at another temperature."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from pojax.annotations import Hyper
from pojax.checks import check_range
from pojax.rollouts.arrangements import independent
from pojax.rollouts.rows import concatenate, mark_added
from pojax.types import Rollout, Samples


def retempered(
    key: Any,
    indices: Any,
    render: Any,
    sample: Any,
    verify: Any,
    evaluate: Any,
    *,
    inner: Callable[..., Rollout],
    temperature: Hyper,
    parts: int = 4,
    anchor: str = "policy",
) -> Rollout:
    """`inner`, and behind it as many rows again for the first of `parts` parts of the prompts, sampled at `temperature`.

    The added rows are groups of their own (component `retempered` 1, `sampled` 0). temperature: a number, a schedule, or a table that a
    tracker writes. anchor: what the learner holds them against: "policy", its own log-probabilities at temperature 1, without a correction
    for the temperature that sampled (one forward pass over the added rows); "sampler", the distribution that sampled, at its temperature.
    rollout_logprobs are those of the sampler in both cases.
    Raises ValueError for parts that leave no prompt, a negative temperature and another anchor.
    Source: AEPO, arXiv 2510.08141, and its released code (the first quarter of the prompts).
    """
    check_range("retempered", "anchor", anchor, "{policy, sampler}")
    check_range("retempered", "temperature", temperature, "[0, inf)")
    chosen = indices.shape[0] // parts if parts > 0 else 0
    if chosen < 1:
        raise ValueError(f"retempered: parts is {parts}, allowed: 1 to {indices.shape[0]}, the number of prompts")
    fresh, index = inner(key=jax.random.fold_in(key, 0), indices=indices), indices[:chosen]
    again = independent(jax.random.fold_in(key, 1), index, render, sample, verify, samples=fresh.block, temperature=temperature)
    if anchor == "policy":
        assert again.rollout_logprobs is not None and again.truncated is not None
        ones = jnp.ones(again.tokens.shape[0], jnp.result_type(float))
        drawn = Samples(again.tokens, again.mask, ~again.truncated, again.rollout_logprobs, again.rollout_logprobs)
        own = jnp.where(again.mask, evaluate(render(index), drawn, ones), 0.0)
        again = dataclasses.replace(again, old_logprobs=own, temperature=ones)
    return concatenate(*mark_added(fresh, again, "retempered"))
