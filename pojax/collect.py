"""Rewards of samples for every prompt of a split, and the optimal value that they give, as data-set columns.

`python -m pojax.collect --config=configs/a_star_po.py --config.init_from=RUN --out=v_star.npz [--samples=8] [--beta=0.5] [--split=train]`

The samples are those of the policy that training would start from: the parameters of `init_from`, or new ones. The file is read by the
task `with_columns`; see configs/a_star_po.py.
"""

import functools
import math
import pathlib
import sys
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from pojax.advantages import a_star_value
from pojax.binding import ConfigError, resolve
from pojax.build import Job, build
from pojax.evaluate import Evaluator
from pojax.learners import updates
from pojax.learners.services import make_services
from pojax.learners.state import first_tables
from pojax.rollouts import assemble
from pojax.tasks.columns import fingerprint
from pojax.types import Rollout
from pojax.workdir import load_init_from

OPTIONS = ("out", "samples", "beta", "split")


def main(argv: list[str] | None = None) -> int:
    from pojax import commands

    def body() -> None:
        given = sys.argv[1:] if argv is None else argv
        own = {name: value for name, _, value in (a.removeprefix("--").partition("=") for a in given) if name in OPTIONS}
        rest = [a for a in given if a.removeprefix("--").partition("=")[0] not in OPTIONS]
        config = commands.parse(rest, "collect").config
        print(collect(config, **own, say=functools.partial(print, file=sys.stderr)))

    return commands.run(body)


def collect(
    config: Any,
    out: str | None = None,
    samples: str = "8",
    beta: str = "0.5",
    split: str = "train",
    *,
    say: Callable[[str], None] = print,
) -> str:
    """Sample every prompt of a split `samples` times, reward the responses by the method's `rewards`, and write `out`, an .npz file.

    Its arrays, for the N rows of the task's split: v_star [N] (`a_star_value` with beta) and rewards [N, samples], NaN where a response
    could not be scored, where none of a prompt could, and for prompts that the config drops; prompts, a fingerprint of the rows.
    ConfigError for options that cannot be.
    """
    if not (samples.isdecimal() and int(samples) > 0):
        raise ConfigError(f"--samples: found {samples!r}, allowed: a whole number of 1 or more")
    try:
        weight = float(beta)
    except ValueError as error:
        raise ConfigError(f"--beta: found {beta!r}, allowed: a number") from error
    if out is None or not out.endswith(".npz"):
        raise ConfigError(f"--out: found {out!r}, allowed: the name of a file that ends in .npz")
    job = build(config, say=say)
    if split not in job.tasks:
        raise ConfigError(f"--split: found {split!r}, allowed: {', '.join(job.tasks)}")
    if job.program.family == "supervised":
        raise ConfigError("method.family: a supervised method has no rewards, allowed: group")
    rewards, rows = sample_rewards(job, _parameters(job, say), split, int(samples))
    scored = np.isfinite(rewards)
    groups = np.where(scored, np.arange(len(rewards), dtype=np.int32)[:, None], -1)
    values = np.asarray(a_star_value(np.where(scored, rewards, 0.0).reshape(-1), groups.reshape(-1), beta=weight)).reshape(rewards.shape)
    # Rows that could not be scored hold 0; the others of a prompt hold its value.
    v_star = np.where(scored.any(axis=1), values[np.arange(len(rewards)), scored.argmax(axis=1)], np.nan)
    task = job.tasks[split]
    columns = {"v_star": np.full(task.size, np.nan, np.float32), "rewards": np.full((task.size, int(samples)), np.nan, np.float32)}
    columns["v_star"][rows], columns["rewards"][rows] = v_star, rewards
    if jax.process_index() == 0:
        with open(out, "wb") as file:
            np.savez(file, prompts=fingerprint(task), samples=int(samples), beta=weight, **columns)  # type: ignore[arg-type]
    return (
        f"V* of {np.isfinite(v_star).sum()} {split.replace('_', '-')} prompts from {samples} samples each: mean {np.nanmean(v_star):.3f}; "
        f"mean reward {np.nanmean(rewards):.3f}\n{pathlib.Path(out)}"
    )


def _parameters(job: Job, say: Callable[[str], None]) -> Any:
    """{role: parameters} that training of this config would start from, but for a warm start, which is not run here."""
    params = job.init().params
    if job.config["init_from"] is None:
        if job.warm_steps:
            say("the warm start of this config is not run: name a run that has it, --config.init_from=WORKDIR")
        return params
    return updates.with_parts(params, load_init_from(job, say))


def sample_rewards(job: Job, params: Any, split: str, samples: int) -> tuple[np.ndarray, np.ndarray]:
    """(rewards [N, samples], rows [N] of the task) of responses to every prompt of a split, sampled at temperature 1, not truncated."""
    evaluator = Evaluator(job, split, job.tasks[split].size, samples, greedy=False)
    source, prompts_of_unit = evaluator.source, math.lcm(samples, job.layout.row_shards()) // samples
    batch = prompts_of_unit * max(1, min(evaluator.most_rows // samples, source.size) // prompts_of_unit)
    reward = jax.jit(_reward_service(job, source, params))
    key, number = jax.random.key(evaluator.seed), np.tile(np.arange(samples), batch)
    found = np.zeros((source.size, samples), np.float32)
    for start in range(0, source.size, batch):
        at = np.minimum(np.arange(start, start + batch), source.size - 1).astype(np.int32)  # the last batch repeats its last prompt
        every = np.repeat(at, samples)
        keys = jax.vmap(lambda i, n: jax.random.fold_in(jax.random.fold_in(key, i), n))(jnp.asarray(every), jnp.asarray(number))
        responses = evaluator.sample_rows(params, every, keys, np.ones(len(every), jnp.result_type(float)))
        components = {**evaluator.verify(every, responses), **{name: values[every] for name, values in source.columns.items()}}
        prompts = jax.tree.map(lambda x, at=at: jnp.asarray(x[at]), source.prompts)
        rollout = assemble(jnp.asarray(at), prompts, responses, components, per_prompt=samples, temperature=1.0)
        rewards = np.where(np.asarray(rollout.groups) >= 0, np.asarray(reward(rollout)), np.nan).reshape(batch, samples)
        found[start : start + batch] = rewards[: source.size - start]
    return found, source.rows


def _reward_service(job: Job, source: Any, params: Any) -> Callable[[Rollout], Any]:
    """The method's bound rewards, at the hyper-parameters of the first iteration; the policy, its copies and its start are one."""
    program, learner = job.program, job.phases[-1].learner
    step, key = jnp.zeros((), jnp.int32), jax.random.key(job.config["seed"])
    tables = first_tables(program)
    values = resolve(program.numbers, learner.hyper, step)
    context = updates.Context(program, job.model, job.layout, values, {**program.sizes, **tables, "step": step, "key": key}, key)
    trees = dict.fromkeys(("", "start", *program.copies), params)
    reward: Callable[[Rollout], Any] = make_services(source, context, params, trees, step, None)["reward"]
    return reward


if __name__ == "__main__":
    sys.exit(main())
