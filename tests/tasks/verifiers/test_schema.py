"""JSON answers: what is JSON, what a schema allows, that nothing is fetched, and messages for what is no schema."""

import http.server
import json
import threading

import pytest

from pojax.types import Sample

pytest.importorskip("jsonschema", reason="the verifier json_schema needs jsonschema")
from pojax.tasks.verifiers.protocol import bind  # noqa: E402
from pojax.tasks.verifiers.schema import _validator, equal, fits, json_schema, parse, wanted  # noqa: E402

PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string", "minLength": 1}, "age": {"type": "integer", "minimum": 0}},
    "required": ["name", "age"],
    "additionalProperties": False,
}
TREE = {"$ref": "#/$defs/node", "$defs": {"node": {"type": "array", "items": {"$ref": "#/$defs/node"}}}}


def judged(text, answer, finish="end", **options):
    found = json_schema(Sample(None, None, text, finish), answer, **options)
    return found["correct"], found["format"]


@pytest.mark.parametrize(
    ("text", "verdict"),
    [
        ('{"name": "Ada", "age": 36}', (1.0, 1.0)),
        ('```json\n{"name": "Ada", "age": 36}\n```', (1.0, 1.0)),
        ('First:\n```json\n{"name": ""}\n```\nBetter:\n```json\n{"age": 36,\n "name": "Ada"}\n```\nDone.', (1.0, 1.0)),
        ('{"name": "Ada", "age": 36.0}', (1.0, 1.0)),  # an integer, as JSON Schema has it
        ('{"name": "Ada", "age": "36"}', (0.0, 1.0)),
        ('{"name": "Ada"}', (0.0, 1.0)),
        ('{"name": "Ada", "age": 36, "born": 1815}', (0.0, 1.0)),
        ('{"name": "Ada", "age": true}', (0.0, 1.0)),
        ('{"name": "Ada", "age": 36', (0.0, 0.0)),
        ('{"name": "Ada", "age": 36} ok', (0.0, 0.0)),
        ("{'name': 'Ada', 'age': 36}", (0.0, 0.0)),
        ('{"name": "Ada", "age": 1, "age": 36}', (0.0, 0.0)),
        ('{"name": "Ada", "age": NaN}', (0.0, 0.0)),
        ("", (0.0, 0.0)),
        ("[" * 100_000, (0.0, 0.0)),
        ('{"name": "Ada", "age": ' + "9" * 10_000 + "}", (0.0, 0.0)),
    ],
)  # fmt: skip
def test_verdicts(text, verdict):
    assert judged(text, PERSON) == verdict


def test_a_response_that_was_cut_off_counts_only_where_that_is_asked_for():
    assert judged('{"name": "Ada", "age": 36}', PERSON, "length") == (0.0, 0.0)
    assert judged('{"name": "Ada", "age": 36}', PERSON, "length", ended=False) == (1.0, 1.0)


def test_extraction_is_an_option():
    assert judged("so: <json>[[], [[]]]</json>", TREE, extract=("tag", dict(name="json"))) == (1.0, 1.0)
    assert judged("so: <json>[[], [1]]</json>", TREE, extract=("tag", dict(name="json"))) == (0.0, 1.0)


def test_a_right_value_must_be_given():
    answer = {"schema": PERSON, "value": {"name": "Ada", "age": 36}}
    assert judged('{"age": 36, "name": "Ada"}', answer) == (1.0, 1.0)
    assert judged('{"age": 37, "name": "Ada"}', answer) == (0.0, 1.0)
    assert judged("null", {"schema": True, "value": None}) == (1.0, 1.0)
    assert judged("false", {"schema": True, "value": None}) == (0.0, 1.0)


def test_equality_of_values():
    assert equal({"a": [1, 2.0]}, {"a": [1.0, 2]}) and not equal({"a": 1}, {"a": 1, "b": 1}) and not equal([1, 2], [2, 1])
    assert not equal(1, True) and not equal([0], [False]) and equal("x", "x") and not equal("1", 1)


def test_json_is_that_of_the_standard():
    assert parse(' {"a": "\\ud83d\\ude00"} ') == {"a": "\U0001f600"}
    for text in ("Infinity", "01", "{'a': 1}", '{"a": 1,}', '"\n"', "[1] [2]"):
        with pytest.raises(ValueError):
            parse(text)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (5, "a JSON Schema, an object, not 5"),
        ("{", "a JSON Schema, not '{'"),
        ({"type": "strin"}, "'strin' is not valid .*at type"),
        ({"properties": {"a": {"minimum": "x"}}}, "at properties/a/minimum"),
        ({"pattern": "("}, "'regex'"),
        ({"$ref": "https://example.org/schema"}, "nothing is fetched"),
        ({"properties": {"a": {"$dynamicRef": "other#x"}}}, "nothing is fetched"),
        ({"$ref": "#/$defs/none"}, "references to what stands in the schema, not '#/\\$defs/none'"),
        ({"$id": "https://example.org/a"}, r"without \$id"),
        ({"$schema": "http://json-schema.org/draft-07/schema#"}, "draft/2020-12"),
        ({"schema": {"type": "integer"}, "value": "x"}, "a value that fits the schema, not 'x'"),
    ],
)
def test_what_is_no_schema_is_named(answer, message):
    with pytest.raises(ValueError, match=message):
        wanted(answer)


def test_a_schema_may_be_a_text_and_describe_properties_with_the_names_of_keywords():
    assert wanted('{"type": "array"}').schema == '{"type": "array"}'
    own = {
        "properties": {"$ref": {"type": "string"}, "$id": {"type": "integer"}},
        "$schema": "https://json-schema.org/draft/2020-12/schema",
    }
    assert fits({"$ref": "x", "$id": 1}, wanted(own).schema) and not fits({"$id": "x"}, wanted(own).schema)


def test_a_schema_that_calls_itself_without_end_allows_nothing():
    assert judged("1", {"$ref": "#"}) == (0.0, 1.0)


def test_nothing_is_fetched_even_where_a_server_would_answer():
    asked = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_response(200)
            self.end_headers()

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            remote = json.dumps({"$ref": f"http://127.0.0.1:{server.server_port}/schema"})
            with pytest.raises(Exception, match="(?i)unresolvable"):  # past the check of records
                _validator(remote).is_valid(1)
        finally:
            server.shutdown()
            thread.join()
    assert asked == []


def test_bound_by_name_it_runs_in_workers_and_says_what_an_answer_is():
    bound = bind(("json_schema", dict(seconds=1.0)))
    assert bound.seconds == 1.0 and set(bound.fields) == {"correct", "format"}
    answer = bound.prepare({"schema": {"type": "array"}, "value": [1, 2]})
    assert judged(bound.written(answer), answer[0]) == (1.0, 1.0)
    assert bound.found('{"b": 1, "a": 2}') == bound.found('{"a":2,"b":1}') != bound.found('{"a":2,"b":2}')
    assert bound.found("none") is None
