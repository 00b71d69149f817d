"""One policy-optimisation step (`workload.py`) by pojax, by a hand-written JAX program and by TRL, interleaved, in one table.

    python benchmarks/step.py --rounds=3 --steps=13 --trl-python=trl/bin/python

Every arm is a process of its own that prints one line of JSON per step. The first `--drop` steps (compilation, warm caches) do not count.
A figure is the median over rounds of the medians over steps, with the range over rounds. Writes step.json and step.md into `--out`.
"""

import argparse
import importlib.metadata
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import workload as w

HERE = Path(__file__).resolve().parent
STAGES = ("generate", "reference", "update", "step")


def arms(trl_python: str | None) -> dict[str, list[str]]:
    """Command line of every arm that is there, without its number of steps; a line says which are left out."""
    found: dict[str, list[str]] = {}
    for name, python, script in (
        ("pojax", sys.executable, "pojax_step.py"),
        ("by hand", sys.executable, "by_hand.py"),
        ("TRL", trl_python, "trl_grpo.py"),
    ):
        if python is None or not Path(python).exists():
            print(f"{name} is left out: no Python of its environment (--trl-python; see benchmarks/trl-requirements.txt)")
        elif not (HERE / script).exists():
            print(f"{name} is left out: there is no benchmarks/{script}")
        else:
            for pieces in (1, 8):
                label = f"{name}, {pieces} piece{'s' if pieces > 1 else ''}"
                found[label] = [python, str(HERE / script), f"--pieces={pieces}"]
    return found


def run(command: list[str]) -> dict[str, Any]:
    """Lines that a process printed as JSON, its peak memory and the load of the machine before it; RuntimeError if it failed."""
    load = os.getloadavg()[0]
    # Files, not pipes: nobody reads while the process runs, and wait4 is needed for the memory of this one process.
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(command, stdout=output, stderr=errors, cwd=HERE.parent)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        errors.seek(0)
        if process.returncode:
            raise RuntimeError(f"{' '.join(command)} ended with {process.returncode}:\n{errors.read()[-2000:]}")
        lines = [json.loads(line) for line in output if line.startswith('{"')]
    if not lines:
        raise RuntimeError(f"{' '.join(command)} printed no line of JSON")
    kilobyte = 1 if sys.platform == "darwin" else 1024  # the unit of ru_maxrss
    return {"lines": lines, "peak_rss_gb": usage.ru_maxrss * kilobyte / 1e9, "load_before": round(load, 2)}


def measure(commands: dict[str, list[str]], rounds: int, steps: int) -> dict[str, Any]:
    """All runs: {"peak": [GFLOP/s at the start and after each round], "runs": {arm: [run per round]}}. Rounds begin with different arms."""
    runs: dict[str, list[Any]] = {label: [] for label in commands}
    peak: list[float] = []
    labels = list(commands)

    def measure_peak() -> None:
        peak.append(run([sys.executable, str(HERE / "matmul_peak.py")])["lines"][-1]["gflops"])
        print(f"matmul peak {peak[-1]:.0f} GFLOP/s", flush=True)

    measure_peak()
    for number in range(rounds):
        print(f"round {number + 1} of {rounds}", flush=True)
        shift = number % len(labels)
        for label in labels[shift:] + labels[:shift]:
            runs[label].append(run([*commands[label], f"--steps={steps}"]))
            last = runs[label][-1]["lines"][-1]
            print(f"  {label}: last step {last['step']:.2f} s, load before {runs[label][-1]['load_before']}", flush=True)
        measure_peak()
    return {"peak": peak, "runs": runs}


def spread(values: list[float]) -> dict[str, float]:
    return {"median": statistics.median(values), "low": min(values), "high": max(values)}


def summarise(measured: dict[str, Any], drop: int) -> dict[str, Any]:
    """Figures of every arm, each with its median and range over rounds."""
    peak = max(measured["peak"])
    work = sum(w.flops().values()) / 1e9
    table: dict[str, Any] = {}
    for label, runs in measured["runs"].items():
        seconds = {stage: [statistics.median(line[stage] for line in run["lines"][drop:]) for run in runs] for stage in STAGES}
        table[label] = {stage: spread(values) for stage, values in seconds.items()}
        table[label]["steps_per_minute"] = spread([60 / value for value in seconds["step"]])
        table[label]["tokens_per_second"] = spread([w.ROWS * w.RESPONSE_TOKENS / value for value in seconds["step"]])
        table[label]["share_of_peak"] = spread([work / value / peak for value in seconds["step"]])
        table[label]["first_step"] = spread([run["lines"][0]["step"] for run in runs])
        table[label]["peak_rss_gb"] = spread([run["peak_rss_gb"] for run in runs])
    return {"peak_gflops": peak, "step_gflop": work, "arms": table}


def best(summary: dict[str, Any], name: str) -> float | None:
    """Most steps per minute of an arm over its numbers of pieces, if it ran."""
    speeds = [arm["steps_per_minute"]["median"] for label, arm in summary["arms"].items() if label.startswith(name)]
    return max(speeds, default=None)


def markdown(summary: dict[str, Any], settings: dict[str, Any]) -> str:
    """The table of the summary, what it was measured with, and pojax at its best beside the others at theirs."""
    head = "| | steps/min | generate s | reference s | update s | tokens/s | of peak | first step s | peak RSS GB |"
    lines = [head, "|---" * (head.count("|") - 1) + "|"]
    for label, arm in summary["arms"].items():
        speed = arm["steps_per_minute"]
        cells = [label, f"{speed['median']:.1f} [{speed['low']:.1f}, {speed['high']:.1f}]"]
        cells += [f"{arm[stage]['median']:.2f}" for stage in ("generate", "reference", "update")]
        cells += [f"{arm['tokens_per_second']['median']:.0f}", f"{arm['share_of_peak']['median']:.0%}"]
        cells += [f"{arm['first_step']['median']:.1f}", f"{arm['peak_rss_gb']['median']:.2f}"]
        lines.append(f"| {' | '.join(cells)} |")
    bound = summary["step_gflop"] / summary["peak_gflops"]
    rounds = f"{settings['rounds']} interleaved rounds of {settings['steps']} steps, the first {settings['drop']} dropped"
    low, high = settings["load"]
    lines += [
        "",
        f"{rounds}; medians, range over rounds. Load before an arm: {low} to {high} (the arm before leaves up to {settings['cores']}).",
        f"A step is {summary['step_gflop']:.0f} GFLOP, the matmul peak {summary['peak_gflops']:.0f} GFLOP/s: no step below {bound:.2f} s.",
        f"{settings['cpu']}, {settings['cores']} cores, Python {settings['python']}, {settings['packages']}.",
    ]
    if high > settings["cores"] + 1:
        lines.append("Other processes were running: these figures say nothing about a quiet machine, nor the arms about each other.")
    ours = best(summary, "pojax")
    for other in ("by hand", "TRL"):
        theirs = best(summary, other)
        if ours and theirs:
            lines.append(f"pojax at its best is {ours / theirs:.2f}x {other} at its best.")
    return "\n".join(lines) + "\n"


def describe(args: argparse.Namespace, measured: dict[str, Any]) -> dict[str, Any]:
    """What the figures depend on: machine, versions, load, settings."""
    cpu = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").exists():
        models = [line.split(":", 1)[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
        cpu = models[0] if models else cpu
    loads = [run["load_before"] for runs in measured["runs"].values() for run in runs]
    packages = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in ("jax", "jaxlib", "optax"))
    return {
        "rounds": args.rounds,
        "steps": args.steps,
        "drop": args.drop,
        "cpu": cpu,
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "packages": packages,
        "load": (min(loads), max(loads)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=13)
    parser.add_argument("--drop", type=int, default=3, help="first steps of a run that do not count")
    parser.add_argument("--arms", nargs="*", default=[""], help="beginnings of labels: run only these, e.g. --arms pojax 'by hand, 8'")
    parser.add_argument("--trl-python", help="Python of the environment of trl-requirements.txt")
    parser.add_argument("--out", type=Path, default=HERE / "results")
    args = parser.parse_args()
    if not 0 <= args.drop < args.steps:
        parser.error(f"--drop is {args.drop}, allowed: 0 to {args.steps - 1}, one less than --steps")
    commands = {label: command for label, command in arms(args.trl_python).items() if label.startswith(tuple(args.arms))}
    if not commands:
        parser.error(f"--arms is {args.arms}, and no arm that is there begins so")
    measured = measure(commands, args.rounds, args.steps)
    summary, settings = summarise(measured, args.drop), describe(args, measured)
    text = markdown(summary, settings)
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "step.json").write_text(json.dumps({"settings": settings, **summary, "measured": measured}, indent=1) + "\n")
    (args.out / "step.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
