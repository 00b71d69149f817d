"""What an iteration leaves behind: numbers for every sink, rows of samples, stage times, the count of compilations."""

import contextlib
import pathlib
import time
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np

from pojax import diagnostics, metrics, models
from pojax.build import Job, Phase
from pojax.learners.updates import parts_of
from pojax.workdir import write_json

_compilations = [0]


def _count(event: str, duration_secs: float, **_: str | int) -> None:
    _compilations[0] += event == "/jax/core/compile/backend_compile_duration"


jax.monitoring.register_event_duration_secs_listener(_count)


class Log:
    """The sinks of one run, opened at the iteration from which it goes on; only the first process writes."""

    def __init__(self, folder: pathlib.Path, job: Job, step: int, say: Callable[[str], None]) -> None:
        self.folder, self.job, self.say = folder, job, say
        self.sinks: list[metrics.Sink] = []
        self.bar: metrics.Sink | None = None
        self.seconds = {phase.name: 0.0 for phase in job.phases}
        self.tokens, self.skipped, self.clock = 0, 0, time.perf_counter()
        self.replicate = jax.jit(lambda tree: tree, out_shardings=job.layout.replicated())
        if jax.process_index() == 0:
            self._open(step)

    def _open(self, step: int) -> None:
        settings, total = self.job.config["run"], self.job.warm_steps + self.job.config["run"]["steps"]
        metrics.cut_back(self.folder, step)
        self.sinks.append(metrics.jsonl(self.folder / "metrics.jsonl"))
        for wanted, opened in (
            (settings["tensorboard"], lambda: metrics.tensorboard(self.folder / "tensorboard")),
            (settings["wandb"], lambda: metrics.wandb(self.folder / "wandb", project=settings["wandb"], config=self.job.config)),
        ):
            try:
                if wanted:
                    self.sinks.append(opened())
            except ImportError as error:  # an output less, not a run less
                self.say(str(error))
        self.bar = metrics.progress(total)

    def host(self, phase: Phase, step: int, batch: Any, seen: dict[str, Any]) -> dict[str, int | float]:
        """The metrics of a train step as numbers; those of updates that took no step are absent. Samples are written where it is time."""
        rows, every = seen.pop("rows", {}), self.job.config["run"]["log_samples_every"]
        seen, tokens = jax.device_get((seen, batch.mask.sum()))
        if every and step % every == 0 and phase.name == "method" and rows:
            self._samples(step, batch, rows)
        prefix = "warm_start." if phase.name == "warm_start" else ""
        line: dict[str, int | float] = {"tokens": float(tokens), "compilations": _compilations[0]}
        for name, value in seen.items():
            update = name.rpartition("/")[0].split("/")[0]
            if name.endswith("/nonfinite"):
                self._nonfinite(name, np.asarray(value), prefix)
                line[f"{update}/skipped_nonfinite"] = float(np.max(value))
            elif f"{update}/ran" not in seen or seen[f"{update}/ran"] > 0 or name.endswith("/ran"):
                line[name] = float(value)
        self.tokens += int(tokens)
        now = time.perf_counter()
        self.seconds[phase.name] += now - self.clock
        self.clock = now
        return line

    def _nonfinite(self, name: str, counts: np.ndarray, prefix: str) -> None:
        """Name the parameters whose gradient was not finite; their updates were skipped."""
        if not counts.any():
            return
        update = name.removeprefix(prefix).removesuffix("/nonfinite")
        program = self.job.phases[0 if prefix else -1].learner.program
        trains = next(u.trains for u in program.updates if u.name == update)
        shapes = parts_of({role: models.logical_axes(self.job.model[role]) for role in trains}, trains)
        paths = [
            "/".join(str(k.key) for k in path)
            for path, _ in jax.tree_util.tree_leaves_with_path(shapes, is_leaf=lambda x: isinstance(x, tuple))
        ]
        where = ", ".join(p for p, c in zip(paths, counts, strict=True) if c)
        self.say(f"update {update}: {int(counts.max())} steps skipped, gradient not finite in {where}")

    def _samples(self, step: int, batch: Any, rows: dict[str, Any]) -> None:
        """`samples/STEP.npz`: the rows of this iteration with what was made of them; `samples/STEP.json`: a few of them, to be read."""
        batch = jax.device_get(self.replicate(batch))
        if jax.process_index():
            return
        fields = {name: np.asarray(value) for name, value in batch.fields().items()} | {
            name: np.asarray(v) for name, v in jax.device_get(rows).items()
        }
        tokenizer = self.job.tasks["train"].tokenizer
        text = [
            tokenizer.decode([int(t) for t, m in zip(tokens, mask, strict=True) if m])
            for tokens, mask in zip(batch.tokens, batch.mask, strict=True)
        ]
        with self._writing(f"samples of iteration {step}"):
            diagnostics.write_samples(self.folder / "samples" / f"{step}.npz", fields, text)
            readable = diagnostics.readable_rows(fields, tokenizer.decode, components=tuple(batch.components))
            write_json(self.folder / "samples" / f"{step}.json", {"step": step, "rows": readable}, indent=None)

    def write(self, step: int, line: dict[str, int | float]) -> None:
        """Give one iteration's numbers to every sink. OSError, naming the folder, where one cannot be written."""
        with self._writing(f"metrics of iteration {step}"):
            for sink in self.sinks:
                sink.write(step, line)
        if self.bar is not None:
            self.bar.write(step, line)

    @contextlib.contextmanager
    def _writing(self, what: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            kept = "the checkpoints are complete, the same command goes on from the newest"
            raise OSError(f"{self.folder}: {what} cannot be written ({error.strerror or error}); {kept}") from error

    def __enter__(self) -> "Log":
        return self

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        for sink in (*self.sinks, *([self.bar] if self.bar else [])):
            try:
                sink.close()
            except OSError:  # what a full disk did not take is tried again here; the error that is on its way has said so
                if error is None:
                    raise

    def totals(self) -> dict[str, Any]:
        """Seconds of each phase in this process, compilations and evaluation included, and tokens learned from."""
        return {"seconds_by_phase": dict(self.seconds), "tokens": self.tokens, "compilations": _compilations[0]}
