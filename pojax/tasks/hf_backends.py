"""The two libraries behind a Hugging Face tokenizer, with one set of methods: `tokenizers` and `sentencepiece`."""

import json
import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

Added = Mapping[int, tuple[str, bool]]  # {id: (text, whether it is special)}
Span = tuple[int, int, int]  # token id, first character and the one behind the last

ANCHORS = ("\n", "0", ".")  # what a continuation is encoded behind, so that no space is put in front of it
NO_DUMMY_PREFIX = b"\x1a\x02\x18\x00"  # protobuf merges what is appended: normalizer_spec (3) { add_dummy_prefix (3): false }


class Fast:
    """A tokenizer.json. special: none of its own roles; control: the ids of added tokens that are special."""

    def __init__(self, content: bytes, added: Added, where: str):
        self.special: dict[str, str] = {}
        self._content, self._added, self._where = content, added, where
        decoder = self._data.get_added_tokens_decoder()
        self.control = {i for i, token in decoder.items() if token.special}
        state = json.loads(content)
        self.normalizes = state.get("normalizer") is not None and any(token.normalized for token in decoder.values() if token.special)
        first = self._data.encode("a", add_special_tokens=False).tokens
        self._prefixes = bool(first) and first[0][0] in "\u2581\u0120"  # a space is put in front of a text: as ▁ or, byte by byte, Ġ

    def _make(self) -> Any:
        try:
            import tokenizers
        except ImportError:
            raise ImportError('a tokenizer.json needs the package tokenizers: pip install "pojax[hf]"') from None
        try:
            made = tokenizers.Tokenizer.from_buffer(self._content)
        except Exception as error:  # what the library raises is a bare Exception
            raise ValueError(f"{self._where}: no tokenizer ({' '.join(str(error).split())[:200]})") from None
        made.no_padding()
        made.no_truncation()
        for i, (text, special) in sorted(self._added.items()):
            if made.token_to_id(text) is not None:
                continue
            token = tokenizers.AddedToken(text, special=special, normalized=False)
            made.add_tokens([token])
            if made.token_to_id(text) != i:
                raise ValueError(f"{self._where}: added token {text!r} gets id {made.token_to_id(text)}, its folder says {i}")
        return made

    @cached_property
    def _data(self) -> Any:
        made = self._make()
        made.encode_special_tokens = True  # as the characters they have
        return made

    @cached_property
    def _template(self) -> Any:
        return self._make()

    def spans(self, text: str, *, specials: bool, first: bool) -> list[Span]:
        """Tokens of a text. specials: control tokens are read as such. first: the text begins there, else it goes on."""
        encode = self._template if specials else self._data
        if first or not self._prefixes:
            return self._encode(encode, text)
        for anchor in ANCHORS:
            behind, found = self._encode(encode, anchor), self._encode(encode, anchor + text)
            if found[: len(behind)] == behind:
                return [(i, s - len(anchor), e - len(anchor)) for i, s, e in found[len(behind) :]]
        return self._encode(encode, text)

    def _encode(self, tokenizer: Any, text: str) -> list[Span]:
        try:
            found = tokenizer.encode(text, add_special_tokens=False)
        except TypeError:
            raise ValueError(f"{self._where}: text {text[:60]!r} has a lone surrogate, allowed: valid Unicode") from None
        return [(i, s, e) for i, (s, e) in zip(found.ids, found.offsets, strict=True)]

    def decode(self, ids: Sequence[int], *, first: bool) -> str:
        if first:
            return self._data.decode(ids, skip_special_tokens=False)
        anchor = self._data.encode("0", add_special_tokens=False).ids
        return self._data.decode([*anchor, *ids], skip_special_tokens=False)[len(self._data.decode(anchor, skip_special_tokens=False)) :]

    def vocabulary(self) -> dict[int, str]:
        return {i: text for text, i in self._data.get_vocab(with_added_tokens=True).items()}

    def id_of(self, text: str) -> int | None:
        return self._data.token_to_id(text)

    def begin(self) -> tuple[int, ...]:
        """What the post-processor puts in front of a text."""
        found = self._data.encode("a", add_special_tokens=True)
        count = next((k for k, mask in enumerate(found.special_tokens_mask) if not mask), 0)
        return tuple(found.ids[:count])

    def identity(self) -> bytes:
        state = json.loads(self._content)
        kept = {key: value for key, value in state.items() if key not in ("padding", "truncation")}
        return json.dumps([kept, _sorted(self._added)], sort_keys=True).encode()


class Pieces:
    """A SentencePiece tokenizer.model. special: its own bos, eos, pad and unk pieces; control: control pieces and special added tokens."""

    normalizes = False

    def __init__(self, content: bytes, added: Added, where: str):
        self._content, self._added, self._where = content, added, where
        self._begins, self._goes_on = (self._make(content + more) for more in (b"", NO_DUMMY_PREFIX))
        model = self._begins
        self._size = model.GetPieceSize()
        roles = {"bos_token": model.bos_id(), "eos_token": model.eos_id(), "pad_token": model.pad_id(), "unk_token": model.unk_id()}
        self.special = {role: model.IdToPiece(i) for role, i in roles.items() if i >= 0}
        controls = {i for i in range(self._size) if model.IsControl(i)}
        self.control = controls | {i for i, (_, special) in added.items() if special}
        self._texts = {i: model.IdToPiece(i) for i in range(self._size)} | {i: text for i, (text, _) in added.items()}
        whole = sorted({self._texts[i] for i in controls | set(added)} - {""}, key=len, reverse=True)
        self._whole = {self._texts[i]: i for i in controls | set(added)}  # read as one token in the text of a template
        self._split = re.compile("(" + "|".join(map(re.escape, whole)) + ")") if whole else None

    def _make(self, content: bytes) -> Any:
        try:
            import sentencepiece
        except ImportError:
            raise ImportError('a tokenizer.model needs the package sentencepiece: pip install "pojax[hf]"') from None
        model = sentencepiece.SentencePieceProcessor()
        try:
            model.LoadFromSerializedProto(content)
        except Exception as error:  # RuntimeError, or what reading the message raises
            raise ValueError(f"{self._where}: no SentencePiece model ({' '.join(str(error).split())[:200]})") from None
        return model

    def spans(self, text: str, *, specials: bool, first: bool) -> list[Span]:
        """Tokens of a text. specials: control tokens are read as such. first: the text begins there, else it goes on."""
        parts = self._split.split(text) if specials and self._split else [text]
        found: list[Span] = []
        at = 0
        for k, part in enumerate(parts):
            if k % 2:
                found.append((self._whole[part], at, at + len(part)))
            elif part:
                model = self._begins if first and at == 0 else self._goes_on
                try:
                    mapping = model.EncodeAsOffsetMapping(part)
                except UnicodeEncodeError:
                    raise ValueError(f"{self._where}: text {part[:60]!r} has a lone surrogate, allowed: valid Unicode") from None
                found += [(i, at + s, at + e) for i, (s, e) in zip(mapping["ids"], mapping["offsets"], strict=True)]
            at += len(part)
        return found

    def decode(self, ids: Sequence[int], *, first: bool) -> str:
        parts: list[str] = []
        run: list[int] = []
        for i in [*ids, None]:
            if i is not None and i < self._size and not self._begins.IsControl(i):
                run.append(i)
                continue
            if run:
                parts.append((self._begins if first and not parts else self._goes_on).DecodeIds(run))
                run = []
            parts.append("" if i is None else self._texts[i])
        return "".join(parts)

    def vocabulary(self) -> dict[int, str]:
        return dict(self._texts)

    def id_of(self, text: str) -> int | None:
        if text in self._whole:
            return self._whole[text]
        i = self._begins.PieceToId(text)
        return i if self._texts.get(i) == text else None

    def begin(self) -> tuple[int, ...]:
        return ()

    def identity(self) -> bytes:
        return self._content + json.dumps(_sorted(self._added)).encode()


def _sorted(added: Added) -> list[Any]:
    return sorted([i, text] for i, (text, _) in added.items())
