"""JSON answers judged by a JSON Schema (Draft 2020-12). Nothing is fetched: a schema may refer to itself only."""

import functools
import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from pojax.tasks.verifiers.extraction import extract_by, written_by
from pojax.tasks.verifiers.protocol import verifier
from pojax.types import Sample

JSON_BLOCK = [("fenced", {"language": "json"}), "whole"]
DRAFT = "https://json-schema.org/draft/2020-12/schema"


class Wanted(NamedTuple):
    """A checked schema, as text, and the value that the answer must have, if any."""

    schema: str
    value: Any = None
    has_value: bool = False


def wanted(answer: Any, options: Mapping[str, Any] | None = None) -> Wanted:
    """The schema of a record: an object or true/false, its JSON as a text, or {"schema": either, "value": the one right value}.

    Raises ValueError saying what is allowed for anything that is no schema, for references to other documents, and for a value that does
    not fit the schema.
    """
    own = isinstance(answer, Mapping) and "schema" in answer and set(answer) <= {"schema", "value"}
    schema = answer["schema"] if own else answer
    if isinstance(schema, str):
        try:
            schema = parse(schema)
        except ValueError as error:
            raise ValueError(f"a JSON Schema, not {schema!r:.60} ({error})") from None
    if not isinstance(schema, Mapping | bool):
        raise ValueError(f"a JSON Schema, an object, not {schema!r:.60}")
    text = json.dumps(schema)
    _check(json.loads(text))
    if not own or "value" not in answer:
        return Wanted(text)
    if not fits(answer["value"], text):
        raise ValueError(f"a value that fits the schema, not {answer['value']!r:.60}")
    return Wanted(text, answer["value"], True)


def _check(schema: Any) -> None:
    """ValueError for what is no schema of the draft, or refers to what is not in it."""
    jsonschema, referencing = _packages()
    for key, target in _keywords(schema, "$schema", "$id", "$ref", "$dynamicRef"):
        if key == "$schema" and target.rstrip("#") != DRAFT:
            raise ValueError(f"a schema of {DRAFT}, not of {target!r:.80}")
        if key == "$id":
            raise ValueError(f"a schema without $id, not {target!r:.80}: references resolve within the schema")
        if key in ("$ref", "$dynamicRef") and not target.startswith("#"):
            raise ValueError(f"references within the schema ('#/$defs/...'), not {target!r:.80}: nothing is fetched")
    try:
        jsonschema.Draft202012Validator.check_schema(schema)
    except (jsonschema.SchemaError, RecursionError) as error:
        where = "/".join(map(str, getattr(error, "absolute_path", ())))
        raise ValueError(f"a JSON Schema: {getattr(error, 'message', 'too deep'):.200}" + (f" (at {where})" if where else "")) from None
    resource = referencing.jsonschema.DRAFT202012.create_resource(schema)
    resolver = referencing.Registry().with_resource("", resource).resolver()
    for _, target in _keywords(schema, "$ref", "$dynamicRef"):
        try:
            resolver.lookup(target)
        except referencing.exceptions.Unresolvable:
            raise ValueError(f"references to what stands in the schema, not {target!r:.80}") from None


def _keywords(schema: Any, *names: str) -> Iterator[tuple[str, str]]:
    """(keyword, text) of the named keywords wherever they stand: an object under such a key is a property that happens to have the name.

    A loop, for schemas of any depth.
    """
    waiting = [schema]
    while waiting:
        node = waiting.pop()
        if isinstance(node, Mapping):
            waiting += node.values()
            yield from ((name, node[name]) for name in names if isinstance(node.get(name), str))
        elif isinstance(node, list):
            waiting += node


def _packages() -> tuple[Any, Any]:
    try:
        import jsonschema
        import referencing.exceptions
        import referencing.jsonschema
    except ImportError:
        raise ImportError('the verifier json_schema needs the package jsonschema: pip install "pojax[json]"') from None
    return jsonschema, referencing


@functools.lru_cache(maxsize=1024)
def _validator(schema: str) -> Any:
    """The validator of a schema given as JSON; with a registry of its own, which fetches nothing."""
    jsonschema, referencing = _packages()
    return jsonschema.Draft202012Validator(json.loads(schema), registry=referencing.Registry())


def parse(text: str) -> Any:
    """The value of a JSON text as RFC 8259 has it: no NaN or Infinity, no key twice in an object; ValueError otherwise."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            raise ValueError("a key stands twice in an object")
        return found

    def refuse(name: str) -> Any:
        raise ValueError(f"{name} is no JSON")

    try:
        return json.loads(text, object_pairs_hook=once, parse_constant=refuse)
    except RecursionError:
        raise ValueError("too deep") from None


def fits(value: Any, schema: str) -> bool:
    """Whether a value is valid under a schema given as JSON."""
    try:
        return bool(_validator(schema).is_valid(value))
    except (RecursionError, ArithmeticError):  # a schema that calls itself without end, a value as deep; 1e999 is a multiple of nothing
        return False


def equal(found: Any, expected: Any) -> bool:
    """Equality of JSON values: true is not 1, 1.0 is 1, the order of keys does not count."""
    if isinstance(found, bool) or isinstance(expected, bool):
        return found is expected
    if isinstance(found, dict) and isinstance(expected, dict):
        return found.keys() == expected.keys() and all(equal(found[key], expected[key]) for key in found)
    if isinstance(found, list) and isinstance(expected, list):
        return len(found) == len(expected) and all(map(equal, found, expected))
    return bool(found == expected)


def _found(text: str, options: Mapping[str, Any]) -> str | None:
    found = extract_by(options["extract"], text)
    try:
        return None if found is None else json.dumps(parse(found), sort_keys=True)
    except (ValueError, RecursionError):
        return None


def _written(answer: Wanted, options: Mapping[str, Any]) -> str:
    return written_by(options["extract"], json.dumps(answer.value)) if answer.has_value else ""


def _load() -> None:
    _validator("true")


@verifier("correct", "format", processes=True, prepare=wanted, found=_found, written=_written, load=_load)
def json_schema(
    sample: Sample, answer: Any, *, extract: Any = JSON_BLOCK, ended: bool = True, seconds: float | int = 2.0
) -> dict[str, float]:
    """correct: the response is JSON that the schema allows, and equals the record's value where there is one; format: it is JSON.

    answer: see `wanted`; the keyword `format` is a remark, as the draft has it. extract: where the JSON stands, see `extraction`; default
    the last ``` block of it, or all of the response.
    seconds: limit of a call in its worker process (a pattern of a schema may take exponential time on some text).
    ended: both are 0 for a response that did not end by itself.
    """
    asked = answer if isinstance(answer, Wanted) else wanted(answer)
    text = extract_by(extract, sample.text)
    try:
        if text is None or (ended and sample.finish_reason != "end"):
            raise ValueError("no answer")
        value = parse(text)
        correct = fits(value, asked.schema) and (not asked.has_value or equal(value, asked.value))
    except (ValueError, RecursionError):
        return {"correct": 0.0, "format": 0.0}
    return {"correct": float(correct), "format": 1.0}
