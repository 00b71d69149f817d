"""Does every method learn? Each config against its own warm start, over several seeds.

    python -m experiments.learns                                     # all configs, five seeds, two processes
    python -m experiments.learns --configs=bnpo,grpo --seeds=2 --steps=50

Arms x seeds. A config that is written for the preset `tiny` runs on `micro`, which takes seconds; one that names another preset runs on
that. A seed's warm start is trained once per preset and shared by all arms. Decision rule, fixed before running: a method learns if the
lower end of the 95% interval (Student's t over seeds) of its paired gain in held-out pass@1 over the warm start is above 0 and its mean
gain is at least half of GRPO's on the same preset.
An arm's rows are written when its seeds are done, and an arm that has the asked seeds and steps is not run again: stop and start the
command at will. Arms that failed are listed at the end, with exit code 2.
Writes results/learns/<config>.json, and from all of them results/learns.md and learns.png; warm starts go to runs/learns.
"""

import concurrent.futures
import dataclasses
import functools
import importlib
import inspect
import json
import math
import multiprocessing
import os
import pathlib
import statistics
import sys
import time
from typing import Any

import jax
import jax.numpy as jnp

from experiments import methods
from pojax import checkpointing, commands, train
from pojax import config as configs
from pojax.binding import ConfigError, near
from pojax.build import build
from pojax.environment import versions_and_features
from pojax.evaluate import Evaluator
from pojax.learners import state as states

RESULTS = pathlib.Path(__file__).parent / "results" / "learns"
RUNS = pathlib.Path("runs/learns")
REFERENCE = "grpo"
# Two-sided 95% quantiles of Student's t by degrees of freedom, from any table.
T_QUANTILE = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 6: 2.447, 7: 2.365, 8: 2.306, 9: 2.262}
Rows = dict[str, list[dict[str, Any]]]  # {arm: rows}


def preset_of(arm: str) -> str:
    """The preset that an arm runs on."""
    own = inspect.signature(importlib.import_module(f"configs.{arm}").get_config).parameters["preset"].default
    return "micro" if own == "tiny" else own


def interval(values: list[float]) -> tuple[float, float, float]:
    """Mean and 95% interval of the mean over seeds; the interval of one seed is infinite."""
    mean, n = statistics.fmean(values), len(values)
    half = math.inf if n < 2 else T_QUANTILE[n - 1] * statistics.stdev(values) / math.sqrt(n)
    return mean, mean - half, mean + half


def load(arm: str, preset: str, seed: int) -> Any:
    config = importlib.import_module(f"configs.{arm}").get_config(preset)
    quiet = {"run.eval_every": 0, "run.tensorboard": False, "run.log_samples_every": 0, "run.diagnostics": False}
    return configs.override(config, {"seed": seed} | quiet)


def warm_start(preset: str, seed: int, runs: pathlib.Path) -> None:
    """Train the warm start of a preset and seed, unless it is there."""
    folder = warm_folder(preset, seed, runs)
    if (folder / "summary.json").exists():
        return
    print(f"warm start of {preset}, seed {seed}", flush=True)
    base = load(REFERENCE, preset, seed)
    phase = configs.plain(base.warm_start)
    changes = {"method": phase["method"], "optimizer": phase["optimizer"], "batch_prompts": phase["batch_prompts"]}
    train.run(configs.override(base, changes | {"run.steps": phase["steps"], "warm_start": None}), folder, say=lambda _: None)


def warm_folder(preset: str, seed: int, runs: pathlib.Path) -> pathlib.Path:
    return runs / f"warm-{preset}-{seed}"


@functools.cache
def measure(preset: str) -> Evaluator:
    """Held-out pass@1 on a preset, compiled once for all arms of a process."""
    config = load(REFERENCE, preset, 0)
    return Evaluator(build(config, say=lambda line: None), "held_out", config.evaluation.problems, config.evaluation.samples, greedy=False)


@functools.cache
def warmed(preset: str, seed: int, runs: pathlib.Path) -> tuple[Any, float]:
    """Parameters and pass@1 of a warm start."""
    job = build(load(REFERENCE, preset, seed), say=lambda line: None)
    target = {"policy": jax.eval_shape(job.init).params["policy"]}
    params = checkpointing.load_params(warm_folder(preset, seed, runs) / "checkpoints", target, say=lambda line: None)
    evaluator = measure(preset)
    evaluator.seed = seed
    return params, evaluator(params).pass_at_1


def run_arm(arm: str, preset: str, seeds: int, steps: int | None, runs: pathlib.Path) -> list[dict[str, Any]]:
    """All seeds of one method from their warm starts -> rows. The method is compiled once: seeds differ in the state alone."""
    config = configs.override(load(arm, preset, 0), {"warm_start": None})
    job = build(config, say=lambda line: None)
    learner, evaluator = job.phases[-1].learner, measure(preset)
    if learner.iteration is None:
        raise ConfigError(f"configs/{arm}.py: its task verifies on the host, allowed: tasks with verify_tokens")
    iteration, number = learner.iteration, steps or config.run.steps
    start = jax.jit(lambda key: states.build_state(key, job.program, job.model))

    @jax.jit
    def advance(state: Any, hyper: Any) -> Any:
        return jax.lax.fori_loop(0, number, lambda _, state: iteration(state, hyper)[0], state)

    rows = []
    for seed in range(seeds):
        started, (warm, before) = time.perf_counter(), warmed(preset, seed, runs)
        state = start(jax.random.key(seed))
        state = states.recopy(dataclasses.replace(state, params={**state.params, **warm}), job.program)
        state = advance(state, learner.hyper)
        finite = all(bool(jnp.all(jnp.isfinite(x))) for x in jax.tree.leaves(state.params))
        evaluator.seed = seed
        after = evaluator(state.params).pass_at_1
        seconds = round(time.perf_counter() - started, 1)
        rows.append({"seed": seed, "steps": number, "before": before, "after": after, "finite": finite, "seconds": seconds})
    return rows


def run_and_write(arm: str, seeds: int, steps: int | None, runs: pathlib.Path, results: pathlib.Path) -> str:
    preset = preset_of(arm)
    rows = run_arm(arm, preset, seeds, steps, runs)
    features = versions_and_features()
    record = {"preset": preset, "rows": rows, "versions": {k: features[k] for k in ("python", "pojax", "jax", "cpu_cores")}}
    results.mkdir(parents=True, exist_ok=True)
    (results / f"{arm}.json").write_text(json.dumps(record, indent=1) + "\n")
    return f"{arm}: " + ", ".join(f"{row['before']:.0%} -> {row['after']:.0%}" for row in rows)


def read(results: pathlib.Path = RESULTS) -> dict[str, dict[str, Any]]:
    """{arm: record} of the arms that are done."""
    return {path.stem: json.loads(path.read_text()) for path in sorted(results.glob("*.json"))}


def gains(record: dict[str, Any]) -> list[float]:
    return [row["after"] - row["before"] for row in record["rows"]]


def reference_gain(records: dict[str, dict[str, Any]], preset: str) -> float | None:
    """Mean gain of GRPO on the preset: of its own arm, or of the arm `grpo_<preset>`."""
    for arm in (REFERENCE, f"{REFERENCE}_{preset}"):
        if arm in records and records[arm]["preset"] == preset:
            return statistics.fmean(gains(records[arm]))
    return None


def verdict(record: dict[str, Any], reference: float | None) -> str:
    """`yes`, or what is missing."""
    mean, low, _ = interval(gains(record))
    if not low > 0:
        return "not shown"
    if reference is None:
        return "gains, but GRPO has not been run on this preset"
    return "yes" if mean >= reference / 2 else "less than half of GRPO's gain"


def verdicts(records: dict[str, dict[str, Any]]) -> dict[str, str]:
    """{arm: gain, interval and verdict in one cell}."""
    cells = {}
    for arm, record in records.items():
        mean, low, high = interval(gains(record))
        cells[arm] = f"{verdict(record, reference_gain(records, record['preset']))}: {mean:+.1%} [{low:+.1%}, {high:+.1%}]"
    return cells


def table(records: dict[str, dict[str, Any]]) -> str:
    """The rows as Markdown, one line per method."""
    lines = [
        "| method | preset | pass@1 before -> after, by seed | gain, 95% interval | share of GRPO's | learns | seconds a run |",
        "|---|---|---|---|---|---|---|",
    ]
    for arm, record in records.items():
        mean, low, high = interval(gains(record))
        reference = reference_gain(records, record["preset"])
        share = f"{mean / reference:.2f}" if reference else ""
        pairs = ", ".join(f"{row['before']:.0%} -> {row['after']:.0%}" for row in record["rows"])
        seconds = statistics.median(row["seconds"] for row in record["rows"])
        cells = [
            arm,
            record["preset"],
            pairs,
            f"{mean:+.1%} [{low:+.1%}, {high:+.1%}]",
            share,
            verdict(record, reference),
            f"{seconds:.0f}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def plot(records: dict[str, dict[str, Any]], path: pathlib.Path) -> None:
    try:
        from matplotlib.figure import Figure
    except ImportError:
        print("no plot: pip install 'pojax[plots]'")
        return
    order = sorted(records, key=lambda arm: statistics.fmean(gains(records[arm])))
    figure = Figure(figsize=(8, 0.22 * len(order) + 1.2), layout="constrained")
    axis = figure.subplots()
    for y, arm in enumerate(order):
        found = gains(records[arm])
        mean, low, high = interval(found)
        if math.isfinite(low):
            axis.plot([low, high], [y, y], color="0.7", linewidth=3)
        axis.plot(found, [y] * len(found), "o", color="C0", markersize=3)
        axis.plot([mean], [y], "|", color="k", markersize=9)
    axis.axvline(0, color="0.4", linewidth=1)
    axis.set_yticks(range(len(order)), order, fontsize=7)
    axis.set_xlabel("gain in held-out pass@1 over the warm start (dots: seeds; bar: 95% interval)")
    figure.savefig(path, dpi=110)


def write(results: pathlib.Path) -> str:
    """learns.md and learns.png beside the folder of rows -> the table."""
    records = read(results)
    text = table(records)
    head = """# Does every method learn?

`python -m experiments.learns`: reinforcement learning (supervised learning, for supervised methods) from a warm start that the arms of a
seed share. A method learns if the lower end of the 95% interval of its paired gain is above 0 and its mean gain is at least half of
GRPO's on the same preset; this rule was fixed before running.

Learning rates and sizes are the preset's, the same for all. How often a method steps on a batch (minibatches, epochs) is part of its
config; for methods without a clip whose paper takes one step, or leaves it open (HPT, REINFORCE with bypass, DRO-V, A*-PO, REBEL,
DAPO-direct, TayPO, TRPA, Reg-GRPO, RiskPO, RAE, PF-PPO), it was chosen in short runs on `micro`, seed 0, which is one of the seeds below.

"""
    results.parent.mkdir(parents=True, exist_ok=True)
    (results.parent / "learns.md").write_text(
        f"{head}{len(records)} of {len(methods.names())} configs have been run.\n\n{text}\n\n![gains](learns.png)\n"
    )
    plot(records, results.parent / "learns.png")
    return text


def run_all(chosen: list[str], seeds: int, steps: int | None, workers: int, runs: pathlib.Path, results: pathlib.Path) -> None:
    """Every arm that has not all its rows yet, in processes of one thread each; ConfigError at the end, naming the arms that failed."""
    missing = [arm for arm in chosen if not done(arm, seeds, steps, results)]
    for preset in sorted({preset_of(arm) for arm in missing}):
        for seed in range(seeds):
            warm_start(preset, seed, runs)
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
    job = functools.partial(run_and_write, seeds=seeds, steps=steps, runs=runs, results=results)
    context = multiprocessing.get_context("spawn")
    failed = list[str]()
    # New processes every so often, for what they compile stays in memory; max_tasks_per_child is known to hang (CPython issue 115634).
    for chunk in (missing[i : i + 12 * workers] for i in range(0, len(missing), 12 * workers)):
        with concurrent.futures.ProcessPoolExecutor(workers, mp_context=context) as pool:
            started = {pool.submit(job, arm): arm for arm in chunk}
            for future in concurrent.futures.as_completed(started):
                error = future.exception()
                print(f"{started[future]}: {type(error).__name__}: {error}" if error else future.result(), flush=True)
                failed += [started[future]] if error else []
    if failed:
        raise ConfigError(f"{len(failed)} of {len(missing)} arms failed, with the errors above: {', '.join(sorted(failed))}")


def done(arm: str, seeds: int, steps: int | None, results: pathlib.Path) -> bool:
    """Whether an arm has rows of at least so many seeds, all of them of its preset and as many steps as asked for."""
    path, preset = results / f"{arm}.json", preset_of(arm)
    if not path.exists():
        return False
    record = json.loads(path.read_text())
    asked = steps or load(arm, preset, 0).run.steps
    return record["preset"] == preset and len(record["rows"]) >= seeds and all(row["steps"] == asked for row in record["rows"])


def _whole(given: dict[str, str], name: str, default: int, low: int, high: int) -> int:
    value = given.get(name, str(default))
    if not value.isdecimal() or not low <= int(value) <= high:
        raise ConfigError(f"--{name}: found {value!r}, allowed: {low} to {high}")
    return int(value)


def main(argv: list[str] | None = None) -> int:
    def body() -> None:
        options = ("configs", "seeds", "steps", "workers", "runs", "results")
        given = commands.options(sys.argv[1:] if argv is None else argv, options, "learns")
        known = methods.names()
        chosen = given["configs"].split(",") if "configs" in given else known
        for arm in chosen:
            if arm not in known:
                raise ConfigError(f"--configs: found {arm!r}; {near(arm, known)}")
        seeds, workers = _whole(given, "seeds", 5, 1, len(T_QUANTILE) + 1), _whole(given, "workers", 2, 1, 256)
        steps = _whole(given, "steps", 1, 1, 10**9) if "steps" in given else None
        results = pathlib.Path(given.get("results", RESULTS))
        try:
            run_all(chosen, seeds, steps, workers, pathlib.Path(given.get("runs", RUNS)), results)
        finally:
            print(write(results))

    return commands.run(body)


if __name__ == "__main__":
    sys.exit(main())
