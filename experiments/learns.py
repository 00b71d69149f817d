"""Does every method learn? Each config against its own warm start, over several seeds.

    python -m experiments.learns                                     # all configs, five seeds
    python -m experiments.learns --configs=bnpo,grpo --seeds=2 --steps=50

Arms x seeds on the preset `tiny`. A seed's warm start is trained once and shared by all arms through `init_from`. Decision rule, fixed
before running: a method learns if the lower end of the 95% interval (Student's t over seeds) of its paired gain in held-out pass@1 is
above 0.
Rows are written as runs finish, and a run that is done is not run again: the command may be stopped and started at will.
Writes results/learns.json, learns.md and learns.png beside this file; runs themselves go to runs/learns.
"""

import json
import math
import pathlib
import statistics
import sys
from typing import Any

from pojax import commands, train
from pojax import config as configs
from pojax.binding import ConfigError
from pojax.environment import versions_and_features

ARMS = ("reinforce", "reinforce_moving", "rloo", "grpo", "dr_grpo", "dapo", "remax", "bnpo", "spo_single_stream")
RESULTS = pathlib.Path(__file__).parent / "results"
# Two-sided 95% quantiles of Student's t by degrees of freedom, from any table.
T_QUANTILE = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 6: 2.447, 7: 2.365, 8: 2.306, 9: 2.262}


def interval(values: list[float]) -> tuple[float, float, float]:
    """Mean and 95% interval of the mean over seeds; the interval of one seed is infinite."""
    mean, n = statistics.fmean(values), len(values)
    half = math.inf if n < 2 else T_QUANTILE[n - 1] * statistics.stdev(values) / math.sqrt(n)
    return mean, mean - half, mean + half


def run_arm(arm: str, seed: int, steps: int | None, runs: pathlib.Path) -> dict[str, Any]:
    """One run of one method from the shared warm start of its seed -> its row."""
    warm = runs / f"warm-{seed}"
    config = configs.load(f"configs/{arm}.py")
    base = configs.override(config, {"seed": seed, "run.eval_every": 0, "run.tensorboard": False, "run.log_samples_every": 0})
    if not (warm / "summary.json").exists():
        print(f"warm start, seed {seed}", flush=True)
        phase = configs.plain(base.warm_start)
        changes = {
            "method": phase["method"],
            "optimizer": phase["optimizer"],
            "batch_prompts": phase["batch_prompts"],
            "run.steps": phase["steps"],
        }
        train.run(configs.override(base, {**changes, "warm_start": None}), warm, say=lambda _: None)
    print(f"{arm}, seed {seed}", flush=True)
    changes = {"warm_start": None, "init_from": str(warm)} | ({"run.steps": steps} if steps else {})
    summary = train.run(configs.override(base, changes), runs / f"{arm}-{seed}", say=lambda _: None)
    if not summary["finished"]:
        raise KeyboardInterrupt
    return {
        "arm": arm,
        "seed": seed,
        "steps": summary["steps"],
        "before": summary["pass_at_1_before"],
        "after": summary["pass_at_1_after"],
        "seconds": summary["seconds"],
    }


def table(rows: list[dict[str, Any]]) -> str:
    """The rows as Markdown, one line per method."""
    lines = ["| method | pass@1 before -> after, by seed | gain, 95% interval | learns | seconds a run |", "|---|---|---|---|---|"]
    for arm in dict.fromkeys(row["arm"] for row in rows):
        mine = [row for row in rows if row["arm"] == arm]
        mean, low, high = interval([row["after"] - row["before"] for row in mine])
        pairs = ", ".join(f"{row['before']:.0%} -> {row['after']:.0%}" for row in mine)
        seconds = statistics.median(row["seconds"] for row in mine)
        lines.append(f"| {arm} | {pairs} | {mean:+.1%} [{low:+.1%}, {high:+.1%}] | {'yes' if low > 0 else 'not shown'} | {seconds:.0f} |")
    return "\n".join(lines)


def plot(rows: list[dict[str, Any]], path: pathlib.Path) -> None:
    try:
        from matplotlib.figure import Figure
    except ImportError:
        print("no plot: pip install 'pojax[plots]'")
        return
    arms = list(dict.fromkeys(row["arm"] for row in rows))
    figure = Figure(figsize=(7, 0.5 * len(arms) + 1.2), layout="constrained")
    axis = figure.subplots()
    for y, arm in enumerate(arms):
        gains = [row["after"] - row["before"] for row in rows if row["arm"] == arm]
        mean, low, high = interval(gains)
        if math.isfinite(low):
            axis.plot([low, high], [y, y], color="0.6", linewidth=4)
        axis.plot(gains, [y] * len(gains), "o", color="C0", markersize=4)
        axis.plot([mean], [y], "|", color="k", markersize=16)
    axis.axvline(0, color="0.4", linewidth=1)
    axis.set_yticks(range(len(arms)), arms)
    axis.invert_yaxis()
    axis.set_xlabel("gain in held-out pass@1 over the warm start (dots: seeds; bar: 95% interval)")
    figure.savefig(path, dpi=110)


def write(rows: list[dict[str, Any]], folder: pathlib.Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    features = versions_and_features()
    (folder / "learns.json").write_text(
        json.dumps({"rows": rows, "versions": {k: features[k] for k in ("python", "pojax", "jax", "cpu_cores")}}, indent=1) + "\n"
    )
    steps = ", ".join(sorted({str(row["steps"]) for row in rows}))
    how = f"`python -m experiments.learns`, {steps} iterations of reinforcement learning from a warm start shared by the arms of a seed."
    text = f"# Does every method learn?\n\n{how}\n\n"
    (folder / "learns.md").write_text(text + table(rows) + "\n\n![gains](learns.png)\n")
    plot(rows, folder / "learns.png")


def main(argv: list[str] | None = None) -> int:
    def body() -> None:
        given = commands.options(sys.argv[1:] if argv is None else argv, ("configs", "seeds", "steps", "runs", "results"), "learns")
        arms = tuple(given.get("configs", ",".join(ARMS)).split(","))
        unknown = [arm for arm in arms if arm not in ARMS]
        if unknown:
            raise ConfigError(f"--configs: found {unknown[0]!r}, allowed: {', '.join(ARMS)}")
        seeds, steps = int(given.get("seeds", "5")), int(given["steps"]) if "steps" in given else None
        if not 1 <= seeds <= len(T_QUANTILE) + 1:
            raise ConfigError(f"--seeds: found {seeds}, allowed: 1 to {len(T_QUANTILE) + 1}")
        rows: list[dict[str, Any]] = []
        for arm in arms:
            for seed in range(seeds):
                rows.append(run_arm(arm, seed, steps, pathlib.Path(given.get("runs", "runs/learns"))))
                write(rows, pathlib.Path(given.get("results", RESULTS)))
        print(table(rows))

    return commands.run(body)


if __name__ == "__main__":
    sys.exit(main())
