"""Programs judged by unit tests: the code of a response runs in the sandbox, never in this process.

What a response can know and forge. Expected values never enter the sandbox where the tests allow it: outputs of whole programs (`cases`
with input), values of calls (`function`) and of asserts of the form `assert <expression> == <literal>` are reported as plain data and
compared here, so that exiting early, printing verdicts or returning objects that equal everything gains nothing. Other asserts and whole
test files judge inside the process that runs the solution. There a test counts only if it is reported with a random token after it ran to
its end, which no exit, output or crash brings about; but a solution written to attack this harness (one that searches the interpreter's
frames for token and tests, or replaces built-in functions) can pass. Where that matters, write tests as calls and literals.
"""

import ast
import json
import math
import secrets
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from pojax.tasks.verifiers.extraction import extract_by, written_by
from pojax.tasks.verifiers.harness import canonical, encode
from pojax.tasks.verifiers.pool import WALL
from pojax.tasks.verifiers.protocol import verifier
from pojax.tasks.verifiers.sandbox import require, run
from pojax.types import Sample

PYTHON_BLOCK = ("fenced", {"language": "python"})
FORMS = (
    '{"asserts": [text, ...]}, {"tests": text}, {"cases": [{"input": text, "output": text}, ...]} '
    'or {"function": name, "cases": [[arguments, value], ...]}'
)
HARNESS = Path(__file__).with_name("harness.py").read_text(encoding="utf-8")
SCRIPT = """import os
program = compile({!r}, "program.py", "exec")
os.write(3, b"compiled")
exec(program, {{"__name__": "__main__"}})
"""


class Tests(NamedTuple):
    """Checked tests: either whole programs with their outputs, or questions to a loaded solution."""

    cases: list[tuple[str, str]]  # input and output of the whole program
    before: str  # runs behind the solution and before the checks
    checks: list[dict[str, Any]]  # see harness.ask
    expected: list[Any]  # per check: [encoded value, whether loosely compared], or None where the check judges itself
    solution: str | None  # code that passes, where the record has it


# ---- answers of records


def prepare(answer: Any, options: Mapping[str, Any]) -> Tests:
    """The tests of a record; ValueError saying what is allowed. SandboxError where programs cannot be run: such a run must not begin."""
    require(options["allow_without_namespaces"])
    return read_tests(answer)


def read_tests(answer: Any) -> Tests:
    """An answer that is in one of FORMS; ValueError saying what is allowed.

    Beside the tests it may hold "setup", code that runs before asserts or tests, and "solution", code that passes.
    """
    if not isinstance(answer, Mapping) or not set(answer) <= {"asserts", "tests", "cases", "function", "setup", "solution"}:
        raise ValueError(FORMS)
    forms = {"asserts", "tests", "cases"} & set(answer)
    if len(forms) != 1 or ("function" in answer and "cases" not in answer):
        raise ValueError(f"exactly one of {FORMS}")
    for name in {"tests", "setup", "solution", "function"} & set(answer):
        if not isinstance(answer[name], str) or (name != "setup" and not answer[name].strip()):
            raise ValueError(f"a text under {name!r}, not {answer[name]!r:.60}")
    setup, solution = answer.get("setup", ""), answer.get("solution")
    _parsed(setup, "setup")
    listed = answer.get("asserts", answer.get("cases", [None]))
    if not isinstance(listed, list | tuple) or not listed:
        raise ValueError(f"a list of at least one under {'asserts' if 'asserts' in answer else 'cases'!r}")
    if "asserts" in answer:
        pairs = [pair for number, text in enumerate(listed) for pair in _asserts(text, f"assert {number}")]
        if not pairs:
            raise ValueError("at least one statement under 'asserts'")
        return Tests([], setup, [check for check, _ in pairs], [value for _, value in pairs], solution)
    if "tests" in answer:
        checks = _named_tests(_parsed(answer["tests"], "tests"))
        whole = not checks
        checks = [{"statement": answer["tests"]}] if whole else checks
        before = setup if whole else f"{setup}\n{answer['tests']}"
        return Tests([], before, checks, [None] * len(checks), solution)
    if "function" in answer:
        if not answer["function"].isidentifier():
            raise ValueError(f"the name of a function under 'function', not {answer['function']!r:.60}")
        for number, case in enumerate(listed):
            if not isinstance(case, list | tuple) or len(case) != 2 or not isinstance(case[0], list | tuple):
                raise ValueError(f"case {number} as [[argument, ...], value], not {case!r:.60}")
        checks = [{"function": answer["function"], "arguments": list(arguments)} for arguments, _ in listed]
        return Tests([], setup, checks, [[_loose(encode(value)), True] for _, value in listed], solution)
    for number, case in enumerate(listed):
        if not isinstance(case, Mapping) or set(case) != {"input", "output"} or not all(isinstance(text, str) for text in case.values()):
            raise ValueError(f'case {number} as {{"input": text, "output": text}}, not {case!r:.60}')
    return Tests([(case["input"], case["output"]) for case in listed], "", [], [], solution)


def _parsed(text: Any, name: str) -> ast.Module:
    """The syntax tree of a test, which is data of the data set."""
    if not isinstance(text, str):
        raise ValueError(f"{name} as a text, not {text!r:.60}")
    try:
        return ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ValueError(f"{name} as Python code, not {text!r:.60} ({error})") from None


def _asserts(text: Any, name: str) -> list[tuple[dict[str, Any], Any]]:
    """Checks of one text, each with its expected value: a comparison with a literal is asked as a value, anything else runs as it is."""
    tree = _parsed(text, name)
    found: list[tuple[dict[str, Any], Any]] = []
    for statement in tree.body:
        test = statement.test if isinstance(statement, ast.Assert) else None
        if isinstance(test, ast.Compare) and len(test.ops) == 1 and isinstance(test.ops[0], ast.Eq):
            for expression, literal in ((test.left, test.comparators[0]), (test.comparators[0], test.left)):
                try:
                    value = encode(ast.literal_eval(literal))
                except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
                    continue
                found.append(({"expression": ast.unparse(expression)}, [value, False]))
                break
            else:
                found.append(({"statement": ast.unparse(statement)}, None))
        else:
            found.append(({"statement": ast.unparse(statement)}, None))
    return found


def _named_tests(tree: ast.Module) -> list[dict[str, Any]]:
    """Functions test* of a test file, and methods test* of its TestCase classes; none where the file is a script."""
    found: list[dict[str, Any]] = []
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test") and not node.args.args:
            found.append({"test": node.name})
        if isinstance(node, ast.ClassDef) and any("TestCase" in ast.unparse(base) for base in node.bases):
            methods = [item.name for item in node.body if isinstance(item, ast.FunctionDef) and item.name.startswith("test")]
            found += [{"case": node.name, "test": method} for method in methods]
    return found


# ---- comparing


def _loose(encoded: Any) -> Any:
    """An encoded value as JSON knows it: tuples are lists, keys are texts."""
    if not isinstance(encoded, list):
        return encoded
    kind, *items = encoded
    if kind == "d":
        pairs = [[key if isinstance(key, str) else canonical(_loose(key)), _loose(item)] for key, item in items]
        return ["d", *sorted(pairs, key=lambda pair: canonical(pair[0]))]
    return ["l" if kind == "t" else kind, *map(_loose, items)]


def same(found: Any, expected: Any, *, tolerance: float | int = 0.0) -> bool:
    """Whether two encoded values are equal as Python has it; with a tolerance, floats of nearly the same value too."""
    if isinstance(found, list) and isinstance(expected, list):
        if len(found) != len(expected) or found[:1] == ["o"]:
            return False
        return all(same(one, other, tolerance=tolerance) for one, other in zip(found, expected, strict=True))
    if isinstance(found, int | float) and isinstance(expected, int | float):
        inexact = tolerance > 0 and (isinstance(found, float) or isinstance(expected, float))
        return found == expected or (inexact and _close(found, expected, tolerance))
    return type(found) is type(expected) and found == expected


def _close(found: float | int, expected: float | int, tolerance: float | int) -> bool:
    try:
        return math.isclose(found, expected, rel_tol=tolerance, abs_tol=tolerance)
    except OverflowError:  # an integer that is no float
        return False


def _lines(text: str) -> list[str]:
    """What of an output counts: its lines without spaces at their ends, without empty lines at the end."""
    return [line.rstrip() for line in text.rstrip().splitlines()]


# ---- the verifier


def _found(text: str, options: Mapping[str, Any]) -> str | None:
    return extract_by(options["extract"], text)


def _written(answer: Tests, options: Mapping[str, Any]) -> str:
    return written_by(options["extract"], answer.solution) if answer.solution else ""


@verifier("correct", "passed", "format", processes=True, prepare=prepare, found=_found, written=_written)
def unit_tests(
    sample: Sample,
    answer: Any,
    *,
    extract: Any = PYTHON_BLOCK,
    ended: bool = True,
    seconds: float | int = 5.0,
    memory_bytes: int = 512 << 20,
    tolerance: float | int = 1e-9,
    allow_without_namespaces: bool = False,
) -> dict[str, float]:
    """correct: the code in the response passes all tests; passed: the share that it passes; format: there is code, and it compiles.

    answer: see `read_tests`. Of outputs, spaces at the ends of lines and empty lines at the end do not count. Values of calls are compared
    as JSON (tuples as lists, keys as texts), floats up to a relative or absolute `tolerance`; asserts as Python does.
    seconds: wall time of all checks together; of cases with input, of each, with four times as much for all. After the first that runs out
    of time the others are not run.
    extract: where the code stands, see `extraction`. ended: all are 0 for a response that did not end by itself.
    Raises sandbox.SandboxError where the system allows no namespaces, unless allow_without_namespaces (see `sandbox`).
    """
    tests = answer if isinstance(answer, Tests) else read_tests(answer)
    code = extract_by(extract, sample.text)
    if code is None or (ended and sample.finish_reason != "end"):
        return {"correct": 0.0, "passed": 0.0, "format": 0.0}
    limits = dict(seconds=seconds, memory_bytes=memory_bytes, allow_without_namespaces=allow_without_namespaces)
    passed, compiled = _run_cases(code, tests.cases, limits) if tests.cases else _ask(code, tests, limits, tolerance)
    return {"correct": float(all(passed)), "passed": sum(passed) / len(passed), "format": float(compiled)}


def _run_cases(code: str, cases: list[tuple[str, str]], limits: dict[str, Any]) -> tuple[list[bool], bool]:
    """Whether each output is the expected one, and whether the program compiles."""
    passed: list[bool] = []
    compiled, begin = False, time.monotonic()
    for given, output in cases:
        result = run(SCRIPT.format(code), stdin=given, **limits)
        passed.append(result.status == "ok" and _lines(result.stdout) == _lines(output))
        compiled = compiled or bool(result.report)
        if not compiled or result.status == "timeout" or time.monotonic() - begin > (WALL - 1) * limits["seconds"]:
            break
    return passed + [False] * (len(cases) - len(passed)), compiled


def _ask(code: str, tests: Tests, limits: dict[str, Any], tolerance: float | int) -> tuple[list[bool], bool]:
    """Whether each check passed, and whether the solution compiles."""
    token = secrets.token_hex(16)
    asked = dict(code=code, before=tests.before, checks=tests.checks, token=token)
    result = run(HARNESS, stdin=json.dumps(asked), **limits)
    passed, compiled = [False] * len(tests.checks), False
    for line in result.report.splitlines():
        try:
            said, answer = json.loads(line)
            if said != token:
                continue
            compiled = compiled or "compiled" in answer
            number = answer.get("number")
            if number is not None:
                passed[number] = _passed(answer, tests.expected[number], tolerance)
        except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError):
            continue  # a solution can write to the report as well: what is not in our form does not count
    return passed, compiled


def _passed(answer: Mapping[str, Any], expected: Any, tolerance: float | int) -> bool:
    if expected is None:
        return answer.get("passed") is True
    value, loose = expected
    found = answer["value"]
    return same(_loose(found) if loose else found, value, tolerance=tolerance if loose else 0.0)
