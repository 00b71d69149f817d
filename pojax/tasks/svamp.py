"""SVAMP: English word problems, answered by an equation. Dan had 3 dollars left ... -> `4-3`."""

import json
import re
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from pojax.tasks.expressions import evaluate
from pojax.tasks.leakage import logger, masked, report
from pojax.tasks.task import Task, split_groups
from pojax.tasks.text import Row, make_tokenizer, text_tasks, worked_solution
from pojax.tasks.verifiers import bind


def svamp(
    *,
    path: str,
    seed: int = 0,
    tokenizer: str = "sentencepiece",
    vocabulary: int = 1024,
    validation: int = 100,
    held_out: int = 200,
    verifier: Any = ("equation", {}),
    chat: Mapping[str, Any] | None = None,
) -> dict[str, Task]:
    """The 1000 problems of SVAMP.json; the response is by default an expression, and right if its value is the answer.

    Returns {"train", "validation", "held_out"}.

    The data have no official split, and many problems tell the same story with other numbers or another question. So problems
    whose story (field Body) is the same with its numbers masked are in one split; `validation` and `held_out` are the least
    numbers of problems there. Problems whose own equation does not give their answer are left out, which is logged.

    tokenizer: "sentencepiece" (trained on the training split, at most `vocabulary` tokens), "characters", or the folder of a saved one.
    chat: as in `records.records_tasks`.
    The solution is the equation without spaces and outer brackets. Column difficulty: number of operations in it.
    verifier: an entry or a list of them, see `verifiers`: by default `equation`; ("numeric", dict(extract="hash_marks")) asks for the
    number, which then stands behind the equation of the solution.
    Raises ValueError naming file and row of malformed data. Source: Patel et al., arXiv 2103.07191.
    """
    bound = bind(verifier, "task.svamp.verifier")
    rows, keys = [], []
    left_out = 0
    for where, body, question, equation, answer in _read(path):
        if evaluate(equation) != answer:
            left_out += 1
            continue
        prepared = bound.prepare(str(answer))
        solution = worked_solution(where, _shorten(equation), prepared, bound)
        steps = re.findall(r"[0-9.]+|[-+*/()]|.+", solution)
        end = "" if body.endswith((".", "?", "!")) else "."
        rows.append(Row(f"{body}{end} {question}", steps, prepared, {"difficulty": sum(step in "+-*/" for step in steps)}))
        keys.append(masked(body))
    if left_out:
        logger.warning("svamp: %d of %d problems left out, whose equation does not give their answer", left_out, left_out + len(rows))
    parts = split_groups(keys, {"held_out": held_out, "validation": validation}, seed=seed, name="svamp")
    splits = {split: [rows[i] for i in indices] for split, indices in parts.items()}
    report("svamp", {split: [row.prompt for row in part] for split, part in splits.items()})
    return text_tasks("svamp", splits, make_tokenizer(tokenizer, splits, vocabulary), bound, chat=chat)


def _read(path: str) -> list[tuple[str, str, str, str, Fraction]]:
    """Place, body, question, equation and answer of each problem."""
    try:
        with open(path, encoding="utf-8") as file:
            problems = json.load(file)
    except OSError as error:
        raise ValueError(f"svamp: path {path!r}: {error.strerror}, allowed: a file SVAMP.json") from None
    except ValueError as error:
        raise ValueError(f"{path}: no JSON ({error}), allowed: a file SVAMP.json") from None
    if not isinstance(problems, list) or not problems:
        raise ValueError(f"{path}: found {'an empty list' if problems == [] else type(problems).__name__}, allowed: a list of problems")
    return [_fields(f"{path}: problem {i}", problem) for i, problem in enumerate(problems)]


def _fields(where: str, problem: Any) -> tuple[str, str, str, str, Fraction]:
    if not isinstance(problem, dict):
        raise ValueError(f"{where}: found {str(problem)[:60]!r}, allowed: an object")
    for key in ("Body", "Question", "Equation"):
        if not isinstance(problem.get(key), str):
            raise ValueError(f"{where}: {key!r} is {problem.get(key)!r}, allowed: a text")
    answer = problem.get("Answer")
    try:
        evaluate(problem["Equation"])
        return where, problem["Body"].strip(), problem["Question"].strip(), problem["Equation"], Fraction(str(answer))
    except ValueError as error:
        raise ValueError(f"{where}: equation {problem['Equation']!r} and answer {answer!r}: {error}") from None


def _shorten(equation: str) -> str:
    """( 76.0 - 25.0 ) -> 76-25"""
    text = re.sub(r"\s+", "", re.sub(r"([0-9])\.0+(?![0-9])", r"\1", equation))
    inner = text[1:-1]
    if text.startswith("(") and text.endswith(")"):
        try:
            evaluate(inner)
        except ValueError:  # as in (1+2)*(3+4), the first bracket does not close at the end
            return text
        return inner
    return text
