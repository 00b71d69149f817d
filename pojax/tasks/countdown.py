"""Reach a target with given numbers: `3,8,5=55:` -> `3+8*5`, read from left to right."""

import re
from itertools import combinations_with_replacement, permutations, product
from math import comb, factorial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Bool, Float, Int, Shaped

from pojax.tasks.numeric import FIELDS, TOKENIZER, HintTable, sampled_text
from pojax.tasks.task import Task, hinted_prompt, response_text, split_ranges
from pojax.types import Sample

OPERATIONS = "+-*/"
MOST_CHAINS = 2 * 10**7  # what is tried at construction: a second or so
LARGEST_NUMBER = 10**6  # numbers saturate here while they are read; no task has one as large


def countdown(
    *,
    seed: int = 0,
    operations: str = "+-*",
    numbers: int = 3,
    largest: int = 30,
    target: int = 100,
    validation: int = 256,
    held_out: int = 512,
) -> dict[str, Task]:
    """Write a chain of operations that uses each given number exactly once and has the target as its value.

    The answer is a chain `a+b*c`, read from left to right without precedence, ((a+b)*c): so one scan over its tokens can judge it.
    A problem is a multiset of 2 to `numbers` numbers from 1 .. `largest` with one target: the value, in 1 .. `target`, of a chain
    drawn evenly from those that the multiset allows; that chain is the solution. The multisets stand in an order permuted by
    `seed`, and the splits are ranges of it: no two problems have the same numbers. Returns {"train", "validation", "held_out"}.

    operations: any of "+-*/"; a division must have no rest. Column difficulty: how many numbers.
    Components: format, 1 for a chain of these operations over numbers without leading zeros; correct, 1 if it also uses the
    given numbers and has the target as its value. The response must have ended by itself.
    Raises ValueError for unknown operations, fewer than 2 numbers, a product of numbers past 2^31, more than 2 * 10^7 chains,
    and splits larger than the space.
    """
    _check(operations, numbers, largest, target)
    rng = np.random.default_rng(seed)
    given, signs, chains, values = [], [], [], []
    for count in range(2, numbers + 1):
        multisets = np.array(list(combinations_with_replacement(range(1, largest + 1), count)))
        reached, sign, chain, value = _draw_chains(multisets, operations, target, rng)
        space = ((0, 0), (0, numbers - count))
        given.append(np.pad(rng.permuted(multisets[reached], axis=1), space))
        signs += [operations_of.tolist() for operations_of in sign]
        chains += chain.tolist()
        values.append(value)
    shown, targets = np.concatenate(given).astype(np.int32), np.concatenate(values).astype(np.int32)
    parts = split_ranges(rng.permutation(len(shown)), validation=validation, held_out=held_out, name="countdown")
    return {
        split: _task(split, operations, shown[rows], targets[rows], [chains[i] for i in rows], [signs[i] for i in rows])
        for split, rows in parts.items()
    }


def _check(operations: str, numbers: int, largest: int, target: int) -> None:
    if not operations or set(operations) - set(OPERATIONS) or len(set(operations)) < len(operations):
        raise ValueError(f"countdown: operations {operations!r}, allowed: one or more of {OPERATIONS!r}, each once")
    if numbers < 2 or largest < 1 or target < 1:
        raise ValueError(
            f"countdown: numbers {numbers}, largest {largest}, target {target}, allowed: at least 2 numbers, and at least 1 for the others"
        )
    if largest**numbers >= 2**31 or largest >= LARGEST_NUMBER:
        raise ValueError(f"countdown: largest {largest} and numbers {numbers}, allowed: largest^numbers below 2^31, largest below 10^6")
    chains = comb(largest + numbers - 1, numbers) * factorial(numbers) * len(operations) ** (numbers - 1)
    if chains > MOST_CHAINS:
        raise ValueError(f"countdown: largest {largest} and numbers {numbers} give {chains} chains, allowed: at most {MOST_CHAINS}")


def _draw_chains(
    multisets: np.ndarray, operations: str, target: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """For each multiset with a chain whose value is in 1 .. target: its row, and signs, numbers and value of one of them, drawn evenly."""
    n, count = multisets.shape
    best = np.full(n, -1.0)
    chain, value = np.zeros((n, count), np.int64), np.zeros(n, np.int64)
    sign = np.zeros((n, count - 1), "U1")
    for order in permutations(range(count)):
        row = multisets[:, order]
        for pattern in product(operations, repeat=count - 1):
            result, whole = row[:, 0], np.ones(n, bool)
            for j, operation in enumerate(pattern, start=1):
                result, exact = _apply(operation, result, row[:, j])
                whole &= exact
            score = rng.random(n)  # the highest of independent scores is an even draw, in one pass
            better = whole & (result >= 1) & (result <= target) & (score > best)
            best, value = np.where(better, score, best), np.where(better, result, value)
            chain, sign = np.where(better[:, None], row, chain), np.where(better[:, None], np.array(pattern), sign)
    reached = np.flatnonzero(best >= 0)
    return reached, sign[reached], chain[reached], value[reached]


def _apply(operation: str, a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray | bool]:
    """Value of a operation b, and where it is whole."""
    if operation == "/":
        return a // b, a % b == 0
    return (a + b if operation == "+" else a - b if operation == "-" else a * b), True


def _task(split: str, operations: str, numbers: np.ndarray, targets: np.ndarray, chains: list[list[int]], signs: list[list[str]]) -> Task:
    shown = [[number for number in row if number] for row in numbers.tolist()]
    goals = targets.tolist()
    chain_form = re.compile(f"[1-9][0-9]*(?:[{re.escape(operations)}][1-9][0-9]*)*")

    def question(i: int) -> str:
        return f"{','.join(map(str, shown[i]))}={goals[i]}:"

    def steps(i: int) -> list[str]:
        first, *rest = chains[i][: len(shown[i])]
        return [str(first), *(f"{sign}{number}" for sign, number in zip(signs[i], rest, strict=True))]

    hints = HintTable(steps, len(goals))

    def verify(i: int, sample: Sample) -> dict[str, float]:
        text = response_text(steps, i, sample)
        parsed = sample.finish_reason == "end" and chain_form.fullmatch(text) is not None
        # Compared as text first: a sampled number may be too long for int().
        correct = parsed and sorted(re.findall("[0-9]+", text)) == sorted(map(str, shown[i])) and _value(text) == goals[i]
        return {"correct": float(correct), "format": float(parsed)}

    def verify_tokens(
        indices: Int[ArrayLike, "n"],
        tokens: Int[ArrayLike, "n T"],
        mask: Shaped[ArrayLike, "n T"],
        *,
        hint: Shaped[ArrayLike, "n"] | None = None,
    ) -> dict[str, Float[Array, "n"]]:
        text, length, ended = sampled_text(tokens, mask)
        if hint is not None:
            text, length = hints.prepend(text, length, indices, hint)
        parsed, used, value = _read_chains(text, length, jnp.asarray(numbers)[indices], operations)
        number = jnp.result_type(float)
        correct = ended & parsed & used & (value == jnp.asarray(targets)[indices])
        return {"correct": correct.astype(number), "format": (ended & parsed).astype(number)}

    return Task(
        name="countdown",
        split=split,
        size=len(goals),
        tokenizer=TOKENIZER,
        prompt=hinted_prompt(question, steps),
        steps=steps,
        verify=verify,
        fields=FIELDS,
        columns={"difficulty": np.array([len(row) for row in shown], np.int32)},
        verify_tokens=verify_tokens,
    )


def _value(chain: str) -> int | None:
    """Value of a well-formed chain from left to right; None if a division has a rest."""
    value, sign = 0, "+"
    for token in re.findall("[0-9]+|[^0-9]", chain):
        if not token.isdigit():
            sign = token
            continue
        number = int(token)
        if sign == "/" and value % number:
            return None
        value = {"+": value + number, "-": value - number, "*": value * number, "/": value // number}[sign]
    return value


def _read_chains(
    text: Int[Array, "n W"], length: Int[Array, "n"], numbers: Int[Array, "n K"], operations: str
) -> tuple[Bool[Array, "n"], Bool[Array, "n"], Int[Array, "n"]]:
    """Whether each text is a chain, whether it uses exactly the numbers (0 = none) and divides without rest, and its value.

    The value means something only where the first two hold: then it cannot overflow.
    """
    zero, n = TOKENIZER.ids["0"], len(text)

    def finish(state: dict[str, Array], at: Bool[Array, "n"]) -> dict[str, Array]:
        """Take up the number that was just read, on the rows where it ended here."""
        number = jnp.maximum(state["number"], 1)  # 0 stands where none was read: not a chain then
        free = (numbers == number[:, None]) & ~state["taken"]
        slot = jnp.arange(numbers.shape[1]) == jnp.argmax(free, axis=1)[:, None]
        value, sign = state["value"], state["sign"]
        results = {"+": value + number, "-": value - number, "*": value * number, "/": value // number}
        conditions = [sign == TOKENIZER.ids[operation] for operation in OPERATIONS]
        whole = (sign != TOKENIZER.ids["/"]) | (value % number == 0)
        return {
            "chain": state["chain"] & (~at | (state["number"] > 0)),
            "used": state["used"] & (~at | (jnp.any(free, axis=1) & whole)),
            "taken": state["taken"] | (free & slot & at[:, None]),
            "value": jnp.where(at, jnp.select(conditions, list(results.values()), value), value),
            "number": jnp.where(at, 0, state["number"]),
            "sign": sign,
        }

    def read(state: dict[str, Array], column: tuple[Array, Array]) -> tuple[dict[str, Array], None]:
        token, inside = column
        digit = token - zero
        is_digit, is_sign = (digit >= 0) & (digit <= 9), jnp.zeros(n, bool)
        for operation in operations:
            is_sign |= token == TOKENIZER.ids[operation]
        fits = is_sign | (is_digit & ((digit > 0) | (state["number"] > 0)))  # no number begins with 0
        state = finish(state, inside & is_sign)
        longer = jnp.minimum(state["number"] * 10 + digit, LARGEST_NUMBER)
        return state | {
            "chain": state["chain"] & (~inside | fits),
            "number": jnp.where(inside & is_digit, longer, state["number"]),
            "sign": jnp.where(inside & is_sign, token, state["sign"]),
        }, None

    start = {
        "chain": jnp.ones(n, bool),
        "used": jnp.ones(n, bool),
        "taken": numbers == 0,
        "value": jnp.zeros(n, jnp.int32),
        "number": jnp.zeros(n, jnp.int32),
        "sign": jnp.full(n, TOKENIZER.ids["+"], jnp.int32),
    }
    inside = jnp.arange(text.shape[1])[:, None] < length
    state, _ = jax.lax.scan(read, start, (text.astype(jnp.int32).T, inside))
    state = finish(state, jnp.ones(n, bool))
    return state["chain"], state["used"] & jnp.all(state["taken"], axis=1), state["value"]
