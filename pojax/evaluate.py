"""How often a policy is right: what the loop calls, and a command on a run or on any Hugging Face folder.

python -m pojax.evaluate --workdir=... [--split=held_out] [--samples=8]
python -m pojax.evaluate --model=FOLDER --task=gsm8k --path=... [--samples=8] [--compare=FOLDER]
"""

import dataclasses
import functools
import pathlib
import sys
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from pojax import checkpointing, commands, evaluation, pretrained
from pojax import config as configs
from pojax.binding import ConfigError
from pojax.build import Job, Subject, subject
from pojax.evaluation import Outcome, Report
from pojax.learners import services
from pojax.rollouts.turns import play_from
from pojax.types import Prompts, Samples
from pojax.workdir import RECORD, read_json, write_json

BATCH_ROWS = 512
BATCH_LOGITS = 2**25  # of one token of all rows: with a large vocabulary the rows are fewer
SHOWN = 4  # sample answers in the report
OPTIONS = (
    *("workdir", "model", "task", "path", "split", "samples", "problems", "prompt-tokens", "response-tokens", "temperature"),
    *("top-k", "top-p", "min-p", "seed", "dtype", "compare", "out"),
)
USAGE = (
    "evaluate --workdir=... | --model=FOLDER --task=gsm8k --path=... [--split=held_out] [--samples=4] [--problems=200] [--compare=FOLDER]\n"
    "[--prompt-tokens=512] [--response-tokens=512] [--temperature=1.0] [--top-k=0] [--top-p=1.0] [--min-p=0.0] [--seed=0]\n"
    "[--dtype=bfloat16] [--out=FILE.json] [--config.task.<keyword>=<value> ...]"
)


class Evaluator:
    """Measures parameters on one split; compiled once. Sampled whole, or by `truncation` (top_k, top_p, min_p), never by the run's own.

    Of a task with an environment, a sample is an episode of at most `evaluation.turns` turns of `evaluation.action_tokens` tokens.
    """

    def __init__(
        self, job: Job | Subject, split: str, problems: int, samples: int, greedy: bool = True, *, temperature: float | int = 1.0,
        truncation: Mapping[str, Any] | None = None,
    ) -> None:  # fmt: skip
        task, config = job.tasks[split], job.config
        self.source = services.make_source(
            task, prompt_tokens=config["prompt_tokens"], response_tokens=config["response_tokens"], drop_long=config["drop_long_prompts"],
            solutions=False, processor=None, entropy=False, say=job.say,
        )  # fmt: skip
        self.indices = np.arange(min(problems, self.source.size))
        self.samples, self.greedy, self.seed, self.temperature = samples, greedy, job.config["seed"], temperature
        shards = job.layout.row_shards()
        self.most_rows = min(BATCH_ROWS, max(1, BATCH_LOGITS // job.model["policy"].vocab_size))
        self.rows = -(-min(self.most_rows, len(self.indices) * (samples + greedy)) // shards) * shards
        everywhere, cut = job.layout.replicated(), dict(truncation or {})

        samplers = services.make_samplers(self.source, job.layout, job.model["policy"])
        turns, action_tokens = (config["evaluation"].get(key, 1) for key in ("turns", "action_tokens"))

        def draw(params: Any, keys: Any, rows: Any, prompts: Prompts, temperature: Any) -> Samples:
            if task.environment is None:
                return samplers.sample(params, keys, prompts, temperature=temperature, end_tokens=self.source.end_tokens, **cut)
            sample, extend = (functools.partial(f, params, end_tokens=self.source.end_tokens, **cut) for f in samplers)
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

    def measure(self, params: Any, *, texts: bool = False) -> Outcome:
        """Verdicts of every sample of every problem, with their texts where asked for."""
        return evaluation.measure(
            lambda i, k, t: self.sample_rows(params, i, k, t), self.verify, self.indices, samples=self.samples,
            temperature=self.temperature, greedy=self.greedy, seed=self.seed, batch_rows=self.rows, answers=self.texts if texts else None,
        )  # fmt: skip

    def summarize(self, outcome: Outcome) -> Report:
        return evaluation.summarize(outcome, seed=self.seed, vote=self.source.task.answer_in or str)

    def __call__(self, params: Any, *, votes: bool = False) -> Report:
        return self.summarize(self.measure(params, texts=votes))

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


def headline(report: Mapping[str, Any], split: str = "held_out") -> str:
    low, high = report["interval"]
    counted = f"{report['problems']} {split.replace('_', '-')} problems x {report['samples']} samples"
    return f"pass@1 {report['pass_at_1']:.1%} [{low:.1%}, {high:.1%}], greedy {report['greedy']:.1%} ({counted})"


def show_examples(before: dict[str, Any] | None, after: dict[str, Any], say: Callable[[str], None]) -> None:
    for i, example in enumerate(after["examples"]):
        earlier = f"before: {before['examples'][i]['response']!r}   " if before else ""
        say(f"  {example['prompt']!r}   {earlier}after: {example['response']!r}")


def main(argv: list[str] | None = None) -> int:
    def body() -> None:
        given, changes = commands.split_changes(sys.argv[1:] if argv is None else argv)
        print(evaluate_command(commands.options(given, OPTIONS, USAGE), changes))

    return commands.run(body)


def evaluate_command(options: Mapping[str, str], changes: Mapping[str, Any]) -> str:
    """Measure a run's newest checkpoint or a folder's model, write the results as JSON, and say them in a few lines.

    changes: {path: value} of the config. ConfigError for options that cannot be, and for folders that hold no run or no model.
    """
    given = commands.Options(options)
    if ("workdir" in options) == ("model" in options):
        raise ConfigError(f"--workdir or --model: found {'both' if 'model' in options else 'neither'}, allowed: one of them; usage: "
                          f"python -m pojax.{USAGE}")  # fmt: skip
    say = functools.partial(print, file=sys.stderr)
    samples = given.whole("samples", 4, least=1)
    tree = _tree_of_run(options["workdir"]) if "workdir" in options else _tree_of_model(given)
    for name in ("prompt_tokens", "response_tokens", "seed"):
        tree[name] = given.whole(name.replace("_", "-"), tree[name], least=0 if name == "seed" else 1)
    tree = configs.plain(configs.override(tree, changes))
    split = options.get("split", "held_out")

    def outcome(tree: dict[str, Any], params: Callable[[Subject], Any]) -> tuple[Evaluator, Outcome, Any]:
        found = subject(tree, say=say)
        if split not in found.tasks:
            raise ConfigError(f"--split: found {split!r}, allowed: {', '.join(found.tasks)}")
        problems = given.whole("problems", found.tasks[split].size, least=1)
        truncation = dict(top_k=given.whole("top-k", 0), top_p=given.number("top-p", 1.0), min_p=given.number("min-p", 0.0))
        evaluator = Evaluator(found, split, problems, samples, temperature=given.number("temperature", 1.0), truncation=truncation)
        weights = params(found)
        return evaluator, evaluator.measure(weights, texts=True), weights

    read = _params_of_run(options["workdir"], say) if "workdir" in options else _params_of_model
    evaluator, measured, params = outcome(tree, read)
    report = {**dataclasses.asdict(evaluator.summarize(measured)), "examples": evaluator.examples(params)}
    report |= {"by_length": evaluation.accuracy_by_length(measured), "by_problem": by_problem(evaluator, measured)}
    del params  # two models need not fit
    if "compare" in options:
        other_tree = {**tree, "model": (tree["model"][0], _model_of("compare", given))}
        _, other, _ = outcome(other_tree, _params_of_model)
        report["compare"] = {"with": options["compare"], **evaluation.compare(measured, other, seed=tree["seed"])}
    out = _out(options, split, tree)
    write_json(out, report)
    return "\n".join([*lines_of(report, split), str(out)])


def _tree_of_run(workdir: str) -> dict[str, Any]:
    stored = read_json(pathlib.Path(workdir) / RECORD)
    if stored is None or "config" not in stored:
        raise ConfigError(f"--workdir={workdir}: holds no {RECORD} of a run, so no run")
    return configs.plain(stored["config"])


def _tree_of_model(given: commands.Options) -> dict[str, Any]:
    """The config of an evaluation: a task, a folder, and sizes."""
    options = given.options
    if "task" not in options:
        raise ConfigError(f"--task is missing; usage: python -m pojax.{USAGE}")
    keywords = {"path": options["path"]} if "path" in options else {}
    return dict(
        seed=0, task=(options["task"], keywords), model=("llama2", _model_of("model", given)), prompt_tokens=512,
        response_tokens=512, drop_long_prompts=True, evaluation={}, init_from=None, mesh=dict(data=1, fsdp=-1, tensor=1),
    )  # fmt: skip


def _model_of(option: str, given: commands.Options) -> dict[str, Any]:
    """`config.model`'s keywords for the folder that an option names, which is not trained: weights in the dtype of products."""
    folder = given.options[option]
    dtype = given.options.get("dtype") or pretrained.dtype_of(folder, f"--{option}")
    return dict(folder=folder, dtype=dtype, param_dtype=dtype)


def _params_of_model(found: Subject) -> Any:
    folder = found.config["model"][1]["folder"]
    return {"policy": pretrained.load_params(folder, found.model["policy"], found.layout)}


def _params_of_run(workdir: str, say: Callable[[str], None]) -> Callable[[Subject], Any]:
    checkpoints = pathlib.Path(workdir) / "checkpoints"
    return lambda found: checkpointing.load_params(checkpoints, found.abstract_params(), say=say)


def _out(options: Mapping[str, str], split: str, tree: Mapping[str, Any]) -> pathlib.Path:
    if "out" in options:
        return pathlib.Path(options["out"])
    if "workdir" in options:
        return pathlib.Path(options["workdir"]) / f"evaluation_{split}.json"
    return pathlib.Path(f"evaluation_{pathlib.Path(options['model']).resolve().name}_{tree['task'][0]}_{split}.json")


def by_problem(evaluator: Evaluator, outcome: Outcome) -> list[dict[str, Any]]:
    """For every problem its row, its prompt, how many samples are right, their lengths, and a wrong answer where there is one."""
    task, texts, found = evaluator.source.task, outcome.texts or [], []
    for i, index in enumerate(outcome.indices.tolist()):
        row, right = int(evaluator.source.rows[index]), outcome.right[i]
        problem = {"row": row, "prompt": task.prompt(row), "right": int(right.sum()), "samples": right.size}
        problem |= {"lengths": outcome.lengths[i].tolist()}
        wrong = np.flatnonzero(~right)
        if wrong.size and texts:
            problem |= {"wrong": texts[i][wrong[0]], "solution": task.solution(row)}
        found.append(problem)
    return found


def lines_of(report: Mapping[str, Any], split: str, shown: int = 3) -> list[str]:
    """A report as text: shares with their intervals, accuracy by length, differences, and wrong answers."""

    def shares(name: str) -> str:
        return "  ".join(f"{k}: {value:.1%} {_range(report[name + '_interval'][k])}" for k, value in report[name].items())

    lines = [headline(report, split), f"pass@k  {shares('pass_at_k')}", f"maj@k  {shares('maj_at_k')}"]
    lines += [f"length {report['length']:.1f} tokens, truncated {report['truncated']:.1%}"]
    if report["unscorable"]:
        lines += [f"unscorable, counted as wrong: {report['unscorable']}"]
    lines += [f"  {x['from']} to {x['to']} tokens: {x['right']:.1%} of {x['samples']}" for x in report["by_length"]]
    if "compare" in report:
        other = report["compare"]
        for name in ("pass_at_1", "greedy"):
            if name in other:
                lines += [f"{name} minus that of {other['with']}: {other[name]['difference']:+.1%} {_range(other[name]['interval'], '+')}"]
        lines += [f"  of {other['problems']} problems {other['better']} better, {other['worse']} worse, {other['equal']} equal"]
    wrong = [problem for problem in report["by_problem"] if "wrong" in problem]
    lines += [f"{len(wrong)} problems with wrong answers" + (", the first of them:" if wrong else "")]
    for problem in wrong[:shown]:
        lines += [f"  {problem['right']} of {problem['samples']} right: {_short(problem['prompt'])}"]
        lines += [f"    answered {_short(problem['wrong'])}", f"    solution {_short(problem['solution'])}"]
    return lines


def _range(interval: Any, sign: str = "") -> str:
    return f"[{interval[0]:{sign}.1%}, {interval[1]:{sign}.1%}]"


def _short(text: str, most: int = 160) -> str:
    """The text in one line, its end where it is long: that is where answers stand."""
    line = " ".join(text.split())
    return repr(line if len(line) <= most else "..." + line[-most:])


if __name__ == "__main__":
    sys.exit(main())
