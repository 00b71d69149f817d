"""Values of written numbers and expressions, parsed by hand: text from a model is never evaluated as code."""

import re
from fractions import Fraction

DEEPEST = 50  # nested brackets and signs; more is garbage, and would exhaust the interpreter's stack
_TOKEN = re.compile(r"\s*(?:([0-9]+(?:\.[0-9]+)?)|([-+*/()]))")


def evaluate(text: str) -> Fraction:
    """Exact value of an expression over decimal numbers with + - * / ( ), signs and spaces, and the usual precedence.

    Raises ValueError for anything else, for a division by 0, and for brackets or signs nested deeper than 50.
    """
    return _Parser(text).value()


def number(text: str) -> Fraction | None:
    """Exact value of a written number, as in "1,234.50", "-7", "$3" or "42."; None for anything else."""
    match = re.fullmatch(r"([-+]?)\$?((?:[0-9]+|[0-9]{1,3}(?:,[0-9]{3})+)(?:\.[0-9]+)?)\.?", text.strip())
    if match is None:
        return None
    try:
        return Fraction(match[1] + match[2].replace(",", ""))
    except ValueError:  # more digits than Python converts
        return None


class _Parser:
    """Recursive descent: sum of products of factors; `at` walks over the tokens."""

    def __init__(self, text: str):
        self.tokens: list[str] = []
        self.at = self.depth = 0
        end, text = 0, text.rstrip()
        while end < len(text):
            match = _TOKEN.match(text, end)
            if match is None:
                raise ValueError(f"expression {text[:60]!r}: found {text[end]!r} at {end}, allowed: numbers, + - * / ( )")
            self.tokens.append(match[1] or match[2])
            end = match.end()

    def value(self) -> Fraction:
        value = self.sum()
        if self.at < len(self.tokens):
            raise ValueError(f"expression: {self.tokens[self.at]!r} after its end")
        return value

    def next(self, allowed: str) -> str:
        """The next token if it is one of the allowed characters, and past it; otherwise ''."""
        if self.at < len(self.tokens) and self.tokens[self.at] in allowed:
            self.at += 1
            return self.tokens[self.at - 1]
        return ""

    def sum(self) -> Fraction:
        value = self.product()
        while sign := self.next("+-"):
            term = self.product()
            value = value + term if sign == "+" else value - term
        return value

    def product(self) -> Fraction:
        value = self.factor()
        while sign := self.next("*/"):
            factor = self.factor()
            if sign == "/" and factor == 0:
                raise ValueError("expression: division by 0")
            value = value * factor if sign == "*" else value / factor
        return value

    def factor(self) -> Fraction:
        self.depth += 1
        if self.depth > DEEPEST:
            raise ValueError(f"expression: nested deeper than {DEEPEST}")
        if sign := self.next("+-"):
            value = self.factor() if sign == "+" else -self.factor()
        elif self.next("("):
            value = self.sum()
            if not self.next(")"):
                raise ValueError("expression: a bracket is not closed")
        elif self.at < len(self.tokens) and self.tokens[self.at][0].isdigit():
            value = Fraction(self.tokens[self.at])
            self.at += 1
        else:
            raise ValueError("expression: a number is missing")
        self.depth -= 1
        return value
