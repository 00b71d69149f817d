"""Chat templates: untrusted jinja2 in a sandbox, with bounds, that says which text came from where."""

import datetime
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import islice
from typing import Any, NamedTuple

Message = Mapping[str, Any]  # {"role": ..., "content": ...}
Guard = Callable[[str], tuple[list[tuple[int, int]], list[int]]]  # text -> (spans of control tokens, places to cut)

SOURCE_CHARACTERS = 1 << 18  # a template has at most so many characters, what it writes at most RENDERED_CHARACTERS,
RENDERED_CHARACTERS = 1 << 24
STEPS = 1_000_000  # and its loops and macros run at most so often in one rendering
PRIVATE = range(0xF0000, 0xFFFFE)  # supplementary private use: characters that mean nothing


class Rendered(NamedTuple):
    """What a template wrote. pieces: (text, literal), which joined are the text; literal: data that must not be read as a control token.

    written: spans of the text that stand inside `{% generation %}`, the assistant's.
    """

    text: str
    pieces: list[tuple[str, bool]]
    written: list[tuple[int, int]]


@dataclass
class _Rendering:
    """State of one rendering: characters that mark it, what they marked, and what it has used up."""

    marks: list[str]  # opens and closes what looks like a control token (a single one cuts), opens and closes what the assistant wrote
    now: str | None
    surfaces: set[str] = field(default_factory=set)
    steps: int = 0


_rendering: ContextVar[_Rendering] = ContextVar("rendering")


class ChatTemplate:
    """A jinja2 template of messages. source: its text. name: what messages call it.

    It runs in jinja2's sandbox for immutable data, as transformers runs it: bos_token and the like, raise_exception, strftime_now, tojson,
    `break` and `continue`, and `{% generation %}` around what the assistant wrote. Loops, recursion, and what it writes are bounded;
    the memory of its filters is not, so a folder from a stranger still deserves a look.
    variables: names that it reads. marks_generation: whether it has `{% generation %}`.
    Raises ValueError naming the template, for one that is too long or no jinja2.
    """

    def __init__(self, source: str, name: str = "default"):
        self.name, self.source = name, source
        if len(source) > SOURCE_CHARACTERS:
            raise ValueError(f"chat template {name}: {len(source)} characters, allowed: at most {SOURCE_CHARACTERS}")
        try:
            self._template, self.variables, self.marks_generation = _compile(source)
        except ImportError:
            raise
        except Exception as error:  # TemplateSyntaxError, and what Python says of the code that jinja2 makes (nesting, recursion)
            raise ValueError(f"chat template {name}: {_reason(error)}, allowed: a jinja2 template") from None

    def render(
        self, messages: Sequence[Message], variables: Mapping[str, Any], *, now: str | None = None, guard: Guard | None = None
    ) -> Rendered:
        """What the template writes for messages. now: ISO date or time for strftime_now, default the real one.

        guard: finds control tokens in data. ValueError naming the template, for what it raises and for more than the bounds.
        """
        if not messages or not all(isinstance(m, Mapping) and isinstance(m.get("role"), str) for m in messages):
            raise ValueError(f"chat: messages {str(messages)[:80]!r}, allowed: at least one object, each with a role and a content")
        state = _Rendering(unused(4, [self.source, messages, variables]), now)
        data = [{key: _data(value, state, guard) for key, value in message.items() if value is not None} for message in messages]
        token = _rendering.set(state)
        parts: list[str] = []
        size = 0
        try:
            for part in self._template.generate({"tools": None, "documents": None, **variables, "messages": data}):
                parts.append(part)
                size += len(part)
                if size > RENDERED_CHARACTERS:
                    raise ValueError(f"it writes more than {RENDERED_CHARACTERS} characters")
        except Exception as error:  # other people's code: whatever it raises is the template's mistake, or what it says of the messages
            raise ValueError(f"chat template {self.name}: {_reason(error)}") from None
        finally:
            _rendering.reset(token)
        return _read("".join(parts), state)


def unused(count: int, data: Any) -> list[str]:
    """Characters for private use that no text in the data has."""
    taken = json.dumps(data, ensure_ascii=False, default=str)
    return list(islice((character for character in map(chr, PRIVATE) if character not in taken), count))


def _data(value: Any, state: _Rendering, guard: Guard | None) -> Any:
    """Plain copies of what a template sees; in texts, what could be read as a control token is marked."""
    if isinstance(value, str):
        spans, cuts = guard(value) if guard else ([], [])
        if not spans and not cuts:
            return str(value)
        opens, closes = state.marks[:2]
        state.surfaces |= {value[start:end] for start, end in spans}
        marked = [(start, 1, opens) for start, _ in spans] + [(end, 0, closes) for _, end in spans] + [(cut, 2, closes) for cut in cuts]
        at, out = 0, []
        for place, _, mark in sorted(marked):
            out += [value[at:place], mark]
            at = place
        return "".join([*out, value[at:]])
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, Mapping):
        return {str(key): _data(each, state, guard) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_data(each, state, guard) for each in value]
    raise ValueError(f"chat: a message holds {type(value).__name__}, allowed: texts, numbers, lists and objects of them")


def _read(marked: str, state: _Rendering) -> Rendered:
    """The text without its marks, and what they say."""
    opens, closes, begins, ends = state.marks
    known = "|".join(map(re.escape, sorted(state.surfaces, key=len, reverse=True))) or "(?!)"
    pieces: list[tuple[str, bool]] = []
    written: list[tuple[int, int]] = []
    open_at: list[int] = []
    at = place = 0  # in the text, in the marked text
    plain: list[str] = []

    def flush() -> None:
        if text := "".join(plain):
            pieces.append((text, False))
        plain.clear()

    for match in re.finditer(f"{opens}({known}){closes}|[{''.join(state.marks)}]", marked):
        plain.append(marked[place : match.start()])
        at += match.start() - place
        place = match.end()
        if match[0] == begins:
            open_at.append(at)
        elif match[0] == ends:
            begin = open_at.pop() if open_at else at
            if not open_at and begin < at:
                written.append((begin, at))
        else:
            flush()
            if match[1] is not None:
                pieces.append((match[1], True))
                at += len(match[1])
    plain.append(marked[place:])
    flush()
    return Rendered("".join(text for text, _ in pieces), pieces, written)


def _reason(error: Exception) -> str:
    said = " ".join(str(error).split())[:300]
    return said if type(error) is ValueError else f"{type(error).__name__}: {said}"


def _generation(caller: Callable[[], str]) -> str:
    begins, ends = _rendering.get().marks[2:]
    return begins + caller() + ends


def _step() -> str:
    state = _rendering.get()
    state.steps += 1
    if state.steps > STEPS:
        raise ValueError(f"its loops and macros run more than {STEPS} times")
    return ""


def _strftime_now(form: str) -> str:
    now = _rendering.get().now
    return (datetime.datetime.now() if now is None else datetime.datetime.fromisoformat(now)).strftime(form)


def _to_json(value: Any, ensure_ascii: bool = False, indent: Any = None, separators: Any = None, sort_keys: bool = False) -> str:
    """json.dumps, without the escapes for HTML of jinja2's own."""
    text = json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)
    for mark in _rendering.get().marks:
        text = text.replace(json.dumps(mark)[1:-1], mark)
    return text


@lru_cache(maxsize=32)
def _compile(source: str) -> tuple[Any, frozenset[str], bool]:
    """A template's code, the variables that it reads, and whether it has generation markers."""
    try:
        import jinja2
        from jinja2 import ext, meta, nodes, sandbox, visitor
    except ImportError:
        raise ImportError('a chat template needs the package jinja2: pip install "pojax[hf]"') from None

    class Markers(ext.Extension):
        tags = {"generation"}
        seen = False

        def parse(self, parser: Any) -> nodes.Node:
            self.seen = True
            line = next(parser.stream).lineno
            body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
            return nodes.CallBlock(self.call_method("generation"), [], [], body).set_lineno(line)

        generation, step = staticmethod(_generation), staticmethod(_step)

    class Sandbox(sandbox.ImmutableSandboxedEnvironment):
        intercepted_binops = frozenset(("*", "**"))

        def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
            sizes = [len(x) if isinstance(x, str | list | tuple) else abs(x) for x in (left, right)]
            if operator == "**" and (sizes[1] > 64 or sizes[0] > 1 << 32) or operator == "*" and max(sizes) > RENDERED_CHARACTERS:
                raise ValueError(f"{operator} of numbers or texts too large")
            if operator == "*" and not all(isinstance(x, int | float) for x in (left, right)) and sizes[0] * sizes[1] > RENDERED_CHARACTERS:
                raise ValueError(f"it makes a text of more than {RENDERED_CHARACTERS} characters")
            return super().call_binop(context, operator, left, right)

    class Counted(visitor.NodeTransformer):
        """Every round of a loop and every call of a macro is counted."""

        def visit_For(self, node: Any) -> Any:
            self.generic_visit(node)
            node.body.insert(0, nodes.ExprStmt(markers.call_method("step", lineno=node.lineno)).set_lineno(node.lineno))
            return node

        visit_Macro = visit_CallBlock = visit_For

    environment = Sandbox(trim_blocks=True, lstrip_blocks=True, extensions=[Markers, ext.loopcontrols])
    markers = next(each for each in environment.extensions.values() if isinstance(each, Markers))
    environment.filters["tojson"] = _to_json

    def raise_exception(message: str) -> Iterator[str]:
        raise jinja2.TemplateError(message)

    environment.globals |= {"raise_exception": raise_exception, "strftime_now": _strftime_now}
    tree = environment.parse(source)
    reads = frozenset(meta.find_undeclared_variables(tree))
    code = environment.compile(Counted().visit(tree))
    return environment.template_class.from_code(environment, code, dict(environment.globals)), reads, markers.seen
