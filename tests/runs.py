"""Whole runs that take seconds: a decoder of one layer on one-digit sums, as a config file for commands and as a function for tests."""

import contextlib
import dataclasses
import functools
import importlib
import os
import subprocess
import sys
from pathlib import Path

import jax

from pojax import evaluate, tasks, train
from pojax.config import override
from pojax.tasks.tokenizers import Characters

ROOT = Path(__file__).parents[1]
METHODS = ("bnpo", "grpo", "spo_single_stream", "sft", "remax")


def get_config(preset="bnpo", **changes):
    """The config of a method, cut down; `changes` are overrides (__ for a dot)."""
    config = importlib.import_module(f"configs.{preset}").get_config()
    small = {
        "task": ("arithmetic", dict(digits=1, validation=5, held_out=8)),
        "model": ("qwen2", dict(hidden=16, layers=1, heads=2, kv_heads=2, mlp=32, tie_embeddings=True)),
        "prompt_tokens": 4,
        "response_tokens": 3,
        "batch_prompts": 32 if config.method["rollouts"][1].get("samples") == 1 else 8,
        "evaluation": dict(problems=8, samples=2, validation_problems=5),
        "run.steps": 4,
        "run.checkpoint_every": 2,
        "run.eval_every": 2,
        "run.log_samples_every": 3,
        "optimizer": ("adamw", dict(learning_rate=3e-3)),
    }
    if preset != "sft":  # a policy that has learned for three steps is never right: let it be paid for something that it does
        small["method.rewards.weighted_sum.weights"] = dict(correct=1.0, difficulty=0.1, format=1.0)
    if config.method["rollouts"][1].get("samples", 1) > 1:
        small["method.rollouts.samples"] = 4
    if preset != "sft":
        small["warm_start"] = config.warm_start.to_dict() | dict(steps=3, batch_prompts=8, optimizer=("adamw", dict(learning_rate=1e-2)))
    return override(config, small | {key.replace("__", "."): value for key, value in changes.items()})


@contextlib.contextmanager
def on_devices(n):
    """`train.run` and `evaluate` on the first n of the devices of this process."""
    build, subject = train.build, evaluate.subject
    train.build, evaluate.subject = (functools.partial(f, devices=jax.devices()[:n]) for f in (build, subject))
    try:
        yield
    finally:
        train.build, evaluate.subject = build, subject


def environment(devices=1):
    """The environment of a process with as many simulated devices; the cache of compiled programs is that of the tests."""
    path = os.pathsep.join((str(ROOT), str(ROOT / "tests")))
    return os.environ | {"XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}", "PYTHONPATH": path}


def command(*arguments, module="train"):
    """A command in a process of its own, with one device."""
    line = [sys.executable, "-m", f"pojax.{module}", *arguments]
    return subprocess.Popen(line, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT)


def finish(process, timeout=120):
    """(exit code, stdout, stderr) of a command."""
    out, err = process.communicate(timeout=timeout)
    return process.returncode, out, err


def broken_sums():
    """One-digit sums judged on the host by a verifier that raises for some responses and gives NaN for others."""

    def breaking(task):
        def verify(i, sample):
            verdict = task.verify(i, sample)
            first = int(sample.tokens[0]) % 4
            if first == 0:
                raise KeyError(f"no such\nthing as {sample.text!r}")
            return verdict | ({"correct": float("nan")} if first == 1 else {"format": float(first == 2)})  # what is left differs in reward

        return dataclasses.replace(task, verify=verify, verify_tokens=None)

    return {split: breaking(task) for split, task in tasks.arithmetic(digits=1, validation=5, held_out=8).items()}


def sums(*, alphabet=None, long=None):
    """One-digit sums with another alphabet, or with one character too many in the prompts of a split."""
    splits = tasks.arithmetic(digits=1, validation=5, held_out=8)
    if alphabet is not None:
        tokenizer = Characters(alphabet)
        return {split: dataclasses.replace(task, tokenizer=tokenizer) for split, task in splits.items()}
    task = splits[long]
    return splits | {long: dataclasses.replace(task, prompt=lambda i: f"{task.prompt(i)}=")}
