"""The program that `code.unit_tests` runs in the sandbox: it loads a solution, runs what is asked of it, and reports plain values.

It is given to the sandbox as text, so it imports the standard library alone. `encode` is used on the other side too.
"""

import json
import os
import sys
import types
from typing import Any

LARGE = 1 << 63  # longer integers travel in hexadecimal, which takes linear time


def encode(value: Any) -> Any:
    """A plain value as JSON that keeps its type: list ["l", ...], tuple "t", set "s", dict "d" with pairs, bytes "b", int "i", complex "c".

    Sets and dicts are sorted by what `canonical` says of their items and keys. Instances of subclasses are read as their base class, past
    any method of theirs; anything else is ["o"], which equals nothing. RecursionError for a value that contains itself.
    """
    if value is None or value is True or value is False:
        return value
    if isinstance(value, int):
        return int.__index__(value) if int.__lt__(int.__abs__(value), LARGE) else ["i", int.__format__(value, "x")]
    if isinstance(value, float):
        return float.__float__(value)
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, bytes | bytearray):
        return ["b", bytes(value).hex()]
    if isinstance(value, complex):
        return ["c", complex.__complex__(value).real, complex.__complex__(value).imag]
    if isinstance(value, list):
        return ["l", *map(encode, list.__iter__(value))]
    if isinstance(value, tuple):
        return ["t", *map(encode, tuple.__iter__(value))]
    if isinstance(value, set | frozenset):
        items = set.__iter__(value) if isinstance(value, set) else frozenset.__iter__(value)
        return ["s", *sorted(map(encode, items), key=canonical)]
    if isinstance(value, dict):
        return ["d", *sorted(([encode(key), encode(item)] for key, item in dict.items(value)), key=lambda pair: canonical(pair[0]))]
    return ["o"]


def canonical(encoded: Any) -> str:
    """A text that is the same for encoded values that Python calls equal: 1, 1.0 and True."""
    return json.dumps(_plain(encoded))


def _plain(encoded: Any) -> Any:
    if isinstance(encoded, list):
        return [_plain(item) for item in encoded]
    if isinstance(encoded, bool) or (isinstance(encoded, float) and encoded.is_integer()):
        return int(encoded)
    return encoded


def main() -> None:
    """Read what is asked on stdin, load the solution, answer each question with one line on descriptor 3."""
    asked = json.loads(sys.stdin.read())
    write, token = os.write, asked["token"]

    def tell(**answer: Any) -> None:
        data = memoryview(json.dumps([token, answer]).encode() + b"\n")
        while data:
            data = data[write(3, data) :]

    program = compile(asked["code"], "solution.py", "exec")
    tell(compiled=True)
    module = types.ModuleType("solution")
    sys.modules["solution"] = module
    exec(program, module.__dict__)  # what it raises ends all, with its traceback
    names = dict(module.__dict__)
    if asked["before"]:
        exec(compile(asked["before"], "tests.py", "exec"), names)
    for number, check in enumerate(asked["checks"]):
        try:
            answer = ask(check, names)
        except BaseException as error:  # SystemExit too: a solution that leaves has not passed
            print(f"{number}: {type(error).__name__}: {error}"[:1000], file=sys.stderr)
            continue
        tell(number=number, **answer)


def ask(check: dict[str, Any], names: dict[str, Any]) -> dict[str, Any]:
    """The encoded value of an expression or a call; of a statement, a test function or a method of a TestCase, that it passed."""
    if "expression" in check:
        return {"value": encode(eval(check["expression"], names))}
    if "function" in check:
        return {"value": encode(names[check["function"]](*check["arguments"]))}
    if "statement" in check:
        exec(compile(check["statement"], "tests.py", "exec"), names)
        return {"passed": True}
    if "case" in check:
        import unittest

        result = unittest.TestResult()
        names[check["case"]](check["test"]).run(result)
        for _, traceback in [*result.errors, *result.failures]:
            print(traceback[-1000:], file=sys.stderr)
        return {"passed": result.testsRun == 1 and result.wasSuccessful()}
    names[check["test"]]()
    return {"passed": True}


if __name__ == "__main__":
    main()
