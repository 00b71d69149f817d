import json
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pojax.tasks import tokenizers
from pojax.tasks.tokenizers import Characters, SentencePiece, Tokenizer, load, train_sentencepiece

TEXTS = [f"Dan had {i * 37 % 101} apples and gave {i} of them away. How many does he have?" for i in range(60)] + ["(37+58)*2"]


@pytest.fixture(scope="module")
def pieces():
    return train_sentencepiece(TEXTS, vocabulary=320)


def test_characters():
    tokenizer = Characters("0123+")
    assert isinstance(tokenizer, Tokenizer)
    assert tokenizer.vocab_size == 7 and (tokenizer.pad, tokenizer.end) == (0, 1)
    assert tokenizer.encode("1+30") == [3, 6, 5, 2]
    assert tokenizer.decode([3, 0, 6, 1, 5, 2]) == "1+30"  # special tokens are dropped
    assert tokenizer.decode(np.array([3, -1, 7, 6])) == "1\ufffd\ufffd+"  # a model may have more ids than the tokenizer
    with pytest.raises(ValueError, match=r"character 'x' at 2, allowed: '0123\+'"):
        tokenizer.encode("11x1")
    for alphabet in ("", "010"):
        with pytest.raises(ValueError, match="distinct"):
            Characters(alphabet)


def test_sentencepiece_tokens(pieces):
    assert isinstance(pieces, Tokenizer)
    assert (pieces.pad, pieces.end) == (0, 1) and 259 < pieces.vocab_size <= 320
    assert not {0, 1, 2} & {i for text in TEXTS for i in pieces.encode(text)}
    tokens = [pieces.decode([i]) for i in pieces.encode("gave 3745 apples")]
    assert [token for token in tokens if any(c.isdigit() for c in token)] == ["3", "7", "4", "5"]  # each digit is a token
    ids = pieces.encode("Dan had")
    assert pieces.decode([0, *ids, 1, 0]) == "Dan had"
    assert pieces.decode(np.array([*ids, -1, 5000], np.int32)) == "Dan had\ufffd\ufffd"
    assert "\ufffd" in pieces.decode([2])  # <unk>
    assert pieces.decode([]) == "" and pieces.encode("") == []


@given(st.text(st.characters(exclude_characters="\x00\u2581", exclude_categories=["Cs"])))
def test_any_text_comes_back(text):
    tokenizer = _shared()
    assert tokenizer.decode(tokenizer.encode(text)) == text


@given(st.lists(st.integers(-2, 330)))
def test_any_ids_decode(ids):
    assert isinstance(_shared().decode(ids), str)


def _shared(made=[]):  # noqa: B006  one model for all examples
    if not made:
        made.append(train_sentencepiece(TEXTS, vocabulary=320))
    return made[0]


def test_training_is_deterministic(pieces):
    code = """
import json, sys
from pojax.tasks.tokenizers import train_sentencepiece
print(train_sentencepiece(json.load(sys.stdin), vocabulary=320).fingerprint())
"""
    other = subprocess.run([sys.executable, "-c", code], input=json.dumps(TEXTS), capture_output=True, text=True, check=True)
    assert train_sentencepiece(iter(TEXTS), vocabulary=320).model == pieces.model
    assert other.stdout.strip() == pieces.fingerprint()
    assert train_sentencepiece(TEXTS[1:], vocabulary=320).fingerprint() != pieces.fingerprint()


def test_few_texts_give_a_small_vocabulary():
    assert train_sentencepiece(["ab", "cd"]).vocab_size < 300
    with pytest.raises(ValueError, match=r"vocabulary=200 for 61 texts: Vocabulary size is smaller"):
        train_sentencepiece(TEXTS, vocabulary=200)
    for nothing in ([], ["", ""]):
        with pytest.raises(ValueError, match="no texts"):
            train_sentencepiece(nothing)


def test_saved_and_loaded(tmp_path, pieces):
    for tokenizer in (Characters("01+é\n"), pieces):
        tokenizer.save(tmp_path / "a" / "b")
        again = load(str(tmp_path / "a" / "b"))
        assert type(again) is type(tokenizer) and again.fingerprint() == tokenizer.fingerprint()
        assert again.encode("01+1") == tokenizer.encode("01+1")
    assert sorted(path.name for path in (tmp_path / "a" / "b").iterdir()) == ["pojax_tokenizer.json", "sentencepiece.model"]
    assert Characters("01").fingerprint() != Characters("10").fingerprint()


def test_what_cannot_be_loaded(tmp_path, pieces):
    def settings(text):
        (tmp_path / "pojax_tokenizer.json").write_text(text)

    with pytest.raises(ValueError, match=r"pojax_tokenizer\.json: No such file"):
        load(tmp_path)
    for damaged in ("{", "[]", "{}", json.dumps({"kind": "characters"}), json.dumps({"kind": "characters", "alphabet": "00"})):
        settings(damaged)
        with pytest.raises(ValueError, match=r"pojax_tokenizer\.json: not a saved tokenizer"):
            load(tmp_path)
    settings(json.dumps({"kind": "words"}))
    with pytest.raises(ValueError, match="kind 'words', allowed"):
        load(tmp_path)
    settings(json.dumps({"kind": "sentencepiece"}))
    with pytest.raises(ValueError, match=r"sentencepiece\.model: No such file"):
        load(tmp_path)
    (tmp_path / "sentencepiece.model").write_bytes(pieces.model[:100])
    with pytest.raises(ValueError, match=r"sentencepiece\.model: not a saved tokenizer"):
        load(tmp_path)


def test_a_model_with_other_special_tokens():
    import io

    import sentencepiece

    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.Train(
        sentence_iterator=iter(TEXTS), model_writer=model, vocab_size=60, hard_vocab_limit=False, minloglevel=2
    )
    with pytest.raises(ValueError, match=r"pad and end ids are \(-1, 2\), allowed: \(0, 1\)"):
        SentencePiece(model.getvalue())


def test_missing_package_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "sentencepiece", None)
    with pytest.raises(ImportError, match=r'pip install "pojax\[data\]"'):
        tokenizers.train_sentencepiece(TEXTS)
