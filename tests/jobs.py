"""Tiny jobs that the tests of the core share: one-digit sums, a decoder of one layer, and rollouts made by hand."""

import importlib

import jax
import numpy as np

from pojax.build import Job, build
from pojax.config import override
from pojax.types import Rollout

METHODS = ("bnpo", "dapo", "dr_grpo", "grpo", "reinforce", "reinforce_moving", "remax", "rloo", "spo_single_stream")
PROMPTS, SAMPLES, S, T = 8, 4, 4, 3  # B = 32 rows
ROWS = PROMPTS * SAMPLES
GROUP = dict(
    curricula=("uniform", {}),
    rollouts=("independent", dict(samples=SAMPLES)),
    rewards=[("weighted_sum", dict(weights=dict(correct=1.0)))],
    advantages=[("group_normalize", {})],
    losses=[("ppo_clip", dict(epsilon=0.2))],
    aggregate="token_mean",
)


def tiny(name="grpo", method=None, **changes):
    """The config of a method cut down to what compiles quickly; `method` replaces its method, `changes` are overrides (__ for a dot)."""
    config = importlib.import_module(f"configs.{name}").get_config()
    if method is not None:
        config.method = method
    small = {
        "task": ("arithmetic", dict(digits=1, validation=5, held_out=5)),
        "model": ("qwen2", dict(hidden=16, layers=1, heads=2, kv_heads=2, mlp=32, tie_embeddings=True)),
        "prompt_tokens": S,
        "response_tokens": T,
        "batch_prompts": PROMPTS,
        "warm_start": None,
        "optimizer": ("sgd", dict(learning_rate=0.1)),
        "run.diagnostics": False,
    }
    rollouts = config.method.get("rollouts")
    if method is None and config.method.get("family") != "supervised":
        inner = f"method.rollouts.{rollouts[0]}.inner.samples" if "inner" in rollouts[1] else "method.rollouts.samples"
        alone = rollouts[1].get("samples") == 1
        small |= {"batch_prompts": ROWS} if alone else {inner: SAMPLES}
    return override(config, small | {key.replace("__", "."): value for key, value in changes.items()})


def job(config, devices=1) -> Job:
    """The config made runnable on the first `devices` devices."""
    return build(config, say=lambda line: None, devices=jax.devices()[:devices])


def leaves(tree) -> np.ndarray:
    """All numbers of a tree as one float64 vector."""
    return np.concatenate([np.asarray(x, np.float64).reshape(-1) for x in jax.tree.leaves(jax.device_get(tree))])


def distance(a, b) -> float:
    """Relative distance of two trees in the norm over all their numbers."""
    return float(np.linalg.norm(leaves(a) - leaves(b)) / np.linalg.norm(leaves(b)))


def rollout(block=SAMPLES, seed=0, junk=np.nan, dtype=np.float32, **fields) -> Rollout:
    """B = 32 ragged rows with everything that makes masks matter.

    Row 1 has no token that counts; rows 2 and 3 and the whole third block of 4 are out; what is masked or out holds `junk`.
    """
    rng = np.random.default_rng(seed)
    lengths = rng.integers(1, T + 1, ROWS)
    lengths[1] = 0
    mask = np.arange(T) < lengths[:, None]
    groups = np.repeat(rng.permutation(ROWS // block) + 5, block).astype(np.int32)
    out = np.isin(np.arange(ROWS), [2, 3, 8, 9, 10, 11])
    groups[out] = -1
    counts = mask & ~out[:, None]

    def floats(x, where):
        return np.where(where, x, junk).astype(dtype)

    old = -rng.uniform(2.0, 4.0, (ROWS, T))
    return Rollout(
        prompt_tokens=rng.integers(2, 12, (ROWS, S)).astype(np.int32),
        prompt_mask=np.arange(S) >= rng.integers(0, 2, (ROWS, 1)),
        tokens=rng.integers(1, 12, (ROWS, T)).astype(np.int32),
        mask=mask,
        groups=groups,
        prompt_index=rng.permutation(35)[:ROWS].astype(np.int32),
        rollout_logprobs=floats(old + rng.normal(0, 0.1, (ROWS, T)), counts),
        old_logprobs=floats(old, counts),
        old_entropy=floats(np.full((ROWS, T), 2.0), counts),
        temperature=floats(rng.uniform(0.7, 1.3, ROWS), ~out),
        policy_step=np.zeros(ROWS, np.int32),
        truncated=lengths == T,
        components={
            "correct": floats(rng.integers(0, 2, ROWS), ~out),
            "format": floats(rng.integers(0, 2, ROWS), ~out),
            "difficulty": rng.integers(0, 2, ROWS).astype(np.int32),
            **fields.pop("components", {}),
        },
        labels=fields.pop("labels", {}),
        block=block,
        **fields,
    )
