"""The one loop: `python -m pojax.train --config=configs/bnpo.py --workdir=/tmp/bnpo`, or `train.run(config, workdir)`.

Build, restore, then for every iteration: collect, step, log, evaluate, save. Everything that persists is in one pytree, so a run that is
killed anywhere and started again ends in the same bits.
"""

import dataclasses
import pathlib
import signal
import sys
import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

from pojax import checkpointing, commands, environment, explain, metrics, plots
from pojax.binding import ConfigError
from pojax.build import Job, Phase, build
from pojax.checkpointing import Checkpoints
from pojax.config import to_json
from pojax.evaluate import Evaluator, headline, report_of, show_examples
from pojax.learners import state as states
from pojax.learners.updates import with_parts
from pojax.log import Log
from pojax.symptoms import symptoms
from pojax.types import LearnerState
from pojax.workdir import claim_workdir, load_init_from, open_workdir, read_json, write_json

BEFORE = (("pass_at_1", "", "pass_at_1"), ("pass_at_1", "_interval", "interval"), ("greedy", "", "greedy"))
OnStep = Callable[[int, dict[str, int | float]], None]


def run(
    config: Any, workdir: str | pathlib.Path, on_step: OnStep | None = None, say: Callable[[str], None] | None = None
) -> dict[str, Any]:
    """Train to `config.run.steps` iterations and return the summary; goes on where the workdir stopped.

    on_step(step, metrics) is called after every iteration. Raises ValueError for a config that cannot run, OSError for a folder that
    cannot be written. Where it is interrupted (Ctrl-C, SIGTERM) it saves, and the summary has `finished` False.
    """
    writer, started = jax.process_index() == 0, time.time()
    say = say or (_say if writer else lambda line: None)
    job = build(config, say)
    if jax.process_count() > 1 and job.program.family != "supervised" and not job.source.on_device:
        raise ConfigError(
            f"task: {job.source.task.name} is verified on the host, allowed in {jax.process_count()} processes: "
            "tasks with verify_tokens, and no reward_models"
        )
    settings, measure, last = job.config["run"], job.config["evaluation"], job.warm_steps + job.config["run"]["steps"]
    # Evaluators read their splits before anything is written: a problem that does not fit must not leave a workdir behind.
    held_out = Evaluator(job, "held_out", measure["problems"], measure["samples"])
    validate = settings["eval_every"] and measure["validation_problems"]
    validation = Evaluator(job, "validation", measure["validation_problems"], 1, greedy=False) if validate else None
    folder = open_workdir(workdir, job)
    with Checkpoints(folder / "checkpoints", keep=settings["keep"], say=say) as checkpoints, _Interrupt() as interrupt:
        state, step = _start(job, checkpoints, say)
        if step > last:
            raise ConfigError(
                f"run.steps: found {settings['steps']}, allowed: {step - job.warm_steps} or more, which {folder} has done already"
            )
        claim_workdir(folder, job, writer)
        summary = read_json(folder / "summary.json")
        if step == last and summary and summary["steps"] == settings["steps"]:
            say(f"{folder}: finished, {settings['steps']} steps; raise --config.run.steps to go on")
            return summary

        def save(score: float | None = None) -> None:
            checkpoints.save(step, state, config=to_json(job.config), score=score)

        with Log(folder, job, step, say) as log:
            while step < last and not interrupt.asked():
                phase = job.phase(step)
                if step == job.warm_steps:
                    state = states.recopy(state, job.program)
                    save()
                    _measure_before(held_out, state, folder, say)
                step += 1
                state, line = _iterate(phase, state, step, log)
                if validation is not None and (step % settings["eval_every"] == 0 or step == last):
                    line["validation/pass_at_1"] = validation(state.params).pass_at_1
                log.write(step, line)
                if step == last or (settings["checkpoint_every"] and step % settings["checkpoint_every"] == 0):
                    save(line.get("validation/pass_at_1"))
                if on_step is not None:
                    _tell(on_step, step, line, save)
            save()  # where the loop was interrupted or had nothing to do; else the newest step is there already
            checkpoints.wait()
        if step < last:
            say(f"stopped at iteration {step} of {last} and saved; the same command goes on from here")
            return {"finished": False, "iteration": step}
        return _finish(job, state, held_out, folder, log, time.time() - started, say)


def _say(line: str) -> None:
    """One line on stderr; on a terminal it takes the place of the progress bar, which is drawn again below it."""
    print(f"\r\x1b[K{line}" if sys.stderr.isatty() else line, file=sys.stderr, flush=True)


def _start(job: Job, checkpoints: Checkpoints, say: Callable[[str], None]) -> tuple[LearnerState, int]:
    """The state to go on from: the newest whole checkpoint, or a new one, its parameters from `init_from` where that is set."""
    if checkpoints.steps():
        restored = checkpoints.restore(job.abstract)
        if restored is not None:
            state, step = restored
            say(f"going on from iteration {step}")
            return states.own_buffers(state), step
    state = job.init()
    if job.config["init_from"]:
        state = dataclasses.replace(state, params=with_parts(state.params, load_init_from(job, say)))
    return states.recopy(state, job.program), 0


def _measure_before(held_out: Evaluator, state: LearnerState, folder: pathlib.Path, say: Callable[[str], None]) -> None:
    """Held-out pass@1 at the switch from the warm start to the method; written when measured, and read by a run that goes on."""
    if read_json(folder / "before.json") is None:
        report = report_of(held_out, state.params)
        if jax.process_index() == 0:
            write_json(folder / "before.json", report)
        say(f"before reinforcement learning: {headline(report)}")


def _tell(on_step: OnStep, step: int, line: dict[str, int | float], save: Callable[[], None]) -> None:
    """Call the caller's function; where it raises, the iteration is saved first, so that the run goes on behind it."""
    try:
        on_step(step, dict(line))
    except BaseException:
        if jax.process_count() == 1:  # saving needs every process, and the others know nothing of this
            save()
        raise


def _iterate(phase: Phase, state: LearnerState, step: int, log: Log) -> tuple[LearnerState, dict[str, int | float]]:
    """One iteration: collect, then one train step."""
    learner, clock = phase.learner, time.perf_counter()
    batch, source = learner.collect(state, learner.hyper)
    jax.block_until_ready(batch)
    collected = time.perf_counter()
    state, seen = learner.train_step(dataclasses.replace(state, source=source), batch, learner.hyper)
    line = log.host(phase, step, batch, seen)
    now = time.perf_counter()
    line |= log.job.source.tally.take()
    line |= {"time/collect": collected - clock, "time/update": now - collected, "tokens_per_second": line.pop("tokens") / (now - clock)}
    return state, line


def _finish(
    job: Job, state: LearnerState, held_out: Evaluator, folder: pathlib.Path, log: Log, seconds: float, say: Callable[[str], None]
) -> dict[str, Any]:
    """Held-out pass@1 after, beside the one before; summary, curve, samples."""
    before, after = read_json(folder / "before.json"), report_of(held_out, state.params)
    curve = plots.curve(folder) if jax.process_index() == 0 else None
    warnings = [symptom._asdict() for symptom in symptoms(metrics.read(folder / metrics.FILE))]
    summary = {
        "finished": True, "warnings": warnings, "steps": job.config["run"]["steps"], "iterations": int(state.step), "seconds": seconds,
        "state_sha256": checkpointing.digest(state),
        "pass_at_1_after": after["pass_at_1"], "pass_at_1_after_interval": after["interval"], "greedy_after": after["greedy"],
        **{f"{name}_before{end}": before[key] for name, end, key in BEFORE if before},
        **environment.versions_and_features(), **log.totals(),
    }  # fmt: skip
    if jax.process_index() == 0:
        write_json(folder / "after.json", after)
        write_json(folder / "summary.json", summary)
        show_examples(before, after, say)
        for warning in warnings:
            say(f"{'warning' if warning['serious'] else 'note'}, {warning['kind']}: {warning['text']}")
    if before:
        say(f"before: {headline(before)}")
    say(f"after:  {headline(after)}")
    outputs = ["checkpoints", "metrics.jsonl", "summary.json", *(["tensorboard"] if (folder / "tensorboard").exists() else [])]
    for name in outputs:
        say(f"{name}: {folder / name}")
    say(f"curve: {curve}")
    return summary


class _Interrupt:
    """Ctrl-C and SIGTERM ask the loop to stop after the iteration; a second Ctrl-C stops at once."""

    _asked = False

    def asked(self) -> bool:
        """Whether a process of the run was asked; every process gets the same answer, so that all stop at the same iteration."""
        if jax.process_count() == 1:
            return self._asked
        return bool(np.any(multihost_utils.process_allgather(np.asarray(self._asked))))

    def __enter__(self) -> "_Interrupt":
        self._old = {}
        try:
            for name in (signal.SIGINT, signal.SIGTERM):
                self._old[name] = signal.signal(name, self._ask)
        except ValueError:  # not the main thread: somebody else handles signals
            pass
        return self

    def _ask(self, number: int, frame: Any) -> None:
        if self._asked and number == signal.SIGINT:
            raise KeyboardInterrupt
        self._asked = True

    def __exit__(self, *_: Any) -> None:
        for name, handler in self._old.items():
            signal.signal(name, handler)


def main(argv: list[str] | None = None) -> int:
    def body() -> None:
        arguments = commands.parse(sys.argv[1:] if argv is None else argv, "train", needs=("config", "workdir"))
        if arguments.show:
            print(explain.show(build(arguments.config)))
        else:
            assert arguments.workdir is not None  # parse has asked for it
            run(arguments.config, arguments.workdir)

    return commands.run(body)


if __name__ == "__main__":
    sys.exit(main())
