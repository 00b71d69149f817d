"""Text to token ids and back, behind one small protocol: characters, a SentencePiece model trained in memory, Hugging Face folders."""

import hashlib
import io
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

__all__ = ["Characters", "SentencePiece", "Tokenizer", "load", "train_sentencepiece"]

PAD, END = 0, 1  # the same in every tokenizer of this package
UNKNOWN = "\ufffd"  # what an id outside the vocabulary reads as: never part of a right answer
SETTINGS, MODEL = "pojax_tokenizer.json", "sentencepiece.model"


@runtime_checkable
class Tokenizer(Protocol):
    """What the rest of the package asks of a tokenizer."""

    vocab_size: int
    pad: int
    end: int
    ends: tuple[int, ...]  # all tokens that end a response; `end` is the first
    begin: tuple[int, ...]  # what stands in front of every prompt

    def encode(self, text: str) -> list[int]:
        """Token ids of a text, without special tokens; ValueError for text that has none."""
        ...

    def encode_more(self, text: str) -> list[int]:
        """As `encode`, for a text that goes on from another: nothing is put in front of it."""
        ...

    def decode(self, ids: Iterable[int] | np.ndarray) -> str:
        """Text of any list of ids; pad and end are dropped, an id outside the vocabulary reads U+FFFD."""
        ...

    def save(self, folder: str | Path) -> None:
        """Write to a folder, from which `load` makes an equal tokenizer."""
        ...

    def fingerprint(self) -> str:
        """sha256 of all that decides between text and ids."""
        ...


class Characters:
    """One token per character of an alphabet: pad 0, end 1, then the alphabet in its order.

    ValueError for an empty alphabet or a repeated character.
    """

    pad, end = PAD, END
    ends: tuple[int, ...] = (END,)
    begin: tuple[int, ...] = ()

    def __init__(self, alphabet: str):
        if not alphabet or len(set(alphabet)) != len(alphabet):
            raise ValueError(f"Characters: alphabet {alphabet!r} is empty or repeats a character, allowed: distinct characters")
        self.alphabet = alphabet
        self.vocab_size = len(alphabet) + 2
        self.ids = {character: i + 2 for i, character in enumerate(alphabet)}
        self._text = ["", "", *alphabet]

    def encode(self, text: str) -> list[int]:
        """Token ids of a text; ValueError naming a character that is not in the alphabet."""
        try:
            return [self.ids[character] for character in text]
        except KeyError as error:
            where = text.index(error.args[0])
            raise ValueError(f"text {text[:60]!r}: character {error.args[0]!r} at {where}, allowed: {self.alphabet!r}") from None

    encode_more = encode

    def decode(self, ids: Iterable[int] | np.ndarray) -> str:
        """Text of any ids; pad and end are dropped, an id outside the vocabulary reads U+FFFD."""
        return "".join(self._text[i] if 0 <= i < self.vocab_size else UNKNOWN for i in ids)

    def save(self, folder: str | Path) -> None:
        """Write the alphabet to a folder."""
        write(folder, SETTINGS, _settings(kind="characters", alphabet=self.alphabet))

    def fingerprint(self) -> str:
        """sha256 of the alphabet."""
        return hashlib.sha256(_settings(kind="characters", alphabet=self.alphabet)).hexdigest()


class SentencePiece:
    """A SentencePiece model (arXiv 1808.06226) held as its serialised bytes; pad 0, end 1.

    With models of `train_sentencepiece`, decode(encode(text)) == text for text without NUL and U+2581 (the model's own mark for a space).
    ValueError for bytes that are no model, or whose pad and end ids are others.
    """

    pad, end = PAD, END
    ends: tuple[int, ...] = (END,)
    begin: tuple[int, ...] = ()

    def __init__(self, model: bytes):
        self.model = model
        self._processor = _sentencepiece().SentencePieceProcessor()
        try:
            self._processor.LoadFromSerializedProto(model)
        except RuntimeError:
            raise ValueError(f"SentencePiece: {len(model)} bytes that are no serialised SentencePiece model") from None
        if (self._processor.pad_id(), self._processor.eos_id()) != (PAD, END):
            found = self._processor.pad_id(), self._processor.eos_id()
            raise ValueError(f"SentencePiece: the model's pad and end ids are {found}, allowed: {(PAD, END)}")
        self.vocab_size = self._processor.GetPieceSize()

    def encode(self, text: str) -> list[int]:
        """Token ids of a text; what no piece covers is written in byte tokens."""
        return self._processor.EncodeAsIds(text)

    encode_more = encode

    def decode(self, ids: Iterable[int] | np.ndarray) -> str:
        """Text of any ids; pad and end are dropped, an id outside the vocabulary reads U+FFFD."""
        unknown = self._processor.unk_id()
        known = [int(i) if 0 <= i < self.vocab_size else unknown for i in ids]
        return self._processor.DecodeIds([i for i in known if i not in (PAD, END)])

    def save(self, folder: str | Path) -> None:
        """Write the model to a folder."""
        write(folder, MODEL, self.model)
        write(folder, SETTINGS, _settings(kind="sentencepiece", model=MODEL))

    def fingerprint(self) -> str:
        """sha256 of the serialised model."""
        return hashlib.sha256(self.model).hexdigest()


def train_sentencepiece(texts: Iterable[str], *, vocabulary: int = 1024) -> SentencePiece:
    """A unigram SentencePiece model of the texts: every digit a token of its own, bytes for what no piece covers.

    Deterministic in the order of the texts (one thread, no sampling), and nothing is written to disk.
    vocabulary: at most so many tokens, of which 259 are special and byte tokens; few texts give fewer.
    Raises ValueError if there are no texts, or more characters in them than that leaves room for.
    Source: unigram language model, arXiv 1804.10959; SentencePiece, arXiv 1808.06226.
    """
    texts = list(texts)
    if not any(texts):
        raise ValueError("train_sentencepiece: no texts to train on")
    model = io.BytesIO()
    try:
        _sentencepiece().SentencePieceTrainer.Train(
            sentence_iterator=iter(texts),
            model_writer=model,
            model_type="unigram",
            vocab_size=vocabulary,
            hard_vocab_limit=False,  # few texts give fewer tokens, not an error
            # Text must come back as it went in: no Unicode normalisation, no added or removed space.
            normalization_rule_name="identity",
            add_dummy_prefix=False,
            remove_extra_whitespaces=False,
            split_digits=True,
            byte_fallback=True,
            character_coverage=1.0,
            unk_surface=UNKNOWN,
            pad_id=PAD,
            eos_id=END,
            unk_id=2,
            bos_id=-1,
            num_threads=1,  # more give other models from run to run
            input_sentence_size=0,
            max_sentence_length=1 << 20,
            minloglevel=2,
        )
    except RuntimeError as error:
        reason = " ".join(str(error).split()).rpartition("] ")[2]
        raise ValueError(f"train_sentencepiece: vocabulary={vocabulary} for {len(texts)} texts: {reason}") from None
    return SentencePiece(model.getvalue())


def load(folder: str | Path) -> Tokenizer:
    """The tokenizer that `save` wrote to a folder, or that of a Hugging Face folder (tokenizer.json, or tokenizer.model).

    ValueError naming the file that is missing or damaged. Nothing is unpickled.
    """
    path = Path(folder) / SETTINGS
    if not path.exists() and any((Path(folder) / name).exists() for name in ("tokenizer.json", "tokenizer.model")):
        from pojax.tasks import hf_tokenizer

        return hf_tokenizer.read(folder)
    try:
        settings = json.loads(path.read_bytes())
        if settings["kind"] == "characters":
            return Characters(settings["alphabet"])
        if settings["kind"] == "sentencepiece":
            path = Path(folder) / MODEL
            return SentencePiece(path.read_bytes())
    except OSError as error:
        raise ValueError(
            f"{path}: {error.strerror}, allowed: a folder that a tokenizer was saved to, or one with a tokenizer.json"
        ) from None
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path}: not a saved tokenizer ({error!r})") from None
    raise ValueError(f"{path}: kind {settings['kind']!r}, allowed: 'characters', 'sentencepiece'")


def _settings(**settings: str) -> bytes:
    return (json.dumps(settings, sort_keys=True) + "\n").encode()


def write(folder: str | Path, name: str, content: bytes) -> None:
    """Write a file in one move, so that no half-written one is ever found under its name; its folder is made."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / f".{name}.{os.getpid()}"
    temporary.write_bytes(content)
    temporary.replace(folder / name)


def _sentencepiece() -> Any:
    try:
        import sentencepiece
    except ImportError:
        raise ImportError('the sentencepiece tokenizer needs the package sentencepiece: pip install "pojax[data]"') from None
    return sentencepiece
