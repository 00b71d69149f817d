"""What a step says about itself: pure functions from arrays to named numbers, the file with the samples of a step, rows to be read."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Shaped

from pojax import types
from pojax.groups import all_equal, group_size, inside
from pojax.numerics import counts, floating, log_ratio, masked

__all__ = ["policy_metrics", "readable_rows", "rollout_metrics", "write_samples"]

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


# ---- rows that a person can read

# What of a token is kept: its name, and the fields that it is the difference of (the second may be missing).
PER_TOKEN = (
    ("advantage", "advantages", None),
    ("log_ratio", "logprobs", "old_logprobs"),  # of the learner, when the loss last read the row, to the policy that sampled
    ("log_ratio", "start_logprobs", "old_logprobs"),  # where the loss reads no log-probabilities
    ("log_ratio_sampling", "old_logprobs", "rollout_logprobs"),  # what truncation and processors changed
    ("log_ratio_ref", "old_logprobs", "ref_logprobs"),
    ("entropy", "old_entropy", None),
)
UNFINISHED = "\ufffd"  # what a part of a character reads as


def readable_rows(
    fields: Mapping[str, Shaped[ArrayLike, "..."]],
    decode: Callable[[Sequence[int]], str],
    *,
    components: Sequence[str] = (),
    rows: int = 16,
    tokens: int = 1024,
) -> list[dict[str, Any]]:
    """The first rows of a step as JSON has them; what is not finite is None, numbers are rounded to 4 digits.

    Of each row: prompt, response (what the policy wrote), tokens (the text that each one adds), mask (1 where the policy chose), group
    (-1: out), prompt_index, length, truncated, reward, components; per token, where `fields` has what it needs: advantage,
    log_ratio (learner to sampling policy), log_ratio_sampling (of that policy to what was really sampled from, where they differ),
    log_ratio_ref (to the reference), entropy (nats). Tokens behind the first `tokens` are counted in `cut`.
    """
    wanted = {"prompt_tokens", "prompt_mask", "tokens", "mask", "groups", "prompt_index", "rewards", "truncated", *components}
    wanted |= {name for _, *names in PER_TOKEN for name in names if name}
    arrays = {name: np.asarray(fields[name])[:rows] for name in sorted(wanted) if fields.get(name) is not None}
    return [_readable(i, arrays, decode, components, tokens) for i in range(len(arrays["tokens"]))]


def _readable(
    i: int, arrays: Mapping[str, np.ndarray], decode: Callable[[Sequence[int]], str], components: Sequence[str], limit: int
) -> dict[str, Any]:
    mask = arrays["mask"][i].astype(bool)
    end = int(np.max(np.nonzero(mask)[0], initial=-1)) + 1
    ids, shown = arrays["tokens"][i, :end].tolist(), min(end, limit)
    prompt = arrays["prompt_tokens"][i][arrays["prompt_mask"][i].astype(bool)].tolist()
    row: dict[str, Any] = {
        "prompt": decode(prompt), "response": decode([t for t, chosen in zip(ids, mask, strict=False) if chosen]),
        "tokens": list(_pieces(ids[:shown], decode)), "mask": mask[:shown].astype(int).tolist(), "cut": end - shown,
        "group": int(arrays["groups"][i]), "prompt_index": int(arrays["prompt_index"][i]), "length": int(mask.sum()),
        "components": {name: _number(np.mean(_of_row(arrays[name][i], mask))) for name in components},
    }  # fmt: skip
    if "truncated" in arrays:
        row["truncated"] = bool(arrays["truncated"][i])
    if "rewards" in arrays:
        row["reward"] = _number(np.sum(_of_row(arrays["rewards"][i], mask)))
    for name, first, second in PER_TOKEN:
        if name in row or first not in arrays or (second is not None and second not in arrays):
            continue
        of_row = [np.broadcast_to(arrays[n][i], mask.shape)[:shown].astype(float) for n in (first, second) if n is not None]
        values = of_row[0] if second is None else of_row[0] - of_row[1]
        if name != "log_ratio_sampling" or np.any(values[mask[:shown]] != 0):
            row[name] = [_number(v) if chosen else None for v, chosen in zip(values, mask, strict=False)]
    return row


def _of_row(value: Any, mask: np.ndarray) -> np.ndarray:
    """A row's number, or its numbers: those of the tokens that the policy chose where there is one for each."""
    value = np.asarray(value, float)
    return value[mask] if value.shape == mask.shape and mask.any() else value


def _number(value: Any) -> float | None:
    return float(f"{value:.4g}") if np.isfinite(value) else None


def _pieces(ids: Sequence[int], decode: Callable[[Sequence[int]], str]) -> Iterator[str]:
    """The text that every token adds to those before it; a part of a character adds nothing until it is complete.

    Only a few tokens are decoded at a time, with those before them: a tokenizer may drop a space at the start of a text.
    """
    start = read = 0
    for at in range(1, len(ids) + 1):
        text = decode(ids[start:at])
        if text.endswith(UNFINISHED) and at < len(ids) and at - read < 4:
            yield ""
            continue
        yield text[len(decode(ids[start:read])) :]
        start, read = read, at
