"""Instruction constraints: what each rule says, on texts judged by hand; linear time; the verifier and its messages."""

import time

import pytest

from pojax.tasks.verifiers.constraints import CONSTRAINTS, asked, constraints, paragraphs_of, sentences_of, words_of
from pojax.types import Sample

ONE = "The quick brown fox. It jumps!"
NOTE = "Dear [name],\n\nThank you, friend.\n\nP.S. Write soon."
LIST = "Things:\n- tea\n* milk\n\u2022 bread\n1. one\n2) two\n---\n-none"

CASES = [  # name, options, text, whether it is kept
    ("words", dict(number=6), ONE, True),
    ("words", dict(number=7), ONE, False),
    ("words", dict(number=6, relation="exactly"), "a - b, c \u2014 d 1 !? e's", True),
    ("words", dict(number=5, relation="at most"), ONE, False),
    ("sentences", dict(number=2, relation="exactly"), ONE, True),
    ("sentences", dict(number=3, relation="exactly"), 'He said "No." Then... he left; at 3.14 sharp', True),
    ("sentences", dict(number=1, relation="exactly"), "One. ... !!", True),
    ("sentences", dict(number=2, relation="exactly"), "\u6211\u5728\u8fd9\u91cc\u3002\u4f60\u5462\uff1f", True),
    ("sentences", dict(number=3), ONE, False),
    ("paragraphs", dict(number=3), NOTE, True),
    ("paragraphs", dict(number=2), "a\nb\n \n\n\nc\n", True),
    ("paragraphs", dict(number=2), "a\n***\nb", True),
    ("paragraphs", dict(number=2), "a\nb", False),
    ("lines", dict(number=2), "a\n\nb\n", True),
    ("lines", dict(number=2), "a\nb\nc", False),
    ("paragraph_first_word", dict(paragraph=2, word="thank"), NOTE, True),
    ("paragraph_first_word", dict(paragraph=2, word="you"), NOTE, False),
    ("paragraph_first_word", dict(paragraph=4, word="thank"), NOTE, False),
    ("paragraph_first_word", dict(paragraph=1, word="well"), "**Well**, yes", True),
    ("keywords", dict(include=["Fox", "quick  brown"]), ONE, True),
    ("keywords", dict(include=["jump"]), ONE, False),
    ("keywords", dict(include=["C++"]), "I like c++.", True),
    ("keywords", dict(include=["STRASSE"]), "die Stra\u00dfe", True),
    ("forbidden", dict(exclude=["art", "dog"]), "A party.", True),
    ("forbidden", dict(exclude=["party"]), "A Party.", False),
    ("keyword_frequency", dict(keyword="the", number=2), "The cat, the other.", True),
    ("keyword_frequency", dict(keyword="the", number=2, relation="exactly"), "the the the", False),
    ("keyword_frequency", dict(keyword="the", number=1, relation="at most"), "the the", False),
    ("letter_frequency", dict(letter="O", number=2, relation="exactly"), "Foo", True),
    ("letter_frequency", dict(letter="\u00e9", number=2), "\u00c9t\u00e9", True),
    ("letter_frequency", dict(letter="z", number=1), ONE, False),
    ("case", dict(letters="upper"), "ALL 1, \u00c9T\u00c9!", True),
    ("case", dict(letters="upper"), "ALl", False),
    ("case", dict(letters="upper"), "123", False),
    ("case", dict(letters="lower"), "all lower.", True),
    ("case", dict(letters="lower"), "all Lower.", False),
    ("capital_words", dict(number=2, relation="exactly"), "NASA and the UN! say No 12", True),
    ("capital_words", dict(number=1, relation="at most"), "NASA UN", False),
    ("no_commas", dict(), ONE, True),
    ("no_commas", dict(), NOTE, False),
    ("no_commas", dict(), "\u4f60\u597d\uff0c\u4e16\u754c", False),
    ("placeholders", dict(number=1), NOTE, True),
    ("placeholders", dict(number=2), "[a] [] [ ] [[b]]", True),
    ("placeholders", dict(number=2), "[a\n] [b]", False),
    ("bullets", dict(number=3), LIST, True),
    ("bullets", dict(number=1), "*** \n**bold** x\n  - one", True),
    ("bullets", dict(number=2), LIST, False),
    ("numbered", dict(number=1), LIST, False),
    ("numbered", dict(number=2), LIST, True),
    ("numbered", dict(number=0), "2024 was. 1.5 too", True),
    ("highlights", dict(number=2, relation="exactly"), "*one* and **two** but not * three * or *fo\nur*", True),
    ("highlights", dict(number=1), "- none\n* none", False),
    ("title", dict(), "<<My day>>\nIt rained.", True),
    ("title", dict(), "<< >> <My day>", False),
    ("title", dict(), "<<My\nday>>", False),
    ("sections", dict(splitter="Section", number=2), "SECTION 1\na\n## Section II\nb", True),
    ("sections", dict(splitter="Section", number=1), "In section 1 we say: sections are good", False),
    ("sections", dict(splitter="Section", number=1), "Section is good", False),
    ("json_only", dict(), '{"a": [1, 2]}', True),
    ("json_only", dict(), '```json\n{"a": 1}\n```', True),
    ("json_only", dict(), 'Here: {"a": 1}', False),
    ("json_only", dict(), '{"a": NaN}', False),
    ("quoted", dict(), ' "All of it." ', True),
    ("quoted", dict(), "\u201cAll of it.\u201d", True),
    ("quoted", dict(), '"Part" of it', False),
    ("quoted", dict(), '"', False),
    ("two_responses", dict(), "One.\n******\nTwo.", True),
    ("two_responses", dict(), "One.\n******\none.", False),
    ("two_responses", dict(), "One.******Two.******Three.", False),
    ("two_responses", dict(), "******Two.", False),
    ("postscript", dict(), NOTE, True),
    ("postscript", dict(), "Hello.\np. s. bye", True),
    ("postscript", dict(), "P.S. bye", False),
    ("postscript", dict(), "Hello.\nP.S.", False),
    ("postscript", dict(marker="P.P.S"), "Hello.\nP.S. bye", False),
    ("repeats_prompt", dict(prompt="What is it?"), "what is  it? A dog.", True),
    ("repeats_prompt", dict(prompt="What is it?"), "What is it?", False),
    ("repeats_prompt", dict(prompt="What is it?"), "A dog. What is it?", False),
    ("ends_with", dict(phrase="Is there anything else?"), 'Done. "Is there anything  else?"\n', True),
    ("ends_with", dict(phrase="Is there anything else?"), "Is there anything else? No.", False),
    ("starts_with", dict(phrase="My dear"), "my dear friend", True),
    ("starts_with", dict(phrase="My dear"), "Oh my dear", False),
    ("choice", dict(options=["My answer is yes.", "My answer is no."]), "my answer is no", True),
    ("choice", dict(options=["Yes.", "No."]), "No, because", False),
]  # fmt: skip


@pytest.mark.parametrize(("name", "options", "text", "kept"), CASES)
def test_rules_on_texts_judged_by_hand(name, options, text, kept):
    ((found, given),) = asked([{"name": name, **options}])  # the options pass the check of a record
    assert found == name and CONSTRAINTS[name](text, **given) is kept


def test_every_constraint_is_kept_by_some_text_and_broken_by_another():
    assert {(name, kept) for name, _, _, kept in CASES} == {(name, kept) for name in CONSTRAINTS for kept in (True, False)}


def test_units_of_text():
    assert words_of("a  -- b\n...") == ["a", "b"]
    assert sentences_of("") == [] and sentences_of("no end") == ["no end"]
    assert paragraphs_of("\n\na\nb\n\n\nc") == ["a\nb", "c"]


HARD = [
    *("." * 100_000 + "x", "!" * 100_000, "[" * 100_000, "<" * 100_000, "*" * 100_000, "* " * 50_000, "a" * 100_000, " " * 100_000 + "x"),
    *('"' * 100_000, "a " * 50_000, "\n" * 100_000, "- " * 50_000, "1" * 100_000, "section " * 12_000, "[" * 50_000 + "]" * 50_000),
]
OPTIONS = {  # one set that fits each
    **{name: dict(number=3) for name in ("words", "sentences", "paragraphs", "lines", "capital_words", "placeholders", "bullets")},
    **{name: dict(number=3) for name in ("numbered", "highlights")},
    **dict(paragraph_first_word=dict(paragraph=1, word="a"), keywords=dict(include=["a a b"]), forbidden=dict(exclude=["a  . b"])),
    **dict(keyword_frequency=dict(keyword="a a", number=9), letter_frequency=dict(letter="a", number=9), case=dict(letters="upper")),
    **dict(sections=dict(splitter="section", number=2), repeats_prompt=dict(prompt="a a a"), ends_with=dict(phrase="a b")),
    **dict(starts_with=dict(phrase="a a"), choice=dict(options=["a", "b"])),
}


@pytest.mark.parametrize("name", sorted(CONSTRAINTS))
def test_time_is_linear_in_hard_texts(name):
    begin = time.process_time()
    for text in HARD:
        CONSTRAINTS[name](text, **OPTIONS.get(name, {}))
    assert time.process_time() - begin < 4.0  # 1.5 million characters; a quadratic rule takes minutes


def _sample(text, finish="end"):
    return Sample(None, None, text, finish)


def test_verifier_counts_the_share_that_is_kept():
    wanted = [{"name": "no_commas"}, {"name": "words", "number": 2, "relation": "at most"}]
    assert constraints(_sample("Fine thanks"), wanted) == {"correct": 1.0, "share": 1.0}
    assert constraints(_sample("Fine, thanks"), wanted) == {"correct": 0.0, "share": 0.5}
    assert constraints(_sample("Fine thanks", "length"), asked(wanted)) == {"correct": 0.0, "share": 0.0}
    assert constraints(_sample("Fine thanks", "length"), wanted, ended=False)["correct"] == 1.0
    assert constraints(_sample(" \n"), wanted) == {"correct": 0.0, "share": 0.0}  # nothing said has no comma either
    assert constraints.fields == {"correct": (), "share": ()}


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ([], "a list of at least one constraint"),
        ("no list", "a list of at least one constraint"),
        ([["words", 3]], "constraint 0 as"),
        ([{"name": "no_commas"}, {"name": "sentence", "number": 2}], r"constraint 1 .*'sentence'; nearest: sentences"),
        ([{"name": "words"}], r"constraint 0 \(words\): a value for 'number'"),
        ([{"name": "words", "number": 3, "relations": "exactly"}], "no option 'relations'; nearest: relation"),
        ([{"name": "words", "number": "3"}], "a whole number from 0 on under 'number', not '3'"),
        ([{"name": "words", "number": 3, "relation": "more"}], "one of 'at least', 'at most', 'exactly'"),
        ([{"name": "paragraph_first_word", "paragraph": 0, "word": "a"}], "a whole number from 1 on"),
        ([{"name": "keywords", "include": "fox"}], "a list of at least one text"),
        ([{"name": "letter_frequency", "letter": "ab", "number": 1}], "one character"),
        ([{"name": "ends_with", "phrase": " "}], "a text that is not empty"),
    ],
)
def test_malformed_records_say_what_is_allowed(answer, message):
    with pytest.raises(ValueError, match=message):
        asked(answer)


def test_a_record_may_hold_its_constraints_as_json():
    assert asked('[{"name": "title"}]') == [("title", {})]
