"""What the tasks in natural language share: rows of prompt, solution and answer, their splits and their tokenizer."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from pojax.tasks.chat import in_chat
from pojax.tasks.task import Task, hinted_prompt, response_text
from pojax.tasks.tokenizers import Characters, Tokenizer, load, train_sentencepiece
from pojax.tasks.verifiers import Verifier, pool
from pojax.types import Sample


class Row(NamedTuple):
    """One problem. The steps joined are the worked solution."""

    prompt: str
    steps: list[str]
    answer: tuple[Any, ...]  # prepared by the verifier
    columns: dict[str, float]


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
    name: str,
    splits: Mapping[str, Sequence[Row]],
    tokenizer: Tokenizer,
    verifier: Verifier,
    chat: Mapping[str, Any] | None = None,
) -> dict[str, Task]:
    """The tasks over given rows, judged on the host by a bound verifier, whose components they have; rows hold prepared answers.

    chat: None, or the keywords of `chat.Chat` (dict(system="...")) where a model is asked through the template of its folder.
    """
    return in_chat({split: _task(name, split, list(rows), tokenizer, verifier) for split, rows in splits.items()}, chat)


def _task(name: str, split: str, rows: list[Row], tokenizer: Tokenizer, verifier: Verifier) -> Task:
    seconds = verifier.seconds

    def steps(i: int) -> list[str]:
        return rows[i].steps

    def call(i: int, sample: Sample) -> tuple[Verifier, tuple[Any, ...], float]:
        return verifier, (sample._replace(text=response_text(steps, i, sample)), rows[i].answer), seconds or 0.0

    def verify(i: int, sample: Sample) -> dict[str, Any]:
        function, arguments, limit = call(i, sample)
        if seconds is None:
            return function(*arguments)
        (outcome,) = pool.shared().map(function, [arguments], limit)
        return outcome.verdict(verifier.fields)

    return Task(
        name=name,
        split=split,
        size=len(rows),
        tokenizer=tokenizer,
        prompt=hinted_prompt(lambda i: rows[i].prompt, steps),
        steps=steps,
        verify=verify,
        fields=verifier.fields,
        columns={column: np.array([row.columns[column] for row in rows], np.float32) for column in (rows[0].columns if rows else ())},
        call=None if seconds is None else call,
        answer_in=lambda text: verifier.found(text) or "",
    )


def worked_solution(where: str, solution: str, answer: tuple[Any, ...], verifier: Verifier) -> str:
    """A solution that gives the answer: with the answer written behind it, as the verifier looks for it, if it holds none.

    Empty where a record has none and the verifier cannot write one. ValueError naming the place where the verifier finds it wrong; one that
    needs a worker process is not asked.
    """
    ending = verifier.written(answer)
    if ending is not None and verifier.found(solution) is None:
        alone = solution.strip() in ("", str(answer[0]))
        solution = ending if alone else solution + ("\n" if "\n" in solution else " ") + ending
    if solution and verifier.seconds is None and verifier(Sample(None, None, solution, "end"), answer).get("correct", 1.0) != 1.0:
        raise ValueError(f"{where}: the solution {short(solution)} does not give the answer {short(answer[0])}")
    return solution


def short(value: Any) -> str:
    """What was found, for a message."""
    return "missing" if value is None else repr(value)[:60]
