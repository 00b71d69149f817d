"""Digits to put in order: `52713>` -> `12357` sorts, `52713<` -> `31725` reverses."""

from itertools import combinations_with_replacement

import numpy as np

from pojax.tasks.numeric import draw, exact_task
from pojax.tasks.task import Task, split_ranges


def sorting(*, seed: int = 0, shortest: int = 3, longest: int = 6, validation: int = 256, held_out: int = 512) -> dict[str, Task]:
    """Sort digits in ascending order. Returns {"train", "validation", "held_out"}.

    A problem is a multiset of `shortest` to `longest` digits, asked in one seeded order; the multisets stand in an order
    permuted by `seed`, and the splits are ranges of it.
    Column difficulty: number of digits. Components: correct, format (`numeric.exact_task`).
    Raises ValueError for lengths outside 1 .. 8, and splits larger than the space.
    """
    _check_lengths("sorting", shortest, longest, 8)
    rng = np.random.default_rng(seed)
    answers, questions = [], []
    for length in range(shortest, longest + 1):
        digits = np.array(list(combinations_with_replacement(range(10), length)))
        answers += _texts(digits)
        questions += [f"{text}>" for text in _texts(rng.permuted(digits, axis=1))]
    order = rng.permutation(len(answers))
    return _tasks("sorting", order, questions, answers, validation, held_out)


def reversal(
    *, seed: int = 0, shortest: int = 3, longest: int = 4, limit: int = 200_000, validation: int = 256, held_out: int = 512
) -> dict[str, Task]:
    """Write digits in reverse order. Returns {"train", "validation", "held_out"}.

    A problem is a string of `shortest` to `longest` digits together with its reverse; a seeded bit chooses which of the two is
    asked. They stand in an order permuted by `seed`, and the splits are ranges of it. limit: at most so many, drawn evenly.
    Column difficulty: number of digits. Components: correct, format (`numeric.exact_task`).
    Raises ValueError for lengths outside 1 .. 6, and splits larger than the space.
    """
    _check_lengths("reversal", shortest, longest, 6)
    rng = np.random.default_rng(seed)
    strings, lengths = [], []
    for length in range(shortest, longest + 1):
        values = np.arange(10**length)
        digits = values[:, None] // 10 ** np.arange(length) % 10  # the lowest digit first: the reverse of what values print
        values = values[values <= digits @ 10 ** np.arange(length)[::-1]]
        strings.append(values)
        lengths.append(np.full(len(values), length))
    values, widths = np.concatenate(strings), np.concatenate(lengths)
    chosen = draw(len(values), limit, rng)
    texts = [f"{value:0{width}d}" for value, width in zip(values[chosen].tolist(), widths[chosen].tolist(), strict=True)]
    flipped = rng.integers(2, size=len(texts))
    asked = [text[::-1] if flip else text for text, flip in zip(texts, flipped, strict=True)]
    return _tasks("reversal", np.arange(len(asked)), [f"{text}<" for text in asked], [text[::-1] for text in asked], validation, held_out)


def _check_lengths(name: str, shortest: int, longest: int, most: int) -> None:
    if not 1 <= shortest <= longest <= most:
        raise ValueError(f"{name}: shortest {shortest} and longest {longest}, allowed: 1 <= shortest <= longest <= {most}")


def _texts(digits: np.ndarray) -> list[str]:
    return ["".join(map(str, row)) for row in digits.tolist()]


def _tasks(name: str, order: np.ndarray, questions: list[str], answers: list[str], validation: int, held_out: int) -> dict[str, Task]:
    parts = split_ranges(order, validation=validation, held_out=held_out, name=name)
    return {split: _task(name, split, [questions[i] for i in rows], [answers[i] for i in rows]) for split, rows in parts.items()}


def _task(name: str, split: str, questions: list[str], answers: list[str]) -> Task:
    difficulty = np.array([len(answer) for answer in answers], np.int32)
    return exact_task(name, split, questions.__getitem__, lambda i: list(answers[i]), np.array(answers), {"difficulty": difficulty})
