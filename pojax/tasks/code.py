"""Programming problems: the code in a response is run against unit tests, in a sandbox."""

from collections.abc import Mapping, Sequence
from typing import Any

from pojax.tasks.files import read_records
from pojax.tasks.records import records_tasks
from pojax.tasks.task import Task


def code(
    *,
    path: str,
    held_out_path: str | None = None,
    prompt_key: str = "prompt",
    tests_key: str = "tests",
    setup_key: str = "setup",
    solution_key: str = "solution",
    template: str | None = None,
    shots: int = 0,
    columns: Sequence[str] = (),
    verifier: Any = ("unit_tests", {}),
    split_by: str = "prompt",
    tokenizer: str = "sentencepiece",
    vocabulary: int = 4096,
    chat: Mapping[str, Any] | None = None,
    seed: int = 0,
    validation: int | None = None,
    held_out: int | None = None,
) -> dict[str, Task]:
    """Problems from JSON lines or Parquet whose answers are programs. Returns {"train", "validation", "held_out"}.

    tests_key: the field with the tests: a list of assert statements, the code of a test file, or one of the forms of
    `verifiers.code.read_tests`. Code that defines check(candidate), as HumanEval's, is called with the function that the field entry_point
    names. setup_key: code that runs before asserts and tests. solution_key: code that passes, written as the verifier looks for it;
    rows without one have an empty worked solution.
    MBPP: prompt_key="text", tests_key="test_list", setup_key="test_setup_code", solution_key="code".
    path, held_out_path: as those of `json_lines`; the other options are those of `records.records_tasks`.
    Raises ValueError naming file and line of a malformed row, and sandbox.SandboxError where programs cannot be run safely.
    """

    def read(file: str) -> list[tuple[str, dict[str, Any]]]:
        keys = dict(tests_key=tests_key, setup_key=setup_key, solution_key=solution_key)
        return [(where, {**line, **_answer(line, **keys)}) for where, line in read_records(file, "code")]

    return records_tasks(
        "code", read(path), None if held_out_path is None else read(held_out_path), prompt_key=prompt_key, answer_key=tests_key,
        solution_key=solution_key, template=template, shots=shots, columns=columns, verifier=verifier, split_by=split_by,
        tokenizer=tokenizer, vocabulary=vocabulary, chat=chat, seed=seed, validation=validation, held_out=held_out,
    )  # fmt: skip


def _answer(line: Mapping[str, Any], *, tests_key: str, setup_key: str, solution_key: str) -> dict[str, Any]:
    """The fields of a record that say what its answer is; the verifier checks them and writes the solution."""
    tests, entry_point = line.get(tests_key), line.get("entry_point")
    if isinstance(tests, str):
        call = f"\n\ncheck({entry_point})\n" if entry_point is not None and "def check(" in tests else ""
        answer: Any = {"tests": tests + call}
    elif isinstance(tests, list):
        answer = {"asserts": tests}
    else:
        answer = dict(tests) if isinstance(tests, Mapping) else tests
    if not isinstance(answer, dict):
        return {solution_key: ""}
    for name, key in (("setup", setup_key), ("solution", solution_key)):
        if line.get(key):
            answer[name] = line[key]
    return {tests_key: answer, solution_key: ""}
