"""The step of `workload.py` as a pojax config: GRPO with a k3 term, through the same functions as `python -m pojax.train`.

python -m benchmarks.pojax_step --steps=13 --pieces=8
"""

import argparse
import dataclasses
import pathlib
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np

sys.path[:0] = [str(pathlib.Path(__file__).parent), str(pathlib.Path(__file__).parent.parent)]
import workload as w  # noqa: E402

from configs import common  # noqa: E402
from pojax import config as configs  # noqa: E402
from pojax.build import build  # noqa: E402
from pojax.learners import updates  # noqa: E402
from pojax.tasks import Task  # noqa: E402


class Tokens:
    """Token ids written as numbers; the end token is outside the vocabulary, so every response has its full length."""

    vocab_size, pad, end = w.VOCAB, 0, w.VOCAB

    def encode(self, text):
        return [int(i) for i in text.split()]

    def decode(self, ids):
        return " ".join(map(str, ids))


def random_tokens():
    """Prompts of `workload.prompts`; the reward is the share of even tokens."""
    prompts = [" ".join(map(str, p)) for step in range(16) for p in w.prompts(step)]
    task = Task(
        name="random_tokens", split="train", size=len(prompts), tokenizer=Tokens(), fields={"correct": ()},
        prompt=lambda i: prompts[i], steps=lambda i: [],
        verify=lambda i, sample: {"correct": float(np.mean(sample.tokens % 2 == 0))},
        verify_tokens=lambda indices, tokens, mask: {"correct": jnp.mean((tokens % 2 == 0).astype(jnp.float32), axis=1)},
    )  # fmt: skip
    return {split: dataclasses.replace(task, split=split) for split in ("train", "validation", "held_out")}


def config(pieces, diagnostics=True):
    base = common.base("tiny")
    base.method = dict(
        curricula=("uniform", {}),
        rollouts=("independent", dict(samples=w.SAMPLES)),
        rewards=[("weighted_sum", dict(weights=dict(correct=1.0)))],
        advantages=[("group_normalize", dict(epsilon=1e-4))],
        losses=[("ppo_clip", dict(epsilon=w.CLIP_EPSILON)), ("k3", dict(scale=w.KL_COEFFICIENT))],
        aggregate="sequence_mean",
        microbatches=pieces,
    )
    adamw = dict(
        learning_rate=w.LEARNING_RATE,
        b1=w.ADAM_B1,
        b2=w.ADAM_B2,
        epsilon=w.ADAM_EPSILON,
        weight_decay=w.WEIGHT_DECAY,
        clip_norm=w.CLIP_NORM,
    )
    sizes = dict(
        hidden=w.HIDDEN, layers=w.LAYERS, heads=w.HEADS, kv_heads=w.KV_HEADS, mlp=w.MLP, rope_theta=w.ROPE_THETA, tie_embeddings=True
    )
    changes = {
        "task": ("benchmarks.pojax_step:random_tokens", {}), "model": ("qwen2", sizes), "optimizer": ("adamw", adamw),
        "batch_prompts": w.PROMPTS, "prompt_tokens": w.PROMPT_TOKENS, "response_tokens": w.RESPONSE_TOKENS,
        "warm_start": None, "run.diagnostics": diagnostics,
    }  # fmt: skip
    return configs.override(base, changes)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=13)
    parser.add_argument("--pieces", type=int, default=1, help="micro-batches of the update, and pieces of the reference pass")
    args = parser.parse_args()
    job = build(config(args.pieces))
    learner = job.phases[-1].learner
    state = job.init()
    reference = jax.jit(
        lambda context_fields, copies: updates.forward_in_pieces(scoring, copies, context_fields, ("ref_logprobs",), args.pieces)
    )
    scoring = updates.Context(learner.program, job.model, job.layout, {}, {}, None)
    for _ in range(args.steps):
        watch = w.Stopwatch()
        batch, source = learner.collect(state, learner.hyper)
        jax.block_until_ready(batch)
        watch.lap("generate")
        new, metrics = learner.train_step(dataclasses.replace(state, source=source), batch, learner.hyper)
        state = jax.block_until_ready(new)
        watch.lap("both")
        step = watch.last - watch.begin
        # The reference pass is part of the compiled step; alone it is timed once more, outside of it.
        fields = {n: v for n, v in batch.fields().items() if n in updates.DATA}
        watch.last = time.perf_counter()
        jax.block_until_ready(reference(fields, {"ref": state.copies["ref"]}))
        watch.lap("reference")
        both = watch.seconds.pop("both")
        watch.seconds["update"] = both - watch.seconds["reference"]
        watch.line(step=round(step, 6), reward=round(float(metrics["reward"]), 4))


if __name__ == "__main__":
    main()
