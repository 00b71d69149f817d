"""Instructions that a program can check, in the spirit of IFEval (Zhou et al. 2023, arXiv 2311.07911): (text, *, options) -> bool.

`CONSTRAINTS` is their registry. Each takes time linear in the text, for any text. What the rules mean everywhere:
a word is what stands between white space, if it holds a letter or a digit; case never counts in keywords, unless the rule is about case;
a keyword is found where no letter, digit or underscore touches it on a side where it has one itself ("art" is not in "party", and "c++" is
in "c++."); a paragraph is what stands between empty lines; a line is empty if it holds white space alone.
"""

import contextlib
import functools
import inspect
import json
import re
import typing
from collections.abc import Callable, Mapping
from typing import Any, Literal

from pojax.binding import near
from pojax.tasks.verifiers.protocol import verifier
from pojax.tasks.verifiers.schema import parse
from pojax.types import Sample

Relation = Literal["at least", "at most", "exactly"]
Case = Literal["upper", "lower"]
CONSTRAINTS: dict[str, Callable[..., bool]] = {}

_STOPS, _WIDE_STOPS, _CLOSING = ".!?\u2026", "\u3002\uff01\uff1f", "\"'\u201d\u2019)\\]"
_SENTENCE_ENDS = re.compile(  # the look behind: a run of dots is tried once, not from each of its dots
    rf"(?<![{_STOPS}])[{_STOPS}]++[{_CLOSING}]*+(?=\s|$)|[{_WIDE_STOPS}]++[{_CLOSING}]*+"
)
_BULLET = re.compile(r"^[ \t]*+[-*+\u2022][ \t]++\S", re.MULTILINE)
_NUMBERED = re.compile(r"^[ \t]*+[0-9]{1,4}+[.)][ \t]++\S", re.MULTILINE)
_PLACEHOLDER = re.compile(r"\[[^\[\]\n]++\]")
_TITLE = re.compile(r"<<[^<>\n]++>>")
_HIGHLIGHT = re.compile(r"\*\*[^*\n]++\*\*|\*[^*\n]++\*")
_QUOTES = {'"': '"', "\u201c": "\u201d", "\u00ab": "\u00bb", "\u201e": "\u201c", "\u300c": "\u300d"}


def constraint(function: Callable[..., bool]) -> Callable[..., bool]:
    """Puts a function into the registry."""
    CONSTRAINTS[function.__name__] = function
    return function


def _related(found: int, relation: Relation, number: int) -> bool:
    return found >= number if relation == "at least" else found <= number if relation == "at most" else found == number


def words_of(text: str) -> list[str]:
    """What stands between white space, if it holds a letter or a digit."""
    return [word for word in text.split() if any(map(str.isalnum, word))]


def sentences_of(text: str) -> list[str]:
    """What ends with . ! ? or an ellipsis before white space (closing quotes and brackets belong to it), or with Chinese full stops.

    Pieces without a letter or digit do not count; the end of the text ends a sentence. "Dr. No" is cut after "Dr.": no list of
    abbreviations, so that the count is the same in every language.
    """
    found, begin = [], 0
    for match in _SENTENCE_ENDS.finditer(text):
        found.append(text[begin : match.end()])
        begin = match.end()
    return [piece.strip() for piece in (*found, text[begin:]) if any(map(str.isalnum, piece))]


def paragraphs_of(text: str) -> list[str]:
    """What stands between empty lines, or between lines *** (or ---) alone."""
    found: list[list[str]] = [[]]
    for line in text.splitlines():
        if line.strip() in ("", "***", "---"):
            found.append([])
        else:
            found[-1].append(line)
    return ["\n".join(lines) for lines in found if lines]


def occurrences(text: str, keyword: str) -> int:
    """How often a keyword stands in the text, not within a longer word; occurrences do not overlap, case does not count."""
    return len(_keyword(keyword).findall(text.casefold()))


@functools.lru_cache(maxsize=4096)
def _keyword(keyword: str) -> re.Pattern[str]:
    folded = keyword.strip().casefold()
    before = r"(?<!\w)" if re.match(r"\w", folded) else ""
    after = r"(?!\w)" if re.search(r"\w$", folded) else ""
    return re.compile(before + r"\s++".join(map(re.escape, folded.split())) + after)


def _bare(text: str) -> str:
    """The text in one case, with single spaces."""
    return " ".join(text.casefold().split())


# ---- lengths


@constraint
def words(text: str, *, number: int, relation: Relation = "at least") -> bool:
    """So many words."""
    return _related(len(words_of(text)), relation, number)


@constraint
def sentences(text: str, *, number: int, relation: Relation = "at least") -> bool:
    """So many sentences (`sentences_of`)."""
    return _related(len(sentences_of(text)), relation, number)


@constraint
def paragraphs(text: str, *, number: int, relation: Relation = "exactly") -> bool:
    """So many paragraphs (`paragraphs_of`)."""
    return _related(len(paragraphs_of(text)), relation, number)


@constraint
def lines(text: str, *, number: int, relation: Relation = "exactly") -> bool:
    """So many lines that are not empty."""
    return _related(sum(bool(line.strip()) for line in text.splitlines()), relation, number)


@constraint
def paragraph_first_word(text: str, *, paragraph: int, word: str) -> bool:
    """The first word of paragraph n (1 is the first) is that word, punctuation around it and case aside."""
    found = paragraphs_of(text)
    if paragraph > len(found):
        return False
    first = next(iter(words_of(found[paragraph - 1])), "")
    kept = [i for i, character in enumerate(first) if character.isalnum()]
    return bool(kept) and first[kept[0] : kept[-1] + 1].casefold() == word.strip().casefold()


# ---- words and letters


@constraint
def keywords(text: str, *, include: list[str]) -> bool:
    """Every keyword stands in the text."""
    return all(occurrences(text, keyword) for keyword in include)


@constraint
def forbidden(text: str, *, exclude: list[str]) -> bool:
    """No keyword stands in the text."""
    return not any(occurrences(text, keyword) for keyword in exclude)


@constraint
def keyword_frequency(text: str, *, keyword: str, number: int, relation: Relation = "at least") -> bool:
    """The keyword stands so many times in the text."""
    return _related(occurrences(text, keyword), relation, number)


@constraint
def letter_frequency(text: str, *, letter: str, number: int, relation: Relation = "at least") -> bool:
    """The character (of any script) stands so many times in the text, case aside."""
    return _related(text.casefold().count(letter.casefold()), relation, number)


@constraint
def case(text: str, *, letters: Case) -> bool:
    """All letters that have a case are in that case, and there is one."""
    return text.isupper() if letters == "upper" else text.islower()


@constraint
def capital_words(text: str, *, number: int, relation: Relation = "at least") -> bool:
    """So many words whose letters are all capitals; a word of one letter counts."""
    return _related(sum(word.isupper() for word in words_of(text)), relation, number)


@constraint
def no_commas(text: str) -> bool:
    """No comma, of any script."""
    return not any(comma in text for comma in ",\uff0c\u3001\u060c")


# ---- form


@constraint
def placeholders(text: str, *, number: int, relation: Relation = "at least") -> bool:
    """So many placeholders in square brackets, on one line and without brackets inside: [address]."""
    return _related(sum(bool(found[1:-1].strip()) for found in _PLACEHOLDER.findall(text)), relation, number)


@constraint
def bullets(text: str, *, number: int, relation: Relation = "exactly") -> bool:
    """So many lines that begin with one of - * + and a bullet, then a space, then something else. A line *** is none."""
    return _related(len(_BULLET.findall(text)), relation, number)


@constraint
def numbered(text: str, *, number: int, relation: Relation = "exactly") -> bool:
    """So many lines that begin with a number and a dot or a bracket, then a space: "1. first"."""
    return _related(len(_NUMBERED.findall(text)), relation, number)


@constraint
def highlights(text: str, *, number: int, relation: Relation = "at least") -> bool:
    """So many pieces *between single* or **double** asterisks, each on one line, that begin and end without a space."""
    inside = (found.strip("*") for found in _HIGHLIGHT.findall(text))
    return _related(sum(piece == piece.strip() for piece in inside), relation, number)


@constraint
def title(text: str) -> bool:
    """A title in double angular brackets on one line: <<title>>."""
    return any(found[2:-2].strip() for found in _TITLE.findall(text))


@constraint
def sections(text: str, *, splitter: str, number: int, relation: Relation = "at least") -> bool:
    """So many lines that begin with the splitter and a number (Roman ones too), perhaps behind Markdown's # and *: "SECTION 1"."""
    folded = splitter.strip().casefold()
    found = 0
    for line in text.casefold().splitlines():
        head = line.lstrip("#* \t")
        rest = head[len(folded) :].lstrip() if head.startswith(folded) else ""
        found += rest[:1].isdigit() or re.match(r"[ivxlc]+\b", rest) is not None
    return _related(found, relation, number)


@constraint
def json_only(text: str) -> bool:
    """All of the text is one JSON value, which may stand between ``` lines."""
    bare = text.strip()
    if bare.startswith("```") and bare.endswith("```") and "\n" in bare:
        head, _, rest = bare.partition("\n")
        bare = rest[:-3] if head.strip().casefold() in ("```", "```json") else bare
    try:
        parse(bare)
    except ValueError:
        return False
    return True


@constraint
def quoted(text: str) -> bool:
    """All of the text stands in double quotation marks, straight, curly or angular."""
    bare = text.strip()
    return len(bare) > 2 and _QUOTES.get(bare[0]) == bare[-1]


@constraint
def two_responses(text: str, *, separator: str = "******") -> bool:
    """Two different responses that are not empty, with the separator once between them."""
    parts = [_bare(part) for part in text.split(separator)]
    return len(parts) == 2 and all(parts) and parts[0] != parts[1]


@constraint
def postscript(text: str, *, marker: str = "P.S.") -> bool:
    """A line begins with the marker, case and spaces within it aside, and something follows it; it is not the first that is not empty."""
    folded = "".join(marker.casefold().split())
    kept = [line.strip() for line in text.casefold().splitlines() if line.strip()]
    for line in kept[1:]:
        start = "".join(line[: 3 * len(folded)].split())
        if start.startswith(folded) and any(map(str.isalnum, line[len(folded) :])):
            return True
    return False


# ---- beginnings, ends and choices


@constraint
def repeats_prompt(text: str, *, prompt: str) -> bool:
    """The text begins with the prompt, case and white space aside, and goes on."""
    bare, wanted = _bare(text), _bare(prompt)
    return bare.startswith(wanted) and bool(bare[len(wanted) :].strip())


@constraint
def ends_with(text: str, *, phrase: str) -> bool:
    """The text ends with the phrase, case, white space and quotation marks around both aside; nothing behind it."""
    return _unquoted(text).endswith(_unquoted(phrase))


@constraint
def starts_with(text: str, *, phrase: str) -> bool:
    """The text begins with the phrase, case, white space and quotation marks around both aside."""
    return _unquoted(text).startswith(_unquoted(phrase))


@constraint
def choice(text: str, *, options: list[str]) -> bool:
    """The text is one of the options, case, white space, quotation marks and final punctuation aside; nothing else is said."""
    return _unquoted(text).rstrip(".!") in {_unquoted(option).rstrip(".!") for option in options}


def _unquoted(text: str) -> str:
    return _bare(text.strip().strip("\"'\u201c\u201d\u00ab\u00bb"))


# ---- the verifier


def asked(answer: Any, options: Mapping[str, Any] | None = None) -> list[tuple[str, dict[str, Any]]]:
    """The constraints of a record: a list of {"name": ..., option: value, ...}, or its JSON; ValueError saying what is allowed."""
    if isinstance(answer, str):
        with contextlib.suppress(ValueError, RecursionError):
            answer = json.loads(answer)
    if not isinstance(answer, list | tuple) or not answer:
        raise ValueError(f'a list of at least one constraint {{"name": ..., option: value, ...}}, not {answer!r:.60}')
    found = []
    for number, item in enumerate(answer):
        if not isinstance(item, Mapping) or not isinstance(item.get("name"), str):
            raise ValueError(f'constraint {number} as {{"name": ..., option: value, ...}}, not {item!r:.60}')
        name, given = item["name"], {key: value for key, value in item.items() if key != "name"}
        if name not in CONSTRAINTS:
            raise ValueError(f"constraint {number} by a name that there is, not {name!r}; {near(name, CONSTRAINTS)}")
        _check_options(f"constraint {number} ({name})", CONSTRAINTS[name], given)
        found.append((name, given))
    return found


def _check_options(where: str, function: Callable[..., bool], given: Mapping[str, Any]) -> None:
    hints = typing.get_type_hints(function)
    parameters = {key: p for key, p in inspect.signature(function).parameters.items() if p.kind is p.KEYWORD_ONLY}
    for key in given:
        if key not in parameters:
            raise ValueError(f"{where}: no option {key!r}; {near(str(key), parameters)}")
    for key, parameter in parameters.items():
        if key not in given:
            if parameter.default is parameter.empty:
                raise ValueError(f"{where}: a value for {key!r}")
            continue
        wanted = _wanted(hints[key], given[key], least=1 if key == "paragraph" else 0)
        if key == "letter" and wanted is None and len(given[key]) != 1:
            wanted = "one character"
        if wanted is not None:
            raise ValueError(f"{where}: {wanted} under {key!r}, not {given[key]!r:.60}")


def _wanted(hint: Any, value: Any, least: int) -> str | None:
    """What an option of that type may be, if it is not."""
    if hint is int:
        right = isinstance(value, int) and not isinstance(value, bool) and value >= least
        return None if right else f"a whole number from {least} on"
    if hint is str:
        return None if isinstance(value, str) and value.strip() else "a text that is not empty"
    if hint == list[str]:
        right = isinstance(value, list | tuple) and bool(value) and all(isinstance(item, str) and bool(item.strip()) for item in value)
        return None if right else "a list of at least one text, none empty"
    allowed = typing.get_args(hint)
    return None if value in allowed else "one of " + ", ".join(map(repr, allowed))


@verifier("correct", "share", prepare=asked)
def constraints(sample: Sample, answer: Any, *, ended: bool = True) -> dict[str, float]:
    """correct: the response keeps all constraints of the record; share: how many of them, from 0 to 1.

    answer: see `asked`. A response without a letter or digit keeps none: saying nothing is no way to avoid commas.
    ended: both are 0 for a response that did not end by itself.
    """
    wanted = answer if isinstance(answer, list) and answer and isinstance(answer[0], tuple) else asked(answer)
    if (ended and sample.finish_reason != "end") or not any(map(str.isalnum, sample.text)):
        return {"correct": 0.0, "share": 0.0}
    kept = [CONSTRAINTS[name](sample.text, **options) for name, options in wanted]
    return {"correct": float(all(kept)), "share": sum(kept) / len(kept)}
