r"""Where the answer stands in a response: named functions text -> answer or None, in time linear in the text, whatever it holds.

An option `extract` names one as every entry is named, ("tag", dict(name="answer")) or plain "boxed", or is a list that is tried in order.
"""

import functools
import inspect
import json
import re
from collections.abc import Callable
from typing import Any

from pojax import binding
from pojax.binding import ConfigError, near

__all__ = ["after", "boxed", "fenced", "hash_marks", "last_number", "tag", "whole"]

_BRACES = re.compile(r"\\(?:boxed|fbox)\s*(\{|[^\s{}$\\]+)|\\[\s\S]|[{}]")  # an escaped brace is part of no pair
_NUMBER = re.compile(r"(?:(?:[0-9]{1,3}(?:,[0-9]{3})+|[0-9]+)(?:\.[0-9]+)?|(?<![0-9])\.[0-9]+)(?:/[0-9]+(?:\.[0-9]+)?)?$")
_FENCES = re.compile(r"^[ \t]*+(`{3,}+|~{3,}+)[ \t]*+([^\s`]*+)[^\n`]*+$", re.MULTILINE)
LONGEST = 200  # characters of a number
CURRENCY, SIGNS = "$\u20ac\u00a3\u00a5\u20b9", "-+\u2212"


def whole(text: str) -> str | None:
    """All of the response."""
    return text.strip() or None


def after(text: str, *, marker: str) -> str | None:
    """What stands behind the last marker."""
    _, found, rest = text.rpartition(marker)
    return (rest.strip() or None) if found else None


def hash_marks(text: str) -> str | None:
    """What stands behind the last `####`, to the end of its line, as GSM8K writes its answers."""
    rest = after(text, marker="####")
    return rest.partition("\n")[0].strip() or None if rest else None


def boxed(text: str) -> str | None:
    r"""What the last \boxed{...} or \fbox{...} whose braces close holds, the inner one of two; `\boxed 2` holds 2."""
    opened: list[tuple[int, bool]] = []  # where the content of a brace begins, and whether it is a box
    begin, end = -1, -1
    for match in _BRACES.finditer(text):
        token = match[0]
        if token == "}":
            if opened:
                start, box = opened.pop()
                if box and start > begin:
                    begin, end = start, match.start()
        elif token == "{" or match[1] == "{":
            opened.append((match.end(), token != "{"))
        elif match[1]:
            begin, end = match.span(1)
    return (text[begin:end].strip() or None) if begin >= 0 else None


def tag(text: str, *, name: str = "answer") -> str | None:
    """What stands between the last closing tag of that name and the nearest opening one before it."""
    end = text.rfind(f"</{name}>")
    start = text.rfind(f"<{name}>", 0, max(end, 0))
    return (text[start + len(name) + 2 : end].strip() or None) if start >= 0 else None


def fenced(text: str, *, language: str) -> str | None:
    """What the last closed block between lines of ``` holds whose first line names that language or none; py and python3 are python."""
    found, opened, begin, wanted = None, "", 0, False
    for match in _FENCES.finditer(text):
        fence, said = match[1], match[2].lower()
        if not opened:
            opened, begin = fence, match.end() + 1
            wanted = said in ("", language.lower()) or (language.lower() == "python" and said in ("py", "python3"))
        elif fence.startswith(opened) and not match[2]:
            if wanted:
                found = text[begin : match.start()]
            opened = ""
    return found if found and found.strip() else None


def last_number(text: str) -> str | None:
    """The last written number, with what belongs to it: sign, currency, thousands separators, decimals, a denominator, a percent sign."""
    end = max(text.rfind(digit) for digit in "0123456789") + 1
    if not end:
        return None
    found = _NUMBER.search(text, max(0, end - LONGEST), end)
    if found is None:  # a number of more digits than anything needs
        return text[end - LONGEST : end]
    start = found.start()
    if start and text[start - 1] in CURRENCY:
        start -= 1
    if start and text[start - 1] in SIGNS and not (start > 1 and (text[start - 2].isalnum() or text[start - 2] in ".)]")):
        start -= 1  # the sign of the number, not a subtraction
    return text[start:end] + ("%" if text.startswith("%", end) else "")


FORMS = {
    "after": "{marker} {}",
    "boxed": "\\boxed{{{}}}",
    "fenced": "```{language}\n{}\n```",
    "hash_marks": "#### {}",
    "tag": "<{name}>{}</{name}>",
}  # the others: as it is


@functools.lru_cache(maxsize=256)
def _find(written: str) -> tuple[tuple[str, Callable[..., str | None], dict[str, Any]], ...]:
    """The functions that an option names, from its JSON."""
    value = json.loads(written)
    entries = [value] if isinstance(value, str) or binding.is_entry(value) else value
    if not isinstance(entries, list) or not entries:
        raise ConfigError(f"extract: found {value!r}, allowed: a name or an entry (name, dict), or a list of them; {near('', __all__)}")
    found = []
    for entry in entries:
        name, given = (entry, {}) if isinstance(entry, str) else binding.entry(entry, "extract")
        function = binding.find("extraction", name, "extract")
        parameters = {key: p for key, p in inspect.signature(function).parameters.items() if p.kind is p.KEYWORD_ONLY}
        for key, text in given.items():
            if key not in parameters or not isinstance(text, str) or not text.strip():
                raise ConfigError(f"extract.{name}.{key}: found {text!r}, allowed: options {', '.join(parameters) or 'none'}, each a text")
        for key, parameter in parameters.items():
            if parameter.default is parameter.empty and key not in given:
                raise ConfigError(f"extract.{name}.{key}: needs a text")
        found.append((name, function, {key: given.get(key, parameter.default) for key, parameter in parameters.items()}))
    return tuple(found)


def _entries(extract: Any) -> tuple[tuple[str, Callable[..., str | None], dict[str, Any]], ...]:
    try:
        return _find(json.dumps(extract))
    except TypeError:
        raise ConfigError(f"extract: found {extract!r}, allowed: names, entries (name, dict), or a list of them") from None


def check(extract: Any) -> None:
    """ConfigError for an option that names no function, or gives one what it does not take."""
    _entries(extract)


def extract_by(extract: Any, text: str) -> str | None:
    """The answer by the first of the named functions that finds one. ConfigError for an option that names none."""
    for _, function, options in _entries(extract):
        found = function(text, **options)
        if found is not None:
            return found
    return None


def written_by(extract: Any, answer: str) -> str:
    """The answer as the first of the named functions looks for it."""
    name, _, options = _entries(extract)[0]
    return FORMS.get(name, "{}").format(answer, **options)
