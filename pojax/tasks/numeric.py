"""What the numeric tasks share: one alphabet, seeded draws of problem classes, and exact answers judged on text and on tokens."""

import re
from collections.abc import Callable

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Bool, Float, Int, Shaped, UInt8

from pojax.tasks.task import Task, hinted_prompt, response_text
from pojax.tasks.tokenizers import Characters
from pojax.types import Sample

# One alphabet for all, so that parameters trained on one numeric task fit the others.
TOKENIZER = Characters("0123456789+-*/=;,:<>")
FIELDS = {"correct": (), "format": ()}


def draw(total: int, limit: int, rng: np.random.Generator) -> Int[np.ndarray, "n"]:
    """The first `limit` entries (or all) of a random permutation of 0 .. total - 1."""
    if limit < 1:
        raise ValueError(f"limit: found {limit}, allowed: at least 1")
    return rng.permutation(total) if total <= limit else rng.choice(total, limit, replace=False)


def token_table(texts: np.ndarray) -> tuple[UInt8[np.ndarray, "n L"], Int[np.ndarray, "n"]]:
    """Texts [n] over the numeric alphabet as padded token ids [n, L] and lengths [n]; a thousand times faster than one by one."""
    points = np.ascontiguousarray(texts).view(np.uint32).reshape(len(texts), -1)  # numpy holds text as code points, 0 behind the end
    lookup = np.zeros(128, np.uint8)
    for character, i in TOKENIZER.ids.items():
        lookup[ord(character)] = i
    return lookup[points], np.asarray(np.sum(points > 0, axis=1, dtype=np.int32))


def sampled_text(
    tokens: Int[ArrayLike, "n T"], mask: Shaped[ArrayLike, "n T"]
) -> tuple[Int[Array, "n T"], Int[Array, "n"], Bool[Array, "n"]]:
    """What a decoder would read of sampled rows, as tokens moved to the left [n, T], their number [n], and whether the row ended [n].

    Read are the tokens where mask is 1, up to the first end token, without pad tokens. A row ended if it holds an end token.
    """
    tokens, chosen = jnp.asarray(tokens), jnp.asarray(mask).astype(bool)
    n, width = tokens.shape
    end = chosen & (tokens == TOKENIZER.end)
    read = chosen & (jnp.cumsum(end, axis=1) == 0) & (tokens != TOKENIZER.pad)
    column = jnp.where(read, jnp.cumsum(read, axis=1) - 1, width)  # what is not read goes past the last column, and is dropped
    text = jnp.full((n, width), TOKENIZER.pad, tokens.dtype).at[jnp.arange(n)[:, None], column].set(tokens, mode="drop")
    return text, jnp.sum(read, axis=1), jnp.any(end, axis=1)


class HintTable:
    """The worked solutions of a split as arrays, made when a program first asks for hints."""

    def __init__(self, steps: Callable[[int], list[str]], size: int):
        self.steps, self.size = steps, size
        self._tables: tuple[np.ndarray, np.ndarray] | None = None

    def prepend(
        self, text: Int[Array, "n T"], length: Int[Array, "n"], indices: Int[ArrayLike, "n"], hint: Shaped[ArrayLike, "n"]
    ) -> tuple[Int[Array, "n W"], Int[Array, "n"]]:
        """Tokens of the first `hint` steps of the rows' solutions, then the text; W is T and the longest solution."""
        if self._tables is None:
            rows = [self.steps(i) for i in range(self.size)]
            cuts = np.zeros((self.size, max(map(len, rows)) + 1), np.int32)
            for i, row in enumerate(rows):
                ends = np.cumsum([0, *map(len, row)])
                cuts[i] = np.concatenate([ends, np.full(cuts.shape[1] - len(ends), ends[-1])])
            self._tables = token_table(np.array(["".join(row) for row in rows]))[0], cuts
        solutions, cuts = self._tables
        start = jnp.asarray(cuts)[indices, jnp.clip(jnp.asarray(hint).astype(jnp.int32), 0, cuts.shape[1] - 1)]
        position = jnp.arange(text.shape[1] + solutions.shape[1])
        head = jnp.pad(jnp.asarray(solutions)[indices].astype(text.dtype), ((0, 0), (0, text.shape[1])))
        tail = jnp.take_along_axis(text, jnp.clip(position - start[:, None], 0, text.shape[1] - 1), axis=1)
        return jnp.where(position < start[:, None], head, tail), start + length


def _behind_last(text: Int[Array, "n W"], length: Int[Array, "n"], token: int) -> Int[Array, "n"]:
    """The position behind the last such token; 0 if there is none."""
    position = jnp.arange(text.shape[1])
    return jnp.max(jnp.where((position < length[:, None]) & (text == token), position + 1, 0), axis=1)


def _is_number(text: Int[Array, "n W"], start: Int[Array, "n"], length: Int[Array, "n"]) -> Bool[Array, "n"]:
    """Whether start .. length holds one digit or more and nothing else."""
    position = jnp.arange(text.shape[1])
    digit = (text >= TOKENIZER.ids["0"]) & (text <= TOKENIZER.ids["9"])  # the digits follow each other in the alphabet
    return jnp.all(digit | (position >= length[:, None]) | (position < start[:, None]), axis=1) & (length > start)


def _reads(
    text: Int[Array, "n W"], start: Int[Array, "n"], length: Int[Array, "n"], expected: UInt8[Array, "n L"], size: Int[Array, "n"]
) -> Bool[Array, "n"]:
    """Whether start .. length holds exactly the first `size` tokens of expected."""
    column = jnp.arange(expected.shape[1])
    found = jnp.take_along_axis(text, jnp.clip(start[:, None] + column, 0, text.shape[1] - 1), axis=1)
    return jnp.all((found == expected) | (column >= size[:, None]), axis=1) & (length - start == size)


def exact_task(
    name: str,
    split: str,
    question: Callable[[int], str],
    steps: Callable[[int], list[str]],
    answers: np.ndarray,
    columns: dict[str, np.ndarray],
    *,
    separator: str | None = None,
) -> Task:
    """A task whose answer is one string of digits: answers [n], an array of texts.

    The response's answer is its whole text, or with a separator what stands behind the last one; the response must have ended by itself.
    Components: correct, 1 for exactly the digits of `answers` (a leading zero is wrong); format, 1 for one digit or more and nothing else.
    """
    table, lengths = token_table(answers)
    texts, hints = answers.tolist(), HintTable(steps, len(answers))

    def verify(i: int, sample: Sample) -> dict[str, float]:
        text = response_text(steps, i, sample)
        answer = text.rpartition(separator)[2] if separator else text
        ended = sample.finish_reason == "end"
        return {
            "correct": float(ended and answer == texts[i]),
            "format": float(ended and re.fullmatch("[0-9]+", answer) is not None),
        }

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
        start = _behind_last(text, length, TOKENIZER.ids[separator]) if separator else jnp.zeros_like(length)
        parsed = _is_number(text, start, length)
        equal = _reads(text, start, length, jnp.asarray(table)[indices], jnp.asarray(lengths)[indices])
        number = jnp.result_type(float)
        return {"correct": (ended & equal).astype(number), "format": (ended & parsed).astype(number)}

    return Task(
        name=name,
        split=split,
        size=len(answers),
        tokenizer=TOKENIZER,
        prompt=hinted_prompt(question, steps),
        steps=steps,
        verify=verify,
        fields=FIELDS,
        columns=columns,
        verify_tokens=verify_tokens,
    )
