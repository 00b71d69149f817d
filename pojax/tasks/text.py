"""What the tasks in natural language share: rows of prompt, solution and answer, their splits and their tokenizer."""

import logging
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from pojax.tasks.task import Task, hinted_prompt, response_text
from pojax.tasks.tokenizers import Characters, Tokenizer, load, train_sentencepiece
from pojax.types import Sample

FIELDS = {"correct": (), "format": ()}
logger = logging.getLogger("pojax")


class Row(NamedTuple):
    """One problem. The steps joined are the worked solution."""

    prompt: str
    steps: list[str]
    answer: Any  # what the verifier compares with
    columns: dict[str, float]


def masked(text: str) -> str:
    """The text with each number as 0, in lower case, without final punctuation, and single spaces: what copies with other numbers share."""
    return " ".join(re.sub(r"[0-9]+(?:[.,][0-9]+)*", "0", text.lower()).split()).rstrip(" .?!")


def make_tokenizer(tokenizer: str, splits: Mapping[str, Sequence[Row]], vocabulary: int) -> Tokenizer:
    """A tokenizer by name, or loaded from the folder of that name.

    "sentencepiece" is trained on prompts and solutions of the training split; "characters" has the characters of all splits.
    Raises ValueError for a name that is neither, and is no folder.
    """

    def texts(split: str) -> list[str]:
        return [text for row in splits[split] for text in (row.prompt, "".join(row.steps))]

    if tokenizer == "sentencepiece":
        return train_sentencepiece(texts("train"), vocabulary=vocabulary)
    if tokenizer == "characters":
        return Characters("".join(sorted({character for split in splits for text in texts(split) for character in text})))
    if not Path(tokenizer).is_dir():
        raise ValueError(f"tokenizer: found {tokenizer!r}, allowed: 'sentencepiece', 'characters', or the folder of a saved tokenizer")
    return load(tokenizer)


def text_tasks(
    name: str, splits: Mapping[str, Sequence[Row]], tokenizer: Tokenizer, judge: Callable[[str, Any], tuple[bool, bool]]
) -> dict[str, Task]:
    """The tasks over given rows, verified on the host: judge(response text, answer) -> (correct, format).

    Both components are 0 for a response that did not end by itself.
    """
    return {split: _task(name, split, list(rows), tokenizer, judge) for split, rows in splits.items()}


def _task(name: str, split: str, rows: list[Row], tokenizer: Tokenizer, judge: Callable[[str, Any], tuple[bool, bool]]) -> Task:
    def steps(i: int) -> list[str]:
        return rows[i].steps

    def verify(i: int, sample: Sample) -> dict[str, float]:
        correct, parsed = judge(response_text(steps, i, sample), rows[i].answer)
        ended = sample.finish_reason == "end"
        return {"correct": float(ended and correct), "format": float(ended and parsed)}

    return Task(
        name=name,
        split=split,
        size=len(rows),
        tokenizer=tokenizer,
        prompt=hinted_prompt(lambda i: rows[i].prompt, steps),
        steps=steps,
        verify=verify,
        fields=FIELDS,
        columns={column: np.array([row.columns[column] for row in rows], np.float32) for column in (rows[0].columns if rows else ())},
    )
