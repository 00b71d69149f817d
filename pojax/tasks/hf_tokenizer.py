"""Tokenizers of Hugging Face folders: a tokenizer.json, or a SentencePiece tokenizer.model, behind the protocol of tokenizers.py."""

import copy
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from pojax.tasks.hf_backends import Fast, Pieces
from pojax.tasks.tokenizers import UNKNOWN, write

FAST, PIECES = "tokenizer.json", "tokenizer.model"
CONFIG, MAP, GENERATION, ADDED = "tokenizer_config.json", "special_tokens_map.json", "generation_config.json", "added_tokens.json"
TEMPLATES = "additional_chat_templates"
FILES = (FAST, PIECES, CONFIG, MAP, ADDED, GENERATION, "chat_template.jinja", "vocab.json", "merges.txt")
ROLES = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")


class Token(NamedTuple):
    """A token id and the characters of the text that it covers."""

    id: int
    start: int
    end: int


class HuggingFace:
    """The tokenizer of a Hugging Face folder. `read` makes one.

    files: {name: content} of the folder's files that belong to a tokenizer. model: its config.json, asked last for end and padding.
    where: what messages call the folder. A tokenizer.model is read as SentencePiece reads it: also a text that begins with a space gets
    the model's own in front, which transformers 5 leaves out.

    ends: generation_config.json's eos_token_id, else eos_token of tokenizer_config.json or special_tokens_map.json, else config.json's
    eos_token_id. pad: from the same places, else the first end: a padding id equal to an end id is harmless, because masks come from
    the sampler's bookkeeping. begin: what stands in front of a prompt (a bos token), where add_bos_token or the post-processor says so.
    special: {role: text} of the special tokens, as chat templates ask for them. control: ids that no data may be encoded to.

    Raises ValueError naming the file that is missing, damaged or says nothing that fits.
    """

    def __init__(self, files: Mapping[str, bytes], model: Mapping[str, Any] | None = None, *, where: str = "tokenizer"):
        self.files, self.where = dict(files), where
        config, generation = self._json(CONFIG), self._json(GENERATION)
        added = self._added(config)
        if FAST in files:
            self._backend: Fast | Pieces = Fast(files[FAST], added, f"{where}/{FAST}")
        elif PIECES in files:
            self._backend = Pieces(files[PIECES], added, f"{where}/{PIECES}")
        else:
            raise ValueError(f"{where}: found neither {FAST} nor {PIECES}, allowed: one of them")
        self.special = self._backend.special | _names(self._json(MAP)) | _names(config)
        self._texts = self._backend.vocabulary()
        self.vocab_size = max(self._texts) + 1
        model = model or {}
        said = self._ids("eos", generation, {})
        self.ends = said or self._ids("eos", {}, model) or self._missing("eos_token")
        self.end = self.ends[0]
        self.pad = (*self._ids("pad", generation, model), self.end)[0]
        bos = self._id_of(self.special.get("bos_token"))
        self.begin = self._begin(config, bos)
        self.control = self._backend.control | {*self.ends, self.pad, *self.begin, *([] if bos is None else [bos])}
        unknown = self._id_of(self.special.get("unk_token"))  # what no token covers may read as: data, unless it also ends a text
        if unknown is not None and unknown not in {*self.ends, *self.begin, bos}:
            self.control -= {unknown}
        self._unsaid = not said  # by the files that `save` writes
        self.templates()  # a damaged list of them is found now
        self._silent = {*self.ends, self.pad, *self.begin, *([] if bos is None else [bos])}

    def with_end(self, end: int) -> "HuggingFace":
        """The same tokenizer with one more end token, behind its own."""
        other = copy.copy(self)
        other.ends, other.control, other._silent = (*self.ends, end), self.control | {end}, self._silent | {end}
        for cached in ("control_texts", "_beginnings"):
            other.__dict__.pop(cached, None)
        return other

    def encode(self, text: str) -> list[int]:
        """Token ids of data: a text that looks like a control token is encoded as the characters it has."""
        return [token.id for token in self.plain(text)]

    def encode_more(self, text: str) -> list[int]:
        """As `encode`, for a text that goes on from another: no space is put in front of it."""
        return [token.id for token in self.plain(text, first=False)]

    def plain(self, text: str, *, first: bool = True) -> list[Token]:
        """Tokens of data, none of which is a control token. first: whether the text begins there.

        ValueError for a character that the tokenizer has only as a control token, and for text that is no valid Unicode.
        """
        found = [Token(*token) for token in self._backend.spans(text, specials=False, first=first)]
        hits = [token for token in found if token.id in self.control]
        if not hits:
            return found
        if any(token.end - token.start < 2 for token in hits):
            hit = next(token for token in hits if token.end - token.start < 2)
            raise ValueError(f"{self.where}: text {text[hit.start : hit.end]!r} is a control token only, allowed: other text")
        cuts = [0, *(token.start + 1 for token in hits), len(text)]  # cut behind its first character it is a token no more
        parts = [self.plain(text[a:b], first=first and a == 0) for a, b in pairwise(cuts)]
        return [Token(i, s + a, e + a) for a, part in zip(cuts, parts, strict=False) for i, s, e in part]

    def marked(self, pieces: Sequence[tuple[str, bool]], *, first: bool = True) -> list[Token]:
        """Tokens of pieces (text, literal) of one text: control tokens are read as such, but not in literal pieces."""
        found, at = [], 0
        for text, literal in pieces:
            begins = first and at == 0
            tokens = self.plain(text, first=begins) if literal else self._backend.spans(text, specials=True, first=begins)
            found += [Token(i, at + s, at + e) for i, s, e in tokens]
            at += len(text)
        return found

    def control_spans(self, text: str) -> list[tuple[int, int]]:
        """Where control tokens would be read in a text."""
        if not any(first in text for first in self._beginnings):
            return []
        return [(s, e) for i, s, e in self._backend.spans(text, specials=True, first=True) if i in self.control and e > s]

    @cached_property
    def control_texts(self) -> frozenset[str]:
        """How the control tokens are written."""
        return frozenset(self._texts[i] for i in self.control if self._texts.get(i))

    @cached_property
    def _beginnings(self) -> frozenset[str]:
        """First characters of control tokens; "" (found in every text) where a normaliser may make them of others."""
        return frozenset([""]) if self._backend.normalizes else frozenset(text[0] for text in self.control_texts)

    def decode(self, ids: Iterable[int] | np.ndarray) -> str:
        """Text of any ids: begin, ends and pad are dropped, other control tokens are shown, an unknown id reads U+FFFD."""
        parts: list[str] = []
        run: list[int] = []
        for i in [*map(int, ids), -1]:  # the last one only closes the last run
            if i in self._silent:
                continue
            if i in self._texts:
                run.append(i)
                continue
            if run:
                parts.append(self._backend.decode(run, first=not parts))
                run = []
            parts.append(UNKNOWN)
        return "".join(parts[:-1])

    def save(self, folder: str | Path) -> None:
        """Write the files back as they were read; ends and pad that config.json gave go to generation_config.json."""
        for name, content in self.files.items():
            write(Path(folder) / Path(name).parent, Path(name).name, content)
        if self._unsaid:
            given = {"eos_token_id": list(self.ends), "pad_token_id": self.pad}
            write(folder, GENERATION, json.dumps(self._json(GENERATION) | given, indent=2).encode())

    def fingerprint(self) -> str:
        """sha256 of what decides between text and ids: the model and the added tokens, not the names of roles or the templates."""
        return hashlib.sha256(self._backend.identity()).hexdigest()

    def templates(self) -> dict[str, str]:
        """{name: source} of the folder's chat templates; the one without a name is "default"."""
        path = f"{self.where}/{CONFIG}"
        given = self._json(CONFIG).get("chat_template")
        if given is None or isinstance(given, str):
            found = {} if given is None else {"default": given}
        else:
            try:
                found = {str(each["name"]): str(each["template"]) for each in given}
            except (TypeError, KeyError) as error:
                raise ValueError(
                    f"{path}: chat_template ({error!r}), allowed: a text, or a list of objects with name and template"
                ) from None
        for name in sorted(self.files):
            if name.endswith(".jinja"):
                found[Path(name).stem if name.startswith(TEMPLATES) else "default"] = self.files[name].decode(errors="replace")
        return found

    def _json(self, name: str) -> dict[str, Any]:
        return parse(self.files[name], f"{self.where}/{name}") if name in self.files else {}

    def _added(self, config: Mapping[str, Any]) -> dict[int, tuple[str, bool]]:
        """{id: (text, special)} of tokens that stand outside the model's own file."""
        try:
            added = {int(i): (str(text), False) for text, i in self._json(ADDED).items()}
            listed = config.get("added_tokens_decoder") or {}
            return added | {int(i): (str(token["content"]), bool(token.get("special"))) for i, token in listed.items()}
        except (TypeError, ValueError, KeyError, AttributeError) as error:
            raise ValueError(f"{self.where}: added tokens of {CONFIG} or {ADDED} ({error!r}), allowed: ids with their texts") from None

    def _id_of(self, text: str | None) -> int | None:
        return None if text is None else self._backend.id_of(text)

    def _ids(self, role: str, generation: Mapping[str, Any], model: Mapping[str, Any]) -> tuple[int, ...]:
        """The ids of a role, from the first place that names some; () where none does. ValueError for an end outside the vocabulary."""
        key = f"{role}_token_id"
        nested = model.get("text_config")
        deep = nested.get(key) if isinstance(nested, Mapping) else None
        named = self._id_of(self.special.get(f"{role}_token"))
        last = model.get(key, deep)
        for file, given in ((GENERATION, generation.get(key)), (CONFIG, named), ("config.json", last)):
            ids = [] if given is None else list(given) if isinstance(given, list) else [given]
            bad = [i for i in ids if isinstance(i, bool) or not isinstance(i, int) or i not in self._texts]
            if role == "pad" and bad:
                continue  # some folders write -1 for none
            if bad:
                raise ValueError(f"{self.where}/{file}: {key} {given!r}, allowed: ids of the vocabulary of {self.vocab_size}")
            if ids:
                return tuple(dict.fromkeys(ids))
        return ()

    def _missing(self, role: str) -> tuple[int, ...]:
        raise ValueError(
            f"{self.where}: no end token, allowed: eos_token_id in {GENERATION} or config.json, or {role} of the vocabulary in {CONFIG}"
        )

    def _begin(self, config: Mapping[str, Any], bos: int | None) -> tuple[int, ...]:
        if "add_bos_token" in config or "add_eos_token" in config or isinstance(self._backend, Pieces):
            says = config.get("add_bos_token", isinstance(self._backend, Pieces))
            return (bos,) if says and bos is not None else ()
        return self._backend.begin()


def read(folder: str | Path) -> HuggingFace:
    """The tokenizer of a Hugging Face folder; ValueError naming the file that is missing or damaged."""
    folder = Path(folder)
    names = [*FILES, *sorted(f"{TEMPLATES}/{path.name}" for path in (folder / TEMPLATES).glob("*.jinja"))]
    try:
        files = {name: (folder / name).read_bytes() for name in names if (folder / name).is_file()}
        config = folder / "config.json"
        model = parse(config.read_bytes(), str(config)) if config.is_file() else {}
    except OSError as error:
        raise ValueError(f"{error.filename}: {error.strerror}, allowed: a readable file") from None
    return HuggingFace(files, model, where=str(folder))


def parse(content: bytes, path: str) -> dict[str, Any]:
    """The object in a JSON file; ValueError naming the file."""
    try:
        found = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: no JSON ({error}), allowed: a JSON object") from None
    if not isinstance(found, dict):
        raise ValueError(f"{path}: found {str(found)[:40]!r}, allowed: a JSON object")
    return found


def _names(config: Mapping[str, Any]) -> dict[str, str]:
    """{role: text} of the special tokens that a configuration names, as a text or as an object with `content`."""
    given = {role: config.get(role) for role in ROLES}
    texts = {role: token.get("content") if isinstance(token, Mapping) else token for role, token in given.items()}
    return {role: text for role, text in texts.items() if isinstance(text, str)}
