import time

import pytest

from pojax.tasks.verifiers import extraction
from pojax.tasks.verifiers.extraction import extract_by, written_by


@pytest.mark.parametrize(
    "extract, text, found",
    [
        ("whole", "  a b\n", "a b"),
        ("whole", " \n", None),
        ("hash_marks", "so\n#### 1,080 \nand on", "1,080"),
        ("hash_marks", "#### 3 #### 4", "4"),
        ("hash_marks", "####\n4", "4"),
        ("hash_marks", "4", None),
        ("hash_marks", "4 ####", None),
        (("after", {"marker": "Answer:"}), "Answer: 3. Answer: 4\n5", "4\n5"),
        (("after", {"marker": "="}), "1", None),
        ("boxed", r"so \boxed{3} or \boxed{ \frac{1}{2} }.", r"\frac{1}{2}"),
        ("boxed", r"\boxed{\{1,2\}} and } {", r"\{1,2\}"),
        ("boxed", r"\boxed{3} then \boxed{4", "3"),
        ("boxed", r"\boxed{\boxed{3}}", "3"),
        ("boxed", r"\fbox{3}", "3"),
        ("boxed", r"$\boxed 3$ is it", "3"),
        ("boxed", r"{ \boxed{3}", "3"),
        ("boxed", r"\boxed {3}", "3"),
        ("boxed", r"\boxed{}", None),
        ("boxed", r"\boxed{3", None),
        ("boxed", r"boxed{3}", None),
        ("boxed", r"\boxed{\begin{pmatrix}1\\2\end{pmatrix}}", r"\begin{pmatrix}1\\2\end{pmatrix}"),
        ("tag", "<answer>3</answer> <answer> 4 </answer>", "4"),
        ("tag", "<answer>3<answer>4</answer>", "4"),
        ("tag", "<answer>3</answer></answer>", "3</answer>"),
        ("tag", "<answer>3", None),
        ("tag", "</answer>3<answer>", None),
        ("tag", "<answer></answer>", None),
        (("tag", {"name": "final"}), "<answer>3</answer><final>4</final>", "4"),
        ("last_number", "3 apples and 4 pears.", "4"),
        ("last_number", "in all 1,234,567.50 dollars", "1,234,567.50"),
        ("last_number", "it is -$3", "-$3"),
        ("last_number", "it is $-3", "-3"),
        ("last_number", "7-3", "3"),
        ("last_number", "so x=-3", "-3"),
        ("last_number", "(2)-3", "3"),
        ("last_number", "3/4 of it", "3/4"),
        ("last_number", "20% of it", "20%"),
        ("last_number", ".5", ".5"),
        ("last_number", "3.", "3"),
        ("last_number", "1, 2", "2"),
        ("last_number", "no number", None),
        (["boxed", "last_number"], "it is 3", "3"),
        (["boxed", "last_number"], r"\boxed{4} of 5", "4"),
        ([("tag", {"name": "a"}), ("after", {"marker": "="})], "1=2", "2"),
        (["boxed", "tag"], "3", None),
    ],
)
def test_where_the_answer_stands(extract, text, found):
    assert extract_by(extract, text) == found


@pytest.mark.parametrize("extract", ["whole", "hash_marks", "boxed", "last_number", ("tag", {"name": "a"}), ("after", {"marker": "="})])
def test_what_is_written_is_found(extract):
    assert extract_by(extract, "some text " * (extract != "whole") + written_by(extract, "-12")) == "-12"
    assert written_by([extract, "boxed"], "3") == written_by(extract, "3")


OPTIONS = {"after": {"marker": "####"}, "fenced": {"language": "python"}}
UNIT = {
    "boxes": "\\boxed{", "braces": "{", "closing": "}", "backslashes": "\\", "spaces": "\\boxed ", "tags": "<answer>", "ends": "</answer>",
    "hashes": "#", "digits": "1", "commas": "1,", "only commas": ",", "signs": "-", "dots": "1.", "slashes": "1/", "open": "\\boxed{1",
}  # fmt: skip


@pytest.mark.parametrize("unit", UNIT)
def test_a_million_characters_take_linear_time(unit):
    text = (UNIT[unit] * 10**6)[: 10**6] + "1"
    begun = time.process_time()
    for name in extraction.__all__:
        extract_by((name, OPTIONS.get(name, {})), text)
    assert time.process_time() - begun < 10  # less than one second; anything quadratic takes days


def test_a_gap_of_a_million_spaces():
    assert extract_by("boxed", "\\boxed" + " " * 10**6 + "{3}") == "3"
    assert extract_by("boxed", ("\\boxed" + " " * 1000) * 1000) is None


@pytest.mark.parametrize(
    "extract, message",
    [
        ("box", "extract: no function 'box' in pojax.tasks.verifiers.extraction; nearest: boxed"),
        ([], r"extract: found \[\], allowed"),
        (3, "extract: found 3, allowed"),
        ({"boxed"}, "extract: found {'boxed'}, allowed"),
        ([3], r"extract: found 3, allowed: an entry"),
        ("after", "extract.after.marker: needs a text"),
        (("tag", {"names": "a"}), "extract.tag.names: found 'a', allowed: options name"),
        (("tag", {"name": 3}), "extract.tag.name: found 3"),
        (("boxed", {"name": "a"}), "extract.boxed.name: found 'a', allowed: options none"),
    ],
)
def test_bad_options(extract, message):
    with pytest.raises(ValueError, match=message):
        extraction.check(extract)
