"""GSM8K: grade-school word problems with worked solutions that end in `#### answer`."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pojax.tasks.files import read_records
from pojax.tasks.records import records_tasks
from pojax.tasks.task import Task
from pojax.tasks.text import short
from pojax.tasks.verifiers import bind


def gsm8k(
    *,
    path: str,
    template: str = "{question}\n",
    shots: int = 0,
    notes: bool = False,
    verifier: Any = ("numeric", dict(extract="hash_marks")),
    split_by: str = "prompt",
    tokenizer: str = "sentencepiece",
    vocabulary: int = 4096,
    chat: Mapping[str, Any] | None = None,
    seed: int = 0,
    validation: int = 256,
) -> dict[str, Task]:
    """The 7473 training and 1319 test problems; the test file is the held-out split. Returns {"train", "validation", "held_out"}.

    path: a folder with train.jsonl and test.jsonl, lines {"question", "answer"}. notes: keep the calculator's <<48/2=24>> in the solutions.
    The solution is the worked answer without its last line, then the answer as the verifier looks for it: `#### 72` by default,
    a box with verifier=("numeric", dict(extract="boxed")). Column difficulty: number of lines of the worked answer.
    The other options are those of `records.records_tasks`. Raises ValueError naming file and line of malformed data.
    Source: Cobbe et al., arXiv 2110.14168.
    """
    files = [Path(path) / f"{split}.jsonl" for split in ("train", "test")]
    for file in files:
        if not file.is_file():
            raise ValueError(f"gsm8k: path {path!r} holds no {file.name}, allowed: a folder with train.jsonl and test.jsonl")
    bound = bind(verifier, "task.gsm8k.verifier")

    def record(where: str, line: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
        worked = line.get("answer")
        if not isinstance(worked, str) or "####" not in worked:
            raise ValueError(f"{where}: 'answer' is {short(worked)}, allowed: a worked solution that ends in '#### ' and the answer")
        body, _, answer = worked.rpartition("####")
        body = (body if notes else re.sub(r"<<[^<>]*>>", "", body)).strip()
        try:
            ending = bound.written(bound.prepare(answer.strip()))
        except ValueError as error:
            raise ValueError(f"{where}: the answer is {short(answer.strip())}, allowed: {error}") from None
        solution = "\n".join(part for part in (body, ending) if part)
        return where, {**line, "answer": answer.strip(), "solution": solution, "difficulty": len(body.splitlines())}

    train, test = ([record(where, line) for where, line in read_records(str(file), "gsm8k")] for file in files)
    return records_tasks(
        "gsm8k", train, test, prompt_key="question", template=template, shots=shots, columns=("difficulty",), verifier=verifier,
        split_by=split_by, tokenizer=tokenizer, vocabulary=vocabulary, chat=chat, seed=seed, validation=validation,
    )  # fmt: skip
