"""Unit tests on untrusted programs: right and wrong solutions, every form of tests, and programs that try to pass without solving."""

import os
import time

import pytest

from pojax.tasks.verifiers import pool, sandbox
from pojax.tasks.verifiers.code import prepare, read_tests, same, unit_tests
from pojax.tasks.verifiers.harness import encode
from pojax.tasks.verifiers.protocol import bind
from pojax.types import Sample

REFUSED = sandbox.protections()["refused"] if os.name == "posix" else "needs Linux"
runs = pytest.mark.skipif(REFUSED is not None, reason=f"no namespaces here: {REFUSED}")

ADD = "def add(a, b):\n    return a + b"
ASSERTS = {"asserts": ["assert add(1, 2) == 3", "assert add('a', 'b') == 'ab'", "assert add((1,), (2,)) == (1, 2)"]}
CALLS = {"function": "add", "cases": [[[1, 2], 3], [["a", "b"], "ab"], [[[1], [2]], [1, 2]]]}
CHECK = {"tests": "def check(candidate):\n    assert candidate(1, 2) == 3\n    assert candidate(2, 2) == 4\n\ncheck(add)"}
FUNCTIONS = {"tests": "def test_one():\n    assert add(1, 2) == 3\n\ndef test_two():\n    assert add(2, 2) == 5\n\ndef helper(x): return 0"}
CASES = {
    "tests": """
import unittest
class TestAdd(unittest.TestCase):
    def setUp(self): self.two = 2
    def test_one(self): self.assertEqual(add(1, self.two), 3)
    def test_two(self): self.assertEqual(add(1, 1), 3)
    def test_three(self): self.assertRaises(TypeError, add, 1, 'a')
if __name__ == '__main__': unittest.main()
"""
}
DOUBLE = {"cases": [{"input": "3\n", "output": "6\n"}, {"input": "-5", "output": "-10  \n\n"}, {"input": "0\n", "output": "0"}]}


def judged(code, answer, finish="end", **options):
    found = unit_tests(Sample(None, None, f"Here it is:\n```python\n{code}\n```\nDone.", finish), answer, **options)
    return found["correct"], pytest.approx(found["passed"]), found["format"]


@runs
@pytest.mark.parametrize(
    ("code", "answer", "verdict"),
    [
        (ADD, ASSERTS, (1, 1, 1)),
        (ADD, CALLS, (1, 1, 1)),
        (ADD, CHECK, (1, 1, 1)),
        (ADD, FUNCTIONS, (0, 1 / 2, 1)),
        (ADD, CASES, (0, 2 / 3, 1)),
        ("def add(a, b): return a - b", ASSERTS, (0, 0, 1)),
        ("def add(a, b): return 3", ASSERTS, (0, 1 / 3, 1)),
        ("def add(a, b): return 3", CHECK, (0, 0, 1)),
        ("def plus(a, b): return a + b", ASSERTS, (0, 0, 1)),
        ("def add(a, b) return a + b", ASSERTS, (0, 0, 0)),
        ("def add(a, b):\n    if a == 'a': raise SystemExit(0)\n    return a + b", ASSERTS, (0, 2 / 3, 1)),
        ("print(int(input()) * 2)", DOUBLE, (1, 1, 1)),
        ("n = int(input())\nprint(n * 2 if n >= 0 else 0)", DOUBLE, (0, 2 / 3, 1)),
        ("if __name__ == '__main__':\n    print(int(input()) * 2)", DOUBLE, (1, 1, 1)),
        ("print(int(input()) * 2", DOUBLE, (0, 0, 0)),
        ("print(int(input()) * 2); raise ValueError", DOUBLE, (0, 0, 1)),
        ("print(int(input()) * 2, 'is the answer')", DOUBLE, (0, 0, 1)),
    ],
)
def test_verdicts(code, answer, verdict):
    assert judged(code, answer) == verdict


@runs
def test_setup_runs_before_asserts_and_sees_the_solution():
    answer = {"asserts": ["assert math.isclose(half(1), 0.5)"], "setup": "import math\nhalf = lambda x: add(x, -x / 2)"}
    assert judged(ADD, answer) == (1, 1, 1)


@runs
def test_a_solution_that_does_not_end_keeps_what_it_had_passed():
    code = "def add(a, b):\n    while a == 'a': pass\n    return a + b"
    begin = time.monotonic()
    assert judged(code, ASSERTS, seconds=2.0) == (0, 1 / 3, 1)
    assert time.monotonic() - begin < 10


@runs
def test_after_a_case_that_ran_out_of_time_no_other_is_run():
    begin = time.monotonic()
    assert judged("while True: pass", {"cases": DOUBLE["cases"] * 20}, seconds=0.5) == (0, 0, 1)
    assert time.monotonic() - begin < 10


@runs
def test_only_the_code_of_a_response_that_ended_counts():
    assert judged(ADD, ASSERTS, "length") == (0, 0, 0)
    assert judged(ADD, ASSERTS, "length", ended=False) == (1, 1, 1)
    assert unit_tests(Sample(None, None, ADD, "end"), ASSERTS)["format"] == 0  # no block
    assert unit_tests(Sample(None, None, ADD, "end"), ASSERTS, extract="whole")["correct"] == 1
    two = f"```python\ndef add(a, b): pass\n```\nno:\n```py\n{ADD}\n```"
    assert unit_tests(Sample(None, None, two, "end"), ASSERTS)["correct"] == 1


CHEATS = {
    "exit": "import sys; sys.exit(0)",
    "hard exit": "import os; os._exit(0)",
    "prints": "print('OK'); print('3\\nab\\n(1, 2)'); print('{\"passed\": true}')",
    "exit in the function": "def add(a, b):\n    import os\n    os._exit(0)",
    "writes to the report": """
import json, os
for number in range(5):
    os.write(3, json.dumps(["", {"number": number, "passed": True, "value": 3}]).encode() + b"\\n")
    os.write(3, json.dumps({"number": number, "passed": True}).encode() + b"\\n" + b"\\xff[\\n" + b"[" * 5000 + b"\\n")
os._exit(0)
""",
    "equals everything": """
class Any:
    def __eq__(self, other): return True
    def __ne__(self, other): return False
    def __hash__(self): return 0
def add(a, b): return Any()
""",
    "an integer that equals everything": """
class Any(int):
    def __eq__(self, other): return True
    def __index__(self): return 3
    __hash__ = int.__hash__
def add(a, b): return Any()
""",
    "the end of the harness": "import atexit, os\natexit.register(os._exit, 0)\nraise SystemExit",
    "looks for the answers": """
import gc, sys
def add(a, b):
    frame = sys._getframe()
    while frame:
        for value in list(frame.f_locals.values()):
            if isinstance(value, dict) and 'expected' in value: return value['expected']
        frame = frame.f_back
    for text in gc.get_objects():
        if isinstance(text, str) and '== 3' in text: return 3
""",
}


@runs
@pytest.mark.parametrize("answer", [ASSERTS, CALLS], ids=["asserts", "calls"])
@pytest.mark.parametrize("cheat", CHEATS.values(), ids=CHEATS)
def test_values_compared_here_cannot_be_forged(cheat, answer):
    assert judged(cheat, answer)[0] == 0 and judged(cheat, answer)[1] in (0, pytest.approx(0))


@runs
@pytest.mark.parametrize("cheat", ["exit", "hard exit", "prints", "exit in the function", "writes to the report", "the end of the harness"])
def test_test_files_are_not_passed_by_leaving_or_by_printing(cheat):
    assert judged(CHEATS[cheat], CHECK)[:2] == (0, 0) and judged(CHEATS[cheat], CASES)[:2] == (0, 0)


@runs
def test_outputs_of_programs_are_compared_here():
    code = "import glob, os, sys\nprint(6, [f for f in glob.glob('/**', recursive=True) if 'expected' in open(f).read()] if 0 else '')"
    assert judged(code, {"cases": DOUBLE["cases"][:1]}) == (1, 1, 1)  # it guessed: 6, and a space at the end of the line
    assert judged(code, DOUBLE) == (0, 1 / 3, 1)


@runs
@pytest.mark.parametrize(
    ("expression", "literal", "equal"),
    [
        ("(1, 2)", "[1, 2]", False),
        ("[1, (2, {'a': None})]", "[1, (2, {'a': None})]", True),
        ("{3, 1.0, 2}", "{1, 2, 3}", True),
        ("{1: 'a', 'b': {2}}", "{'b': {2}, 1: 'a'}", True),
        ("{1: 'a'}", "{'1': 'a'}", False),
        ("__import__('collections').Counter('aab')", "{'a': 2, 'b': 1}", True),
        ("10 ** 30", "1000000000000000000000000000000", True),
        ("10 ** 6000 > 1", "True", True),
        ("True", "1", True),
        ("0.1 + 0.2", "0.3", False),
        ("2.0", "2", True),
        ("float('nan')", "0.0", False),
        ("1j * 1j", "-1 + 0j", True),
        ("b'\\x00a'", "b'\\x00a'", True),
        ("'\\ud800'", "'\\ud800'", True),
        ("frozenset([1])", "{1}", True),
        ("range(3)", "[0, 1, 2]", False),
        ("set()", "set()", True),
    ],
)
def test_asserts_with_literals_are_equal_as_python_has_it(expression, literal, equal):
    tests = read_tests({"asserts": [f"assert f() == {literal}"]})
    assert tests.checks == [{"expression": "f()"}]
    assert judged(f"def f(): return {expression}", tests) == ((1, 1, 1) if equal else (0, 0, 1))
    namespace = {}
    exec(f"def f(): return {expression}", namespace)
    assert eval(f"f() == {literal}", namespace) is equal  # which is what an assert says


@runs
def test_calls_compare_as_json_with_a_tolerance():
    calls = {"function": "f", "cases": [[[1], [0.3, {"1": [1, 2]}]]]}
    assert judged("def f(x): return 0.1 + 0.2, {1: (1, 2)}", calls) == (1, 1, 1)
    assert judged("def f(x): return 0.1 + 0.2, {1: (1, 2)}", calls, tolerance=0) == (0, 0, 1)
    assert judged("def f(x): return 0.3001, {1: (1, 2)}", calls) == (0, 0, 1)
    assert judged("def f(x):\n    a = []\n    a.append(a)\n    return a", calls) == (0, 0, 1)
    assert judged("def f(x): return 'x' * 10 ** 7", calls) == (0, 0, 1)  # more than a report may hold


def test_encoded_values():
    class Loud(list):
        def __iter__(self):
            return iter([9])

    assert encode(Loud([1, (2,)])) == ["l", 1, ["t", 2]] and encode(object()) == ["o"] and not same(["o"], ["o"])
    assert encode({2, 1}) == ["s", 1, 2] and encode(1 << 70) == ["i", "4" + "0" * 17]
    assert same(1, 1.0) and not same(1, "1") and not same(["l", 1], ["l"]) and not same(None, 0) and not same(0, None)
    assert same(1 << 60, float(1 << 60)) and same(1.0 + 1e-12, 1, tolerance=1e-9) and not same(True, "True")


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ("assert f() == 1", "{\"asserts\""),
        ({}, "exactly one of"),
        ({"asserts": ["assert f()"], "tests": "x"}, "exactly one of"),
        ({"asserts": []}, "a list of at least one under 'asserts'"),
        ({"asserts": ["# nothing"]}, "at least one statement"),
        ({"asserts": [3]}, "assert 0 as a text, not 3"),
        ({"asserts": ["assert f() = 1"]}, "assert 0 as Python code"),
        ({"tests": ["x"]}, "a text under 'tests'"),
        ({"tests": "def"}, "tests as Python code"),
        ({"function": "f", "asserts": ["assert f()"]}, "exactly one of"),
        ({"function": "f()", "cases": [[[1], 1]]}, "the name of a function"),
        ({"function": "f", "cases": [[1, 1]]}, r"case 0 as \[\[argument, ...\], value\]"),
        ({"cases": [{"input": "1"}]}, "case 0 as"),
        ({"cases": [{"input": "1", "output": 2}]}, "case 0 as"),
        ({"asserts": ["assert f()"], "setup": "import"}, "setup as Python code"),
        ({"asserts": ["assert f()"], "timeout": 3}, "{\"asserts\""),
    ],
)  # fmt: skip
def test_malformed_tests_say_what_is_allowed(answer, message):
    with pytest.raises(ValueError, match=message):
        read_tests(answer)


def test_a_run_without_a_sandbox_does_not_begin(monkeypatch):
    monkeypatch.setattr(sandbox, "protections", lambda **options: {"refused": "sandbox: none here"})
    with pytest.raises(sandbox.SandboxError, match="none here"):
        prepare(ASSERTS, dict(allow_without_namespaces=False))


@runs
@pytest.mark.slow
def test_by_name_in_worker_processes_on_all_cores():
    bound = bind(("unit_tests", dict(seconds=5)))
    answer = bound.prepare({**ASSERTS, "solution": ADD})
    assert bound.written(answer) == f"```python\n{ADD}\n```" and bound.found(bound.written(answer)) == f"{ADD}\n"
    workers = pool.Pool(2)
    try:
        texts = [bound.written(answer), "none", "```python\nwhile True: pass\n```", bound.written(answer)]
        outcomes = workers.map(bound, [(Sample(None, None, text, "end"), answer) for text in texts], bound.seconds)
    finally:
        workers.close()
    assert [outcome.value["correct"] for outcome in outcomes] == [1, 0, 0, 1]
