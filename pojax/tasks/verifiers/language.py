"""What language a response is written in, as far as its letters tell."""

import functools
import unicodedata
from typing import Any

from pojax.tasks.verifiers.protocol import verifier
from pojax.types import Sample


@verifier("language")
def language_consistency(sample: Sample, answer: Any, *, script: str = "LATIN") -> dict[str, float]:
    """language: share of the response's letters that are of one script; 0 without letters.

    It differs between responses that are all wrong, those of random weights too, so it gives a gradient where nothing else does.
    script: as Unicode's names of letters begin: LATIN, CYRILLIC, CJK, HANGUL, ARABIC ...
    Source: DeepSeek-R1, arXiv 2501.12948, section 2.3.2.
    """
    letters = [_script(character) for character in sample.text if character.isalpha()]
    return {"language": letters.count(script) / len(letters) if letters else 0.0}


@functools.lru_cache(maxsize=1 << 16)
def _script(character: str) -> str:
    return unicodedata.name(character, "").split(" ")[0].split("-")[0]
