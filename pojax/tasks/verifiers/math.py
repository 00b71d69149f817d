"""Verifiers of answers that are texts, numbers and mathematical expressions. Nothing of a response is evaluated as code."""

import functools
import math
import re
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from pojax.tasks.expressions import evaluate, number
from pojax.tasks.verifiers.extraction import CURRENCY, LONGEST, extract_by, written_by
from pojax.tasks.verifiers.protocol import verifier
from pojax.types import Sample

LONGEST_EXPRESSION = 400  # characters; more is compared as text only


def _taken(answer: Any, options: Mapping[str, Any]) -> str:
    """The answer's text, from a field that may hold a whole solution."""
    if isinstance(answer, bool) or not isinstance(answer, str | int | float) or answer in (math.inf, -math.inf) or answer != answer:
        raise ValueError("a text or a number")
    text = str(answer)
    return (extract_by(options["extract"], text) or text).strip()


def _found(text: str, options: Mapping[str, Any]) -> str | None:
    return extract_by(options["extract"], text)


def _found_number(text: str, options: Mapping[str, Any]) -> str | None:
    found = _found(text, options)
    value = None if found is None else value_of(found)
    return found if value is None else str(value)


def _found_expression(text: str, options: Mapping[str, Any]) -> str | None:
    found = _found(text, options)
    return None if found is None else plain(found)


def _found_value(text: str, options: Mapping[str, Any]) -> str | None:
    try:
        return str(evaluate(text))
    except ValueError:
        return None


def _text(answer: Any, options: Mapping[str, Any]) -> str:
    text = _taken(answer, options)
    if not text:
        raise ValueError("a text that is not empty")
    return text


def _number(answer: Any, options: Mapping[str, Any]) -> str:
    text = _taken(answer, options)
    if value_of(text) is None:
        raise ValueError("a written number")
    return text


def _expression(answer: Any, options: Mapping[str, Any]) -> str:
    _math_verify()  # a run whose verifier cannot work must not begin
    return _text(answer, options)


def _written(answer: str, options: Mapping[str, Any]) -> str:
    return written_by(options["extract"], answer)


def _verdict(sample: Sample, ended: bool, found: Any, correct: bool) -> dict[str, float]:
    counts = found is not None and (sample.finish_reason == "end" or not ended)
    return {"correct": float(counts and correct), "format": float(counts)}


@verifier("correct", "format", prepare=_text, found=_found, written=_written)
def exact(sample: Sample, answer: str, *, extract: Any = "whole", ended: bool = True) -> dict[str, float]:
    """correct: the extracted answer is that text; format: there is one.

    extract: where the answer stands, see `extraction`. ended: both are 0 for a response that did not end by itself.
    """
    found = extract_by(extract, sample.text)
    return _verdict(sample, ended, found, found == answer)


@verifier("correct", "format", prepare=_number, found=_found_number, written=_written)
def numeric(sample: Sample, answer: str, *, extract: Any = "whole", ended: bool = True) -> dict[str, float]:
    """correct: the extracted answer is a number of exactly the same value (`value_of`); format: it is a number.

    GSM8K: extract="hash_marks". extract, ended: as those of `exact`.
    """
    found = extract_by(extract, sample.text)
    value = None if found is None else value_of(found)
    return _verdict(sample, ended, value, value == value_of(answer))


@verifier(
    "correct", "format", prepare=lambda answer, options: Fraction(answer), found=_found_value, written=lambda answer, options: str(answer)
)
def equation(sample: Sample, answer: Fraction, *, ended: bool = True) -> dict[str, float]:
    """correct: the response is an arithmetic expression (`expressions.evaluate`) of that value; format: it has a value."""
    try:
        value = evaluate(sample.text)
    except ValueError:
        value = None
    return _verdict(sample, ended, value, value == answer)


# ---- numbers

VARIABLES = frozenset("abeijknpqrtuvxyz")  # no units: 5x is no 5
_SCALES = {"hundred": 10**2, "thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12, "dozen": 12}
_MARKUP = re.compile(
    r"\\(?:text|mathrm|mbox|textbf|mathbf|textrm)\s*\{|\\[ ,;!:()\[\]]|\\left|\\right|[{}$\"]|\^\s*\{?\s*\\circ\s*\}?|\\degree"
)
_FRACTION = re.compile(r"\\[dtc]?frac\s*(?:\{([^{}]*)\}|([0-9]))\s*(?:\{([^{}]*)\}|([0-9]))")
_NUMBER = re.compile(
    r"(?:USD|EUR|GBP|Rs\.?|US)?\s*(?P<sign>[-+]?)\s*(?P<number>[0-9.,]+)(?:\s+(?P<top>[0-9]+)/(?P<bottom>[0-9]+)|\s*/\s*(?P<over>[0-9.,]+))?"
    r"\s*(?P<unit>[^0-9+*/=<>^_\\-]*(?:\^?[23])?(?:/[^\W\d_]+)?)"
)


def value_of(text: str) -> Fraction | None:
    """Exact value of a number as data sets write it; None for anything else, and for more than 200 characters.

    A sign, thousands separators, decimals, a fraction ("3/4", LaTeX's too) or a whole number and a fraction ("1 1/2"); currencies,
    percent and degree signs and units behind it are dropped ("50%" is 50, "$3.50" is 3.5, "12 cm^2" is 12), "2 million" is 2000000;
    of an equation the right-hand side counts. Punctuation, Markdown and LaTeX's dollars around it do not.
    """
    return _value(text) if len(text) <= LONGEST else None


@functools.lru_cache(maxsize=1 << 14)  # the answers of a data set are few, and asked for again and again
def _value(text: str) -> Fraction | None:
    text = text.replace("\u2212", "-").replace("{,}", ",").replace("\\%", "%").replace("\\$", "$")
    text = _FRACTION.sub(lambda m: f" {m[1] or m[2]}/{m[3] or m[4]}", text)
    text = text.rpartition("=")[2].translate(dict.fromkeys(map(ord, CURRENCY)))
    match = _NUMBER.fullmatch(_MARKUP.sub("", text).strip(" *`\n\t").rstrip(".,;:!? ").rstrip("*` "))
    if match is None:
        return None
    unit = match["unit"].strip().lower()
    value, over = number(_decimal(match["number"])), number(_decimal(match["over"] or "1"))
    if value is None or not over or len(unit.split()) > 4 or (len(unit) == 1 and unit in VARIABLES):
        return None
    if match["top"]:
        if not int(match["bottom"]):
            return None
        value += Fraction(int(match["top"]), int(match["bottom"]))
    for word, scale in _SCALES.items():
        if unit.split()[:1] in ([word], [word + "s"]):
            value *= scale
    return (-value if match["sign"] == "-" else value) / over


def _decimal(written: str) -> str:
    return "0" + written if written.startswith(".") else written


# ---- expressions

_WORDS = re.compile(r"[A-Za-z][A-Za-z' .-]*[A-Za-z]")
_LOOK = re.compile(r"\\(?:text|mathrm|mbox|textbf|mathbf|textrm|textit|mathit)\s*\{([^{}]*)\}")
_SYMBOLS = re.compile(r"(?<![\\a-zA-Z])[a-zA-Z]|(?<!\\)!")  # letters that are no command: they may be variables; factorials
_SPACES = re.compile(r"\\[ ,;!:]|\\q?quad|[\s~$]|\\left(?![a-z])|\\right(?![a-z])|\\displaystyle")


def _math_verify() -> Any:
    try:
        import math_verify
    except ImportError:
        raise ImportError('the verifier expression needs the package math-verify: pip install "pojax[math]"') from None
    return math_verify


def plain(text: str) -> str:
    """An expression as text, without what LaTeX says about its looks."""
    text = _SPACES.sub("", _LOOK.sub(r"\1", text))
    text = (
        re.sub(r"\\[dtc]frac", r"\\frac", text).replace("{,}", ",").replace("^\\circ", "").replace("^{\\circ}", "").replace("\\degree", "")
    )
    text = re.sub(r"_\{([0-9a-zA-Z])\}", r"_\1", re.sub(r"\^\{([0-9a-zA-Z])\}", r"^\1", text))
    return text.replace("\\%", "").replace("%", "").rstrip(".,;:")


def _word(text: str) -> str | None:
    """A text answer in lower case, such as a name, "odd" or the letter of a choice; None for an expression."""
    inside = _LOOK.sub(r"\1", text).strip(" $.\\")
    letter = re.fullmatch(r"\(?([A-Za-z])\)?", inside)
    if letter and (inside != letter[1] or "\\t" in text):
        return letter[1].lower()
    return " ".join(inside.lower().split()) if _WORDS.fullmatch(inside) and len(inside) > 1 else None


def _load() -> None:
    same_value("x^2-1", "(x-1)(x+1)")  # imports, the parser's tables, what sympy makes when it first simplifies


@verifier("correct", "format", processes=True, prepare=_expression, found=_found_expression, written=_written, load=_load)
def expression(sample: Sample, answer: str, *, extract: Any = "boxed", ended: bool = True, seconds: float | int = 5.0) -> dict[str, float]:
    """correct: the extracted answer is the same number, set, interval, tuple, matrix or formula (`same_value`); format: there is one.

    For MATH. seconds: processor time of a call. extract, ended: as those of `exact`.
    """
    found = extract_by(extract, sample.text)
    given = found is not None and (sample.finish_reason == "end" or not ended)
    return _verdict(sample, ended, found, bool(given and same_value(answer, found or "")))


def same_value(answer: str, found: str) -> bool:
    r"""Whether two answers written in LaTeX or plain text are equal; may take any time and memory: call it in a worker.

    Equal texts are, up to what LaTeX says about their looks. Text answers (names, "odd", "\text{(C)}") and numbers with a base (`52_8`)
    are compared as texts alone, everything else by math-verify, whose LaTeX parser evaluates no code. Percent and degree signs, currencies
    and units are dropped.
    """
    if max(len(answer), len(found)) > LONGEST_EXPRESSION:
        return answer.strip() == found.strip()
    if plain(answer) == plain(found) != "":
        return True
    word = _word(answer)
    if word is not None:
        return word == (_word(found) or " ".join(found.lower().split()))
    based = r"[0-9A-Za-z.]+_[{(]?[0-9]+[)}]?"
    if re.fullmatch(based, plain(answer)) or re.fullmatch(based, plain(found)):
        return plain(answer).translate(_BRACKETS) == plain(found).translate(_BRACKETS)
    values = [None if _SYMBOLS.search(_LOOK.sub("", text)) else value_of(text) for text in (answer, found)]
    if None not in values:
        return values[0] == values[1]
    library = _math_verify()
    config = [library.LatexExtractionConfig()]
    parse = lambda text: library.parse(f"${text.replace(chr(36), '')}$", config, parsing_timeout=None)  # noqa: E731
    return bool(library.verify(parse(answer), parse(found), timeout_seconds=None))


_BRACKETS = dict.fromkeys(map(ord, "{}()"))
