"""Pairs of answers, written from the rules of the data sets, against the verifiers of numbers and expressions."""

import re
from pathlib import Path

import pytest

from pojax.tasks.verifiers import bind, numeric, pool
from pojax.tasks.verifiers.math import value_of
from pojax.types import Sample

KINDS = {"===": True, "=/=": False, "=?=": False}


def table():
    """{section: [(line number, answer, kind, response)]}"""
    pairs, section = {"numeric": [], "expression": []}, None
    for number, line in enumerate(Path(__file__).with_name("answers.txt").read_text().splitlines(), start=1):
        if match := re.match(r"\[(numeric|expression)\]", line):
            section = match[1]
        elif line and not line.startswith("# "):
            answer, kind, response = re.fullmatch(r"(.+?) (===|=/=|=\?=) ?(.*)", line).groups()
            pairs[section].append((number, answer, kind, response))
    return pairs


PAIRS = table()


def test_the_table_is_large_and_has_no_pair_twice():
    every = [pair[1:] for pairs in PAIRS.values() for pair in pairs]
    assert len(set(every)) == len(every) > 380
    assert all(sum(pair[1] == kind for pair in every) > 70 for kind in KINDS)


def test_numbers():
    wrong = []
    for number, answer, kind, response in PAIRS["numeric"]:
        verdict = numeric(Sample(None, None, response, "end"), answer)
        if verdict != {"correct": float(KINDS[kind]), "format": float(kind != "=?=")}:
            wrong.append((number, answer, kind, response, verdict))
    assert not wrong
    assert all(numeric(Sample(None, None, "18", reason), "18", ended=ended)["correct"] == right for reason, ended, right in [
        ("length", True, 0), ("length", False, 1), ("end", True, 1)])  # fmt: skip


@pytest.mark.parametrize("text", ["9" * 10**6, "1," * 10**6, "-" * 10**6 + "1", "\\frac" * 10**6, "\\text{" * 10**6, "1 " * 10**6])
def test_huge_numbers_are_none(text):
    assert value_of(text) is None


@pytest.mark.slow
def test_expressions():
    pytest.importorskip("math_verify", reason="the extra math is not installed")
    verifier = bind(("expression", {"extract": "whole"}))
    calls = [(Sample(None, None, response, "end"), verifier.prepare(answer)) for _, answer, _, response in PAIRS["expression"]]
    outcomes = pool.shared().map(verifier, calls, verifier.seconds)
    wrong = []
    for pair, outcome in zip(PAIRS["expression"], outcomes, strict=True):
        if outcome.status != "done" or outcome.value != {"correct": float(KINDS[pair[2]]), "format": float(bool(pair[3]))}:
            wrong.append((*pair, outcome))
    assert not wrong


@pytest.mark.slow
def test_hostile_expressions_cost_their_time_alone():
    """Calls that would run for years, or take all memory, between calls that are answered."""
    pytest.importorskip("math_verify", reason="the extra math is not installed")
    hostile = ["9^{9^{9^9}}", "1000000!", "(x+1)^{1000000}", "(" * 150 + "1" + ")" * 150, "9**9**9", "\\frac{1}{" * 40 + "2" + "}" * 40]
    verifier = bind(("expression", {"extract": "whole", "seconds": 0.5}))
    responses = [text for each in hostile for text in (each, "0.50")]
    outcomes = pool.shared().map(verifier, [(Sample(None, None, text, "end"), ("\\frac{1}{2}",)) for text in responses], verifier.seconds)
    verdicts = [outcome.verdict(verifier.fields) for outcome in outcomes]
    assert [float(verdict["correct"]) for verdict in verdicts] == [0.0, 1.0] * len(hostile)
    assert [outcome.status for outcome in outcomes[:4:2]] == ["timeout"] * 2  # something was stopped
