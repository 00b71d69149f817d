"""Chains of operations modulo a number: `3+4*2-5=` -> `9`, from left to right."""

from itertools import product

import numpy as np

from pojax.tasks.numeric import draw, exact_task
from pojax.tasks.task import Task, split_ranges

LARGEST_SPACE = 10**7


def modular_chain(
    *,
    seed: int = 0,
    modulus: int = 10,
    length: int = 2,
    operations: str = "+-*",
    worked: bool = False,
    limit: int = 200_000,
    validation: int = 256,
    held_out: int = 512,
) -> dict[str, Task]:
    """A number and 1 to `length` operations, carried out from left to right modulo `modulus`. Returns {"train", "validation", "held_out"}.

    Chains that differ only in the order of neighbouring terms (3+4-2 and 4-2+3) or of neighbouring factors are one problem,
    asked in one seeded order. The problems stand in an order permuted by `seed`, and the splits are ranges of it.

    operations: any of "+-*". worked: the solution is the value after each operation, closed by ";" but for the last, which is
    the answer. limit: at most so many problems, drawn evenly. Column difficulty: number of operations.
    Components: correct, format (`numeric.exact_task`). Raises ValueError for unknown operations, modulus below 2, length
    below 1, more than 10^7 chains, and splits larger than the space.
    """
    if not operations or set(operations) - set("+-*") or len(set(operations)) < len(operations):
        raise ValueError(f"modular_chain: operations {operations!r}, allowed: one or more of '+-*', each once")
    if modulus < 2 or length < 1 or (chains := modulus ** (length + 1) * len(operations) ** length) > LARGEST_SPACE:
        found = f"modulus {modulus} and length {length}" + ("" if modulus < 2 or length < 1 else f": {chains} chains")
        raise ValueError(f"modular_chain: {found}, allowed: modulus >= 2, length >= 1, at most {LARGEST_SPACE} chains")
    rng = np.random.default_rng(seed)
    signs, values = _classes(modulus, length, operations)
    chosen = draw(len(values), limit, rng)
    signs, values = _reorder(signs[chosen], values[chosen], rng)
    parts = split_ranges(np.arange(len(values)), validation=validation, held_out=held_out, name="modular_chain")
    return {split: _task(split, signs[rows], values[rows], modulus, worked) for split, rows in parts.items()}


def _classes(modulus: int, length: int, operations: str) -> tuple[np.ndarray, np.ndarray]:
    """One chain per class: signs [n, length + 1] ('' behind the end) and values [n, length + 1].

    The first number counts as a term, or as a factor if a factor follows. Terms that are added stand before those that are subtracted,
    and numbers of one sign ascend.
    """
    all_signs, all_values = [], []
    for count in range(1, length + 1):
        grid = np.indices((modulus,) * (count + 1)).reshape(count + 1, -1).T
        for pattern in product(operations, repeat=count):
            signs = ["*" if pattern[0] == "*" else "+", *pattern]
            if ("-", "+") in zip(signs, signs[1:], strict=False):
                continue
            ascending = np.ones(len(grid), bool)
            for j in range(count):
                if signs[j] == signs[j + 1]:
                    ascending &= grid[:, j] <= grid[:, j + 1]
            values = np.pad(grid[ascending], ((0, 0), (0, length - count)))
            all_values.append(values)
            all_signs.append(np.tile(signs + [""] * (length - count), (len(values), 1)))
    return np.concatenate(all_signs), np.concatenate(all_values)


def _reorder(signs: np.ndarray, values: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Each chain in a random one of the orders that its class allows."""
    kind = np.where(signs == "", 2, np.where(signs == "*", 1, 0))
    run = np.cumsum(np.diff(kind, axis=1, prepend=kind[:, :1]) != 0, axis=1)
    key = rng.random(values.shape)
    # A chain cannot begin with a subtraction: a random one of the added terms goes first.
    added = (run == 0) & (signs == "+")
    first = np.argmin(np.where(added, key, 2.0), axis=1)
    key[np.arange(len(key)), first] -= added.any(axis=1)
    order = np.argsort(run + key, axis=1)
    return np.take_along_axis(signs, order, axis=1), np.take_along_axis(values, order, axis=1)


def _task(split: str, signs: np.ndarray, values: np.ndarray, modulus: int, worked: bool) -> Task:
    partial = [values[:, 0]]
    for j in range(1, values.shape[1]):
        last, sign, value = partial[-1], signs[:, j], values[:, j]
        partial.append(np.select([sign == "+", sign == "-", sign == "*"], [last + value, last - value, last * value], last) % modulus)
    difficulty = np.sum(signs != "", axis=1).astype(np.int32) - 1
    answers = partial[-1].astype(str)
    texts, results = answers.tolist(), np.stack(partial, axis=1).tolist()

    def question(i: int) -> str:
        rest = "".join(f"{sign}{value}" for sign, value in zip(signs[i, 1:].tolist(), values[i, 1:].tolist(), strict=True) if sign)
        return f"{values[i, 0]}{rest}="

    def steps(i: int) -> list[str]:
        if not worked:
            return list(texts[i])
        count = int(difficulty[i])
        return [*(f"{result};" for result in results[i][1:count]), texts[i]]

    return exact_task("modular_chain", split, question, steps, answers, {"difficulty": difficulty}, separator=";" if worked else None)
