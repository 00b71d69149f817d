"""Pass@1 and more of a run's policy: what the loop calls, and `python -m pojax.evaluate --workdir=... [--split=held_out] [--samples=8]`."""

import dataclasses
import functools
import pathlib
import sys
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from pojax import checkpointing, evaluation
from pojax.binding import ConfigError
from pojax.build import Job, build
from pojax.evaluation import Report
from pojax.learners import services
from pojax.rollouts.turns import play_from
from pojax.types import Prompts, Samples
from pojax.workdir import RECORD, read_json, write_json

BATCH_ROWS = 512
SHOWN = 4  # sample answers in the report


class Evaluator:
    """Measures parameters on one split; compiled once. Sampled without truncation, whatever the training samples are cut by.

    Of a task with an environment, a sample is an episode of at most `evaluation.turns` turns of `evaluation.action_tokens` tokens.
    """

    def __init__(self, job: Job, split: str, problems: int, samples: int, greedy: bool = True) -> None:
        task, config = job.tasks[split], job.config
        self.source = services.make_source(
            task, prompt_tokens=config["prompt_tokens"], response_tokens=config["response_tokens"], drop_long=config["drop_long_prompts"],
            solutions=False, processor=None, entropy=False, say=job.source.say,
        )  # fmt: skip
        self.indices = np.arange(min(problems, self.source.size))
        self.samples, self.greedy, self.seed = samples, greedy, job.config["seed"]
        shards = job.layout.row_shards()
        self.rows = -(-min(BATCH_ROWS, len(self.indices) * (samples + greedy)) // shards) * shards
        everywhere = job.layout.replicated()

        samplers = services.make_samplers(self.source, job.layout, job.model["policy"])
        turns, action_tokens = (config["evaluation"].get(key, 1) for key in ("turns", "action_tokens"))

        def draw(params: Any, keys: Any, rows: Any, prompts: Prompts, temperature: Any) -> Samples:
            if task.environment is None:
                return samplers.sample(params, keys, prompts, temperature=temperature, end_tokens=self.source.end_tokens)
            sample, extend = (functools.partial(f, params, end_tokens=self.source.end_tokens) for f in samplers)
            start = task.environment.reset(rows)
            return play_from(start, sample, extend, task.environment, prompts, keys, temperature, turns, action_tokens).rows

        self._draw = jax.jit(draw, out_shardings=everywhere)  # every process sees every row: verdicts are counted on the host
        self._verify = (
            jax.jit(lambda indices, samples: services.verify_on_device(self.source, indices, samples)) if self.source.on_device else None
        )

    def sample_rows(self, params: Any, indices: Any, keys: Any, temperature: Any) -> Samples:
        at = np.asarray(indices)
        prompts = jax.tree.map(lambda x: x[at], self.source.prompts)
        return self._draw(params["policy"], keys, self.source.rows[at], prompts, jnp.asarray(temperature))

    def verify(self, indices: Any, samples: Samples) -> Any:
        return self._verify(indices, samples) if self._verify else services.verify_on_host(self.source, indices, samples)

    def texts(self, _: Any, samples: Samples) -> list[str]:
        decode, tokens, mask = self.source.task.tokenizer.decode, np.asarray(samples.tokens), np.asarray(samples.mask)
        return [decode(row[chosen].tolist()) for row, chosen in zip(tokens, mask, strict=True)]

    def __call__(self, params: Any, *, votes: bool = False) -> Report:
        return evaluation.evaluate(
            lambda i, k, t: self.sample_rows(params, i, k, t), self.verify, self.indices,
            samples=self.samples, greedy=self.greedy, seed=self.seed, batch_rows=self.rows, answers=self.texts if votes else None,
        )  # fmt: skip

    def examples(self, params: Any) -> list[dict[str, str]]:
        """A sampled answer to each of the first problems of the split."""
        at = np.resize(self.indices[:SHOWN], self.rows)
        keys = jax.random.split(jax.random.key(self.seed), self.rows)
        texts = self.texts(at, self.sample_rows(params, at, keys, np.ones(self.rows, jnp.result_type(float))))
        prompts = [self.source.task.prompt(int(self.source.rows[i])) for i in at[:SHOWN]]
        return [{"prompt": p, "response": t} for p, t in zip(prompts, texts, strict=False)]


def report_of(evaluator: Evaluator, params: Any, votes: bool = True) -> dict[str, Any]:
    """A report as JSON, with sample answers."""
    report = evaluator(params, votes=votes)
    return {**dataclasses.asdict(report), "examples": evaluator.examples(params)}


def headline(report: dict[str, Any], split: str = "held_out") -> str:
    low, high = report["interval"]
    counted = f"{report['problems']} {split.replace('_', '-')} problems x {report['samples']} samples"
    return f"pass@1 {report['pass_at_1']:.1%} [{low:.1%}, {high:.1%}], greedy {report['greedy']:.1%} ({counted})"


def show_examples(before: dict[str, Any] | None, after: dict[str, Any], say: Callable[[str], None]) -> None:
    for i, example in enumerate(after["examples"]):
        earlier = f"before: {before['examples'][i]['response']!r}   " if before else ""
        say(f"  {example['prompt']!r}   {earlier}after: {example['response']!r}")


def main(argv: list[str] | None = None) -> int:
    from pojax import commands

    def body() -> None:
        given = sys.argv[1:] if argv is None else argv
        print(evaluate_workdir(**commands.options(given, ("workdir", "split", "samples", "problems"), "evaluate --workdir=...")))

    return commands.run(body)


def evaluate_workdir(workdir: str | None = None, split: str = "held_out", samples: str = "4", problems: str | None = None) -> str:
    """Measure the newest checkpoint of a run; also written to `evaluation_SPLIT.json` there. ValueError for a folder that holds no run."""
    if workdir is None:
        raise ConfigError(
            "--workdir is missing; usage: python -m pojax.evaluate --workdir=... [--split=held_out] [--samples=4] [--problems=512]"
        )
    folder = pathlib.Path(workdir)
    for name, value in (("samples", samples), ("problems", problems)):
        if value is not None and not (value.isdecimal() and int(value) > 0):
            raise ConfigError(f"--{name}: found {value!r}, allowed: a whole number of 1 or more")
    stored = read_json(folder / RECORD)
    if stored is None:
        raise ConfigError(f"--workdir={workdir}: holds no {RECORD}, so no run")
    say = functools.partial(print, file=sys.stderr)
    job = build(stored["config"], say=say)
    if split not in job.tasks:
        raise ConfigError(f"--split: found {split!r}, allowed: {', '.join(job.tasks)}")
    evaluator = Evaluator(job, split, int(problems) if problems else job.tasks[split].size, int(samples))
    params = checkpointing.load_params(folder / "checkpoints", job.abstract.params, say=say)
    report = report_of(evaluator, params)
    write_json(folder / f"evaluation_{split}.json", report)
    lines = [
        headline(report, split),
        f"pass@k {report['pass_at_k']}",
        f"maj@k {report['maj_at_k']}",
        f"length {report['length']:.1f} tokens, truncated {report['truncated']:.1%}",
    ]
    return "\n".join([*lines, f"{folder / f'evaluation_{split}.json'}"])


if __name__ == "__main__":
    sys.exit(main())
