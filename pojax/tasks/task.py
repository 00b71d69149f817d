"""What a task is: prompts, worked solutions and a verifier over the rows of one split."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from pojax.tasks.tokenizers import Tokenizer
from pojax.types import Sample

SPLITS = ("train", "validation", "held_out")


class Environment(NamedTuple):
    """Turns of a task, in JAX: the policy acts, the world answers. A state is any tree of arrays with a first axis of n episodes.

    reset(indices [n]) -> state before the first turn of those rows of the task; what it looks like stands in the task's prompt.
    step(state, tokens [n, A], mask [n, A]) -> (state, observation [n, O], reward [n], done [n]): what the policy wrote in this turn, from
    column 0 on, where mask is 1 (the end token of the turn is part of it; a turn may be cut before one). observation: int32 token ids
    from column 0 on, -1 behind the last one; the policy reads them before its next turn, so they end with what asks for it. done: the
    episode is over, nothing of it is stepped or counted any more. Any tokens must do, those that mean nothing too.
    anchor(state) -> [n] int32 >= 0, below 2^31: equal exactly where two states of a row of the task are the same to the policy, whatever
    led there.
    All three are pure and jittable; where the world is random, the state holds its keys, made from the indices.
    """

    reset: Callable[..., Any]
    step: Callable[..., tuple[Any, Any, Any, Any]]
    anchor: Callable[..., Any]


@dataclasses.dataclass(frozen=True, eq=False)
class Task:
    """One split of a task; rows are 0 .. size - 1, and equality is identity.

    prompt(i, **condition) -> text. Every task of this package takes the condition `hint=k`: the first k steps of the worked
    solution stand behind the prompt, the response goes on from there, and the verifier reads k in `sample.components["hint"]`.
    steps(i) -> the worked solution cut at its step boundaries.
    verify(i, sample) -> {component: number}, for every name of `fields`; may raise, the caller then takes the row out.
    verify_tokens(indices [n], tokens [n, T], mask [n, T], *, hint=None) -> {component: [n]}: the same answers in JAX, jittable;
    None where a verdict needs the host.
    environment: of tasks with turns, for the arrangement `turns`.
    observed(i) -> for every step of steps(i), whether the world wrote it and not the policy; None = the policy writes all.
    call(i, sample) -> (function, arguments, seconds): the verdict as a call for worker processes (`verifiers.pool`), which `verify` makes
    too; None where a verifier is quick and harmless and runs in this process.
    answer_in(text) -> the answer that a response gives, equal texts for equal answers: what majority votes count; None = all of it.
    encode_prompt(i, **condition) -> token ids of a prompt, encode_solution(i) -> (token ids with the end token, for each whether the
    policy wrote it): of chat tasks, whose prompts hold control tokens that no text of the data may be read as. `prompt` then reads as
    the template writes it. None = the tokenizer's ids of `prompt` and of the solution.
    """

    name: str
    split: str
    size: int
    tokenizer: Tokenizer
    prompt: Callable[..., str]
    steps: Callable[[int], list[str]]
    verify: Callable[[int, Sample], dict[str, Any]]
    fields: Mapping[str, tuple[int, ...]]  # shape of each component per row
    columns: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)  # data-set columns, [size, ...]
    verify_tokens: Callable[..., dict[str, Any]] | None = None
    environment: Environment | None = None
    observed: Callable[[int], list[bool]] | None = None
    call: Callable[[int, Sample], tuple[Callable[..., Any], tuple[Any, ...], float]] | None = None
    answer_in: Callable[[str], str] | None = None
    encode_prompt: Callable[..., list[int]] | None = None
    encode_solution: Callable[[int], tuple[list[int], list[bool]]] | None = None

    def __post_init__(self) -> None:
        if self.size < 1:
            raise ValueError(f"task {self.name}: the {self.split} split has no rows, allowed: at least 1")
        for column, values in self.columns.items():
            if len(values) != self.size:
                raise ValueError(f"task {self.name}: column {column!r} has {len(values)} rows, allowed: {self.size}, as the split")
        if both := sorted(set(self.columns) & set(self.fields)):
            raise ValueError(f"task {self.name}: {both[0]!r} is both a column and a component of the verifier")

    def solution(self, i: int) -> str:
        """The worked solution of row i as text, without an end token."""
        return "".join(self.steps(i))

    def hint(self, i: int, k: int | np.integer) -> str:
        """The first k steps of the worked solution of row i; ValueError for k outside 0 .. number of steps."""
        return cut(self.steps(i), k)


def cut(steps: Sequence[str], k: int | np.integer) -> str:
    """The first k of the steps as one text; ValueError for k outside 0 .. len(steps)."""
    k = int(k)
    if not 0 <= k <= len(steps):
        raise ValueError(f"hint: found {k}, allowed: 0 to {len(steps)}, the number of steps of the solution")
    return "".join(steps[:k])


def hinted_prompt(question: Callable[[int], str], steps: Callable[[int], list[str]]) -> Callable[..., str]:
    """prompt(i, *, hint=0) -> the question of row i, then the first `hint` steps of its solution."""

    def prompt(i: int, *, hint: int | np.integer = 0) -> str:
        return question(i) + (cut(steps(i), hint) if hint else "")

    return prompt


def response_text(steps: Callable[[int], list[str]], i: int, sample: Sample) -> str:
    """The text that a verifier judges: what the prompt's hint began and the response went on with."""
    hint = sample.components.get("hint", 0)
    return (cut(steps(i), hint) if hint else "") + sample.text


def split_ranges(order: np.ndarray, *, validation: int, held_out: int, name: str) -> dict[str, np.ndarray]:
    """Ranges of a permuted list of classes: held_out first, then validation, train takes the rest.

    Held-out rows therefore do not change with the size of the other splits. ValueError if a split would be empty.
    """
    if min(validation, held_out) < 1 or held_out + validation >= len(order):
        raise ValueError(
            f"{name}: validation={validation} and held_out={held_out} of {len(order)} problems, "
            "allowed: at least 1 each, and fewer than all of them together"
        )
    parts = np.split(order, [held_out, held_out + validation])
    return {"train": parts[2], "validation": parts[1], "held_out": parts[0]}


def split_groups(keys: Sequence[str], sizes: Mapping[str, int], *, seed: int, name: str) -> dict[str, np.ndarray]:
    """Row indices per split such that rows with equal keys stay together, in ascending order.

    sizes: {split: least number of rows}; groups go, in a seeded order, to the first split that has fewer, and then to train.
    ValueError if a split would be empty.
    """
    groups: dict[str, list[int]] = {}
    for row, key in enumerate(keys):
        groups.setdefault(key, []).append(row)
    members = list(groups.values())
    parts: dict[str, list[int]] = {split: [] for split in ("train", *sizes)}
    for group in np.random.default_rng(seed).permutation(len(members)):
        split = next((split for split, size in sizes.items() if len(parts[split]) < size), "train")
        parts[split] += members[group]
    if min(sizes.values()) < 1 or not parts["train"]:
        wanted = " and ".join(f"{split}={size}" for split, size in sizes.items())
        raise ValueError(f"{name}: {wanted} of {len(keys)} rows, allowed: at least 1 each, and few enough that training rows remain")
    return {split: np.sort(np.asarray(parts[split])) for split in SPLITS if split in parts}
