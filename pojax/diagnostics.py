"""What a step says about itself: pure functions from arrays to named numbers, and the file with the samples of a step."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Shaped

from pojax import types
from pojax.groups import all_equal, group_size, inside
from pojax.numerics import counts, floating, log_ratio, masked

__all__ = ["policy_metrics", "rollout_metrics", "write_samples"]

Scalars = dict[str, Float[Array, ""]]

# Fields that every rollout has, and that later stages write; what is left are the components.
NOUNS = frozenset(types.Rollout.__dataclass_fields__) | {"lengths", "keep", "rewards", "token_rewards", "advantages", "returns"}
OUTPUTS = ("_logprobs", "_values", "_entropy")  # how the fields end that a forward pass gives


def _mean(x: Shaped[ArrayLike, "..."], where: Shaped[ArrayLike, "..."]) -> Float[Array, ""]:
    return jnp.sum(masked(x, where)) / jnp.maximum(jnp.sum(counts(where)), 1)


def _max(x: Shaped[ArrayLike, "..."], where: Shaped[ArrayLike, "..."]) -> Float[Array, ""]:
    """The largest entry that counts; 0 where none does."""
    x = floating(x)
    return jnp.where(jnp.any(counts(where)), jnp.max(jnp.where(counts(where), x, -jnp.inf), initial=-jnp.inf), 0)


def _std(x: Shaped[ArrayLike, "..."], where: Shaped[ArrayLike, "..."]) -> Float[Array, ""]:
    return jnp.sqrt(_mean((masked(x, where) - _mean(x, where)) ** 2, where))


def _k3(logprobs: Float[ArrayLike, "B T"], other: Float[ArrayLike, "B T"], where: Shaped[ArrayLike, "B T"]) -> Float[Array, ""]:
    """Mean of r - 1 - log r with r = other / policy, on the policy's samples: an estimate of KL(policy, other) that is never negative."""
    difference = log_ratio(masked(other, where), masked(logprobs, where))
    return _mean(jnp.expm1(difference) - difference, where)


def rollout_metrics(
    fields: Mapping[str, Shaped[ArrayLike, "..."]],
    rewards: Float[ArrayLike, "B"],
    advantages: Float[ArrayLike, "B"] | Float[ArrayLike, "B T"],
    *,
    components: Sequence[str] | None = None,
) -> Scalars:
    """What the rows of a step look like; every statistic is over the rows that are in (group >= 0), 0 where there are none.

    rows_in; reward (mean), reward_std; components/NAME (mean; over tokens for [B, T]); effective_groups: share of groups whose rewards are
    not all equal; advantage_std, advantage_max (of |A|); truncated (share), length (mean, tokens), length_max; and as far as `fields` has
    what they need: entropy (mean over tokens, nats), k3_ref (of the sampling policy to the reference, nats per token), sampler_gap and
    sampler_gap_max (|start_logprobs - old_logprobs|: how far learner and sampler disagree about the same tokens).
    fields: a rollout's fields by name, "groups" and "mask" among them. components: names to average, default all that are no nouns.
    """
    is_in = inside(fields["groups"])
    tokens = counts(fields["mask"]) & is_in[:, None]
    advantages, size = jnp.asarray(advantages), group_size(fields["groups"])
    spread = is_in if advantages.ndim == 1 else tokens
    per_group = jnp.where(is_in, 1 / jnp.maximum(size, 1), 0)  # sums to 1 over a group: sums over rows become counts of groups
    lengths = jnp.sum(tokens, axis=1)
    metrics = dict(
        rows_in=jnp.sum(is_in),
        reward=_mean(rewards, is_in),
        reward_std=_std(rewards, is_in),
        effective_groups=jnp.sum(per_group * ~all_equal(rewards, fields["groups"])) / jnp.maximum(jnp.sum(per_group), 1),
        advantage_std=_std(advantages, spread),
        advantage_max=_max(jnp.abs(advantages), spread),
        length=_mean(lengths, is_in),
        length_max=_max(lengths, is_in),
    )
    if components is None:
        components = sorted(name for name in fields.keys() - NOUNS if not name.endswith(OUTPUTS))
    for name in components:
        value = jnp.asarray(fields[name])
        if value.ndim in (1, 2):
            if value.ndim == 2 and value.shape != tokens.shape:  # an axis of turns or budgets
                value = jnp.mean(value, axis=1)
            metrics[f"components/{name}"] = _mean(value, is_in if value.ndim == 1 else tokens)
    if "truncated" in fields:
        metrics["truncated"] = _mean(fields["truncated"], is_in)
    if "old_entropy" in fields:
        metrics["entropy"] = _mean(fields["old_entropy"], tokens)
    if {"old_logprobs", "ref_logprobs"} <= fields.keys():
        metrics["k3_ref"] = _k3(fields["old_logprobs"], fields["ref_logprobs"], tokens)
    if {"old_logprobs", "start_logprobs"} <= fields.keys():
        gap = jnp.abs(masked(fields["start_logprobs"], tokens) - masked(fields["old_logprobs"], tokens))
        metrics |= dict(sampler_gap=_mean(gap, tokens), sampler_gap_max=_max(gap, tokens))
    return {name: floating(value) for name, value in metrics.items()}


def policy_metrics(
    logprobs: Float[ArrayLike, "B T"],
    old_logprobs: Float[ArrayLike, "B T"],
    keep: Shaped[ArrayLike, "B T"],
    ref_logprobs: Float[ArrayLike, "B T"] | None = None,
) -> Scalars:
    """How far a policy is from the one that sampled, over the tokens that are kept; 0 where there are none.

    With r = exp(logprobs - old_logprobs): ratio (mean of r), ratio_max; k3_old = mean(r - 1 - log r), of old to policy in nats per token;
    effective_samples = (sum r)^2 / (n sum r^2), 1 where all tokens weigh the same; logprob_gap = mean |log r|, logprob_gap_max; with
    `ref_logprobs` k3_ref = mean(q - 1 - log q), q = exp(ref_logprobs - logprobs), of policy to reference.
    Source: k3 is the estimator of J. Schulman, "Approximating KL divergence" (2020).
    """
    keep = counts(keep)
    policy, old = masked(logprobs, keep), masked(old_logprobs, keep)
    difference = log_ratio(policy, old)
    ratio = jnp.where(keep, jnp.exp(difference), 0)
    weight = ratio / jnp.maximum(jnp.max(ratio, initial=0), jnp.finfo(ratio.dtype).tiny)  # its square cannot overflow
    metrics = dict(
        ratio=_mean(ratio, keep),
        ratio_max=_max(ratio, keep),
        k3_old=_k3(old, policy, keep),
        effective_samples=_mean(weight, keep) * jnp.sum(weight) / jnp.maximum(jnp.sum(weight**2), jnp.finfo(ratio.dtype).tiny),
        logprob_gap=_mean(jnp.abs(policy - old), keep),
        logprob_gap_max=_max(jnp.abs(policy - old), keep),
    )
    if ref_logprobs is not None:
        metrics["k3_ref"] = _k3(policy, ref_logprobs, keep)
    return {name: floating(value) for name, value in metrics.items()}


def write_samples(path: str | os.PathLike, fields: Mapping[str, Shaped[ArrayLike, "..."]], text: Sequence[str]) -> None:
    """Write the rows of a step to one compressed .npz: every field under its name and `text` as a unicode array; no pickle is needed.

    Half precision (bfloat16, fp8), which numpy files do not know, is widened to float32. The file appears whole or not at all.
    Raises ValueError where `text` has not one entry per row, or the path does not end with .npz.
    """
    path = Path(path)
    if path.suffix != ".npz":
        raise ValueError(f"samples: the file is {path.name}, allowed: a name that ends with .npz")
    rows = np.shape(fields["tokens"])[0]
    if len(text) != rows:
        raise ValueError(f"samples: found {len(text)} texts, allowed: {rows}, one per row")
    arrays: dict[str, Any] = {name: np.asarray(value) for name, value in fields.items()}
    arrays = {name: x if x.dtype.kind in "biuf" else x.astype(np.float32) for name, x in arrays.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}")
    np.savez_compressed(temporary, **arrays, text=np.array(text, np.str_))
    temporary.replace(path)
