"""The task of JSON answers: rows with a schema, with and without a right value."""

import json

import pytest

from pojax.tasks import json_output
from pojax.types import Sample

pytest.importorskip("jsonschema", reason="the verifier json_schema needs jsonschema")
SCHEMA = {"type": "object", "properties": {"name": {"type": "string"}, "age": {"type": "integer"}}, "required": ["name", "age"]}


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def row(i):
    value = {"name": f"n{i}", "age": i}
    return {"prompt": f"n{i} is {i} years old.", "schema": SCHEMA if i % 2 else json.dumps(SCHEMA), "value": value}


def test_rows_with_a_right_value(tmp_path):
    tasks = json_output(path=write(tmp_path / "rows.jsonl", map(row, range(12))), tokenizer="characters")
    task = tasks["train"]
    assert set(task.fields) == {"correct", "format"} and {split: tasks[split].size for split in tasks}["train"] == 10
    solution = task.solution(0)
    assert solution.startswith("```json\n") and json.loads(solution[8:-4])["name"] == task.prompt(0).split()[0]
    assert task.verify(0, Sample(None, None, solution, "end")) == {"correct": 1, "format": 1}
    assert task.verify(1, Sample(None, None, solution, "end")) == {"correct": 0, "format": 1}
    assert task.verify(1, Sample(None, None, "{", "end")) == {"correct": 0, "format": 0}


def test_rows_without_a_value_and_a_schema_in_the_prompt(tmp_path):
    rows = [{"prompt": f"Someone {i}?", "schema": json.dumps(SCHEMA)} for i in range(12)]
    tasks = json_output(path=write(tmp_path / "rows.jsonl", rows), tokenizer="characters", template="{prompt}\nAs {schema}:\n")
    task = tasks["train"]
    assert json.dumps(SCHEMA) in task.prompt(0) and task.solution(0) == ""
    assert task.verify(0, Sample(None, None, '{"name": "a", "age": 1}', "end")) == {"correct": 1, "format": 1}
    assert task.verify(0, Sample(None, None, '{"name": "a"}', "end")) == {"correct": 0, "format": 1}


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"prompt": "p"}, r"rows\.jsonl:3: 'schema and value' is missing"),
        ({"prompt": "p", "schema": {"type": "strin"}}, r"rows\.jsonl:3: .*'strin' is not valid"),
        ({"prompt": "p", "schema": "{"}, r"rows\.jsonl:3: .*allowed: a JSON Schema"),
        ({"prompt": "p", "schema": {"$ref": "https://example.org"}}, r"rows\.jsonl:3: .*nothing is fetched"),
        ({"prompt": "p", "schema": SCHEMA, "value": {}}, r"rows\.jsonl:3: .*a value that fits the schema"),
    ],
)
def test_malformed_rows_are_named(tmp_path, bad, message):
    with pytest.raises(ValueError, match=message):
        json_output(path=write(tmp_path / "rows.jsonl", [row(1), row(2), bad]), tokenizer="characters")
