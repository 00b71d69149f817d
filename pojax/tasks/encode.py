"""Between text and the fixed shapes of the compiled program: prompts and solutions as arrays, responses back to verdicts."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Int, Shaped

from pojax.tasks.task import Task
from pojax.tasks.verifiers import pool
from pojax.types import Sample

LOST = {
    "timeout": "the verifier took longer than it may; counted as wrong",
    "died": "the verifier ended its process or took more memory than it may; counted as wrong",
}


class Tally:
    """What verification on the host cost since the last `take`: a few numbers, changed in place."""

    def __init__(self) -> None:
        self._counts = [0.0] * 5

    def add(self, answers: int, seconds: float, failed: int, timeouts: int, died: int) -> None:
        """Count one batch."""
        self._counts = [a + b for a, b in zip(self._counts, (answers, seconds, failed, timeouts, died), strict=True)]

    def take(self) -> dict[str, float]:
        """verify/answers_per_second, and how many verdicts raised, timed out or took a worker down; empty if there were no answers."""
        (answers, seconds, failed, timeouts, died), self._counts = self._counts, [0.0] * 5
        if not answers:
            return {}
        counts = {"verify/failed": failed, "verify/timeouts": timeouts, "verify/died": died}
        return {"verify/answers_per_second": answers / max(seconds, 1e-9)} | counts


def encode_prompts(
    task: Task, prompt_tokens: int, drop_long: bool = False
) -> tuple[Int[np.ndarray, "N S"], Bool[np.ndarray, "N S"], Int[np.ndarray, "N"]]:
    """All prompts of a split, left-padded: tokens [N, S], mask [N, S], and the rows [N] they belong to.

    prompt_tokens: S. A longer prompt is a ValueError naming its row, or, with drop_long, left out: task.size - N is how many.
    Raises ValueError also for an empty prompt, and if none is left.
    """
    begin, encode = task.tokenizer.begin, task.tokenizer.encode
    encoded = [task.encode_prompt(i) if task.encode_prompt else [*begin, *encode(task.prompt(i))] for i in range(task.size)]
    empty = next((i for i, ids in enumerate(encoded) if len(ids) == (0 if task.encode_prompt else len(begin))), None)
    if empty is not None:
        raise ValueError(f"task {task.name}/{task.split}: prompt {empty} is empty, allowed: at least one token")
    kept = [i for i, ids in enumerate(encoded) if len(ids) <= prompt_tokens]
    if len(kept) < task.size and not drop_long:
        first = next(i for i, ids in enumerate(encoded) if len(ids) > prompt_tokens)
        longest = max(map(len, encoded))
        raise ValueError(
            f"task {task.name}/{task.split}: prompt {first} has {len(encoded[first])} tokens, allowed: at most {prompt_tokens} "
            f"({task.size - len(kept)} of {task.size} prompts are longer, the longest has {longest})"
        )
    if not kept:
        raise ValueError(f"task {task.name}/{task.split}: all {task.size} prompts are longer than {prompt_tokens} tokens, none is left")
    tokens, mask = _fill([encoded[i] for i in kept], prompt_tokens, task.tokenizer.pad, left=True)
    return tokens, mask, np.asarray(kept, np.int32)


def encode_solutions(
    task: Task, response_tokens: int, indices: Sequence[int] | np.ndarray | None = None
) -> tuple[Int[np.ndarray, "N T"], Bool[np.ndarray, "N T"]]:
    """Worked solutions and their end token, right-padded: tokens [N, T], mask [N, T].

    Where the world writes steps of the solution (`task.observed`), their tokens have mask 0, and so has the end token: an episode is
    ended by the world. Those of a chat task are what its template writes. response_tokens: T. indices: rows to encode, default all.
    ValueError naming the first row whose solution is longer.
    """
    rows = range(task.size) if indices is None else [int(i) for i in indices]
    pieces = [_pieces(task, i) for i in rows]
    encoded = [[token for ids, _ in row for token in ids] for row in pieces]
    longest = max(map(len, encoded), default=0)
    for i, ids in zip(rows, encoded, strict=True):
        if len(ids) > response_tokens:
            raise ValueError(
                f"task {task.name}/{task.split}: solution {i} has {len(ids)} tokens with its end token, "
                f"allowed: at most {response_tokens} (the longest has {longest})"
            )
    tokens, mask = _fill(encoded, response_tokens, task.tokenizer.pad, left=False)
    if task.observed is not None or task.encode_solution is not None:
        mask[mask] = np.array([chosen for row in pieces for ids, chosen in row for _ in ids], bool)
    return tokens, mask


def _pieces(task: Task, i: int) -> list[tuple[list[int], bool]]:
    """(token ids, whether the policy wrote them) of the parts of a worked solution, the end token last."""
    end = [task.tokenizer.end]
    if task.encode_solution is not None:
        return [([token], chosen) for token, chosen in zip(*task.encode_solution(i), strict=True)]
    if task.observed is None:
        return [([*task.tokenizer.encode(task.solution(i)), *end], True)]
    steps = zip(task.steps(i), task.observed(i), strict=True)
    return [*((task.tokenizer.encode(text), not observed) for text, observed in steps), (end, False)]


def verify_rows(
    task: Task,
    indices: Int[np.ndarray, "n"],
    tokens: Int[np.ndarray, "n T"],
    mask: Shaped[np.ndarray, "n T"],
    ended: Shaped[np.ndarray, "n"],
    *,
    conditions: Mapping[str, Any] | None = None,
    step: int = 0,
    tally: Tally | None = None,
) -> tuple[dict[str, np.ndarray], Bool[np.ndarray, "n"], list[str]]:
    """Verdicts of a host verifier on sampled rows: components {name: [n, ...] float32}, ok [n], and one line per failure.

    The text of a row is what the policy chose (mask 1) up to the first end token. conditions: {name: [n, ...]}, under which the
    rows were sampled. A row whose verifier raises, or gives anything but finite numbers in the shapes of task.fields, has ok
    False and components 0. Verifiers that ask for it (`task.call`) run in worker processes, on all cores; one that exceeds its time or
    memory there, or takes the process down, has a wrong answer: ok, components 0, and a line. tally: counts all of it.
    """
    begun = time.perf_counter()
    indices, tokens, mask, ended = map(np.asarray, (indices, tokens, mask, ended))
    conditions = {name: np.asarray(values) for name, values in (conditions or {}).items()}
    components = {name: np.zeros((len(indices), *shape), np.float32) for name, shape in task.fields.items()}
    samples = []
    for row in range(len(indices)):
        text = task.tokenizer.decode(_response(tokens[row], mask[row], task.tokenizer.ends))
        given = {name: values[row] for name, values in conditions.items()}
        samples.append(Sample(tokens[row], mask[row], text, "end" if ended[row] else "length", given, step))
    ok, failures = np.ones(len(indices), bool), []
    outcomes = _judge(task, indices.tolist(), samples)
    for row, outcome in enumerate(outcomes):
        try:
            for name, value in _verdict(outcome.verdict(task.fields), task.fields).items():
                components[name][row] = value
            error = LOST.get(outcome.status, "")
        except (ValueError, TypeError, RuntimeError) as raised:
            ok[row] = False
            error = outcome.error or " ".join(f"{type(raised).__name__}: {raised}".split())
        if error:
            failures.append(f"task {task.name}/{task.split}, row {indices[row]}, response {samples[row].text!r}: {error[:200]}")
    if tally is not None:
        statuses = [outcome.status for outcome in outcomes]
        tally.add(len(indices), time.perf_counter() - begun, int((~ok).sum()), statuses.count("timeout"), statuses.count("died"))
    return components, ok, failures


def _judge(task: Task, indices: list[int], samples: list[Sample]) -> list[pool.Outcome]:
    """What became of every verdict."""
    if task.call is not None:
        calls = [task.call(i, sample) for i, sample in zip(indices, samples, strict=True)]
        function, seconds = (calls[0][0], calls[0][2]) if calls else (None, 0.0)
        return pool.shared().map(function, [arguments for _, arguments, _ in calls], seconds) if function else []
    outcomes = []
    for i, sample in zip(indices, samples, strict=True):
        try:
            outcomes.append(pool.Outcome("done", task.verify(i, sample)))
        except Exception as error:  # a verifier is other people's code on untrusted text: whatever it raises, training goes on
            outcomes.append(pool.Outcome("raised", error=" ".join(f"{type(error).__name__}: {error}".split())))  # one line
    return outcomes


def _verdict(found: Any, fields: Mapping[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    """The verifier's components as float32 arrays; ValueError unless exactly `fields`, finite and of their shapes."""
    if not isinstance(found, Mapping) or set(found) != set(fields):
        names = sorted(found) if isinstance(found, Mapping) else repr(found)[:60]
        raise ValueError(f"the verifier gave {names}, allowed: {sorted(fields)}")
    verdict = {name: np.asarray(found[name], np.float32) for name in fields}
    for name, value in verdict.items():
        if value.shape != tuple(fields[name]) or not np.isfinite(value).all():
            raise ValueError(f"component {name!r} is {found[name]!r}, allowed: finite numbers of shape {tuple(fields[name])}")
    return verdict


def _response(tokens: np.ndarray, mask: np.ndarray, ends: tuple[int, ...]) -> list[int]:
    """What the policy chose before the first of the end tokens."""
    chosen = tokens[mask.astype(bool)].tolist()
    return chosen[: next((k for k, token in enumerate(chosen) if token in ends), None)]


def _fill(rows: list[list[int]], width: int, pad: int, *, left: bool) -> tuple[np.ndarray, np.ndarray]:
    """Rows of different lengths as one array and its mask; every row fits."""
    lengths = np.array([len(row) for row in rows], int)[:, None]
    position = np.arange(width)[None, :]
    mask = position >= width - lengths if left else position < lengths
    tokens = np.full((len(rows), width), pad, np.int32)
    tokens[mask] = np.fromiter((i for row in rows for i in row), np.int32, count=int(lengths.sum()))  # row by row, as the mask is read
    return tokens, mask
