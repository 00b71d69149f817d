from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pojax.tasks.expressions import evaluate, number


@pytest.mark.parametrize(
    "text, value",
    [
        ("7", 7),
        ("( 76.0 - 25.0 )", 51),
        ("2+3*4", 14),
        ("(2+3)*4", 20),
        ("8-3-2", 3),
        ("24/4/3", 2),
        ("7/2", Fraction(7, 2)),
        ("0.1+0.2", Fraction(3, 10)),  # exact, as floats are not
        ("-3+5", 2),
        ("--3", 3),
        ("2*-3", -6),
        (" ( ( 1 ) ) ", 1),
        ("007", 7),
    ],
)
def test_values(text, value):
    assert evaluate(text) == value


@pytest.mark.parametrize(
    "text, message",
    [
        ("", "a number is missing"),
        ("1+", "a number is missing"),
        ("()", "a number is missing"),
        ("2**3", "a number is missing"),
        ("(1", "not closed"),
        ("1)", r"'\)' after its end"),
        ("2(3)", "after its end"),
        ("2 3", "after its end"),
        ("1/0", "division by 0"),
        ("1/(2-2)", "division by 0"),
        ("1.", r"found '\.' at 1"),
        ("1=1", "found '=' at 1"),
        ("__import__('os')", "found '_' at 0"),
        ("٣+4", "found '٣' at 0"),
        ("(" * 51 + "1" + ")" * 51, "nested deeper than 50"),
        ("-" * 100000 + "1", "nested deeper than 50"),
        ("9" * 5000, "limit"),
    ],
)
def test_what_has_no_value(text, message):
    with pytest.raises(ValueError, match=message):
        evaluate(text)


expressions = st.recursive(
    st.integers(0, 99).map(str),
    lambda inner: st.tuples(inner, st.sampled_from("+-*/"), inner).map("".join) | inner.map(lambda text: f"({text})"),
    max_leaves=12,
)


@given(expressions)
def test_same_value_as_python(text):
    """Against Python's own grammar, on strings made here of digits, signs and brackets."""
    # int literals with a leading 0 are none in Python, and 0 alone is made by str(); Fractions keep division exact
    code = "".join(f"F({part})" if part.isdigit() else part for part in _split(text))
    try:
        expected = eval(code, {"F": Fraction})
    except ZeroDivisionError:
        with pytest.raises(ValueError, match="division by 0"):
            evaluate(text)
        return
    assert evaluate(text) == expected


def _split(text):
    parts = []
    for character in text:
        if parts and character.isdigit() and parts[-1].isdigit():
            parts[-1] += character
        else:
            parts.append(character)
    return parts


@given(st.text(st.sampled_from("0123456789+-*/(). x")))
def test_any_text_has_a_value_or_a_reason(text):
    try:
        assert isinstance(evaluate(text), Fraction)
    except ValueError as error:
        assert "\n" not in str(error)


@pytest.mark.parametrize(
    "text, value",
    [
        ("42", 42),
        (" -7 ", -7),
        ("1,234.50", Fraction(2469, 2)),
        ("12,345,678", 12345678),
        ("$3", 3),
        ("-$3", -3),
        ("42.", 42),
        ("+5", 5),
        ("", None),
        ("-", None),
        ("12,34", None),
        ("1 2", None),
        ("3/4", None),
        ("4e3", None),
        ("nan", None),
        ("9" * 5000, None),
    ],
)
def test_written_numbers(text, value):
    assert number(text) == value
