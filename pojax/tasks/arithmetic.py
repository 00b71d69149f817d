"""Sums, differences, products and quotients of whole numbers: `37+58=` -> `95`."""

import numpy as np

from pojax.tasks.numeric import draw, exact_task
from pojax.tasks.task import Task, split_ranges

OPERATIONS = "+-*/"


def arithmetic(
    *,
    seed: int = 0,
    operations: str = "+",
    digits: int = 2,
    worked: bool = False,
    reverse: bool = False,
    padded: bool = False,
    limit: int = 200_000,
    validation: int = 256,
    held_out: int = 512,
) -> dict[str, Task]:
    """Two operands below 10^digits and one operation; the answer in plain digits. Returns {"train", "validation", "held_out"}.

    Problems are classes: a+b and b+a (a*b and b*a) are one, and a seeded bit chooses which one is asked. Differences are not
    negative; quotients, of a product by one of its factors (not 0), have no rest. The classes stand in an order permuted by
    `seed`, and the splits are ranges of it.

    operations: any of "+-*/". worked: the solution first writes one line per digit with its carry, each closed by ";", and the
    answer is what stands behind the last ";". reverse: the answer is written from its lowest digit on, as one adds by hand,
    which small decoders learn from fewer examples (arXiv 2307.03381). limit: at most so many classes, drawn evenly.
    validation, held_out: problems in these splits. Column difficulty: carries of a sum, borrows of a difference; of products
    and quotients the number of single-digit products that are not 0. Components: correct, format (`numeric.exact_task`).
    Raises ValueError for unknown operations, digits outside 1 .. 6, and splits larger than the space.
    """
    if not operations or set(operations) - set(OPERATIONS) or len(set(operations)) < len(operations):
        raise ValueError(f"arithmetic: operations {operations!r}, allowed: one or more of {OPERATIONS!r}, each once")
    if not 1 <= digits <= 6:
        raise ValueError(f"arithmetic: digits {digits}, allowed: 1 to 6")
    rng = np.random.default_rng(seed)
    base = 10**digits
    sizes = [base * (base - 1) if operation == "/" else base * (base + 1) // 2 for operation in operations]
    ids = draw(sum(sizes), limit, rng)
    swapped = rng.integers(2, size=len(ids)).astype(bool)
    which = np.searchsorted(np.cumsum(sizes), ids, side="right")
    within = ids - np.concatenate([[0], np.cumsum(sizes)])[which]
    operation = np.array(list(operations))[which]
    a, b = _operands(within, operation, base, swapped)
    difficulty = _difficulty(a, b, operation, digits)
    parts = split_ranges(np.arange(len(ids)), validation=validation, held_out=held_out, name="arithmetic")
    width = digits if padded else 0
    return {
        split: _task(split, a[rows], b[rows], operation[rows], difficulty[rows], worked, reverse, width) for split, rows in parts.items()
    }


def _operands(within: np.ndarray, operation: np.ndarray, base: int, swapped: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The numbers a, b of class number `within` of its operation; of a quotient the quotient and the divisor."""
    # Pairs low <= high are numbered high * (high + 1) / 2 + low; the square root is exact enough to be off by one at most.
    high = ((np.sqrt(8.0 * within + 1) - 1) / 2).astype(np.int64)
    high += (high + 1) * (high + 2) // 2 <= within
    high -= high * (high + 1) // 2 > within
    low = within - high * (high + 1) // 2
    first_high = (operation == "-") | swapped
    a, b = np.where(first_high, high, low), np.where(first_high, low, high)
    quotient = operation == "/"
    return np.where(quotient, within // (base - 1), a), np.where(quotient, within % (base - 1) + 1, b)


def _difficulty(a: np.ndarray, b: np.ndarray, operation: np.ndarray, digits: int) -> np.ndarray:
    carry, borrow = np.zeros_like(a), np.zeros_like(a)
    carries, borrows = np.zeros_like(a), np.zeros_like(a)
    digits_a, digits_b = np.zeros_like(a), np.zeros_like(a)
    for k in range(digits):
        x, y = a // 10**k % 10, b // 10**k % 10
        carry, borrow = (x + y + carry >= 10).astype(a.dtype), (x - y - borrow < 0).astype(a.dtype)
        carries, borrows = carries + carry, borrows + borrow
        digits_a, digits_b = digits_a + (x > 0), digits_b + (y > 0)
    return np.select([operation == "+", operation == "-"], [carries, borrows], digits_a * digits_b).astype(np.int32)


def _task(
    split: str, a: np.ndarray, b: np.ndarray, operation: np.ndarray, difficulty: np.ndarray, worked: bool, reverse: bool, width: int
) -> Task:
    values = np.select([operation == "+", operation == "-", operation == "*"], [a + b, a - b, a * b], a)
    answers = values.astype(str)
    if reverse:
        answers = np.array([text[::-1] for text in answers.tolist()])
    left, right, signs, texts = np.where(operation == "/", a * b, a).tolist(), b.tolist(), operation.tolist(), answers.tolist()

    def question(i: int) -> str:
        return f"{left[i]:0{width}d}{signs[i]}{right[i]:0{width}d}="

    def steps(i: int) -> list[str]:
        return [*_lines(left[i], right[i], signs[i]), texts[i]] if worked else list(texts[i])

    return exact_task("arithmetic", split, question, steps, answers, {"difficulty": difficulty}, separator=";" if worked else None)


def _lines(a: int, b: int, sign: str) -> list[str]:
    """The written working of one problem, each line closed by ";"."""
    if sign in "+-":
        return _digit_lines(a, b, sign)
    # Products digit by digit of b, quotients digit by digit of the quotient; then running sums of the parts.
    one, other = (a, b) if sign == "*" else (b, a // b)
    parts = [int(digit) * 10**k for k, digit in enumerate(reversed(str(other))) if digit != "0"]
    lines = [f"{one}*{part}={one * part};" for part in parts]
    if sign == "*":
        total = one * parts[0] if parts else 0
        for part in parts[1:]:
            lines.append(f"{total}+{one * part}={total + one * part};")
            total += one * part
    return lines


def _digit_lines(a: int, b: int, sign: str) -> list[str]:
    lines, over = [], 0
    for k in range(max(len(str(a)), len(str(b)))):
        x, y = a // 10**k % 10, b // 10**k % 10
        if sign == "+":
            value = x + y + over
            lines.append(f"{x}+{y}{'+1' if over else ''}={value};")
            over = value // 10
        else:
            borrow = int(x - y - over < 0)
            lines.append(f"{x + 10 * borrow}-{y}{'-1' if over else ''}={x + 10 * borrow - y - over};")
            over = borrow
    return lines
