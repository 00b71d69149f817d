"""Problems that two splits share: equal ones are kept apart, and copies with other numbers are counted."""

import logging
import re
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

logger = logging.getLogger("pojax")
Item = TypeVar("Item")


def masked(text: str) -> str:
    """The text with each number as 0, in lower case, without final punctuation, and single spaces: what copies with other numbers share."""
    return " ".join(re.sub(r"[0-9]+(?:[.,][0-9]+)*", "0", text.lower()).split()).rstrip(" .?!")


def same(text: str) -> str:
    """The text without its spaces' numbers and ends: what equal prompts share."""
    return " ".join(text.split())


def drop_known(rows: Sequence[Item], held_out: Sequence[Item], key: Callable[[Item], str]) -> list[Item]:
    """The rows whose key no held-out row has."""
    known = {key(row) for row in held_out}
    return [row for row in rows if key(row) not in known]


def report(name: str, prompts: Mapping[str, Sequence[str]], notes: Sequence[str] = ()) -> None:
    """Log in one line how many prompts are copies of others, and how many outside train occur there with other numbers; silent if none.

    prompts: {split: texts}; notes: what else that line is to say.
    """
    said = list(notes)
    everything = [same(text) for texts in prompts.values() for text in texts]
    if copies := len(everything) - len(set(everything)):
        said.append(f"{copies} of {len(everything)} prompts are copies of others in their split")
    seen = {masked(text) for text in prompts["train"]}
    for split, texts in prompts.items():
        shared = sum(masked(text) in seen for text in texts)
        if shared and split != "train":
            said.append(f"{shared} of {len(texts)} {split} prompts occur in train with other numbers")
    if said:
        logger.warning("%s: %s", name, "; ".join(said))
