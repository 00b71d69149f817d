"""Talk to a model in a terminal: `python -m pojax.chat --model=FOLDER [--temperature=0.7] [--system=...]`.

The record of a conversation is its token ids: answers stand in it as they were drawn, and nothing is encoded twice. A folder without a
chat template completes each line by itself. Where stdin is no terminal, its lines are asked one after the other.
"""

import sys
from collections.abc import Generator
from typing import Any

import jax

from pojax import commands, pretrained
from pojax.binding import ConfigError
from pojax.models import hf
from pojax.sampling import Stream
from pojax.tasks.chat import Chat
from pojax.tasks.hf_tokenizer import HuggingFace
from pojax.tasks.tokenizers import UNKNOWN, Tokenizer, load

USAGE = (
    "chat --model=FOLDER [--temperature=0.7] [--top-k=0] [--top-p=1.0] [--min-p=0.0] [--max-tokens=512] [--system=...] [--seed=0]\n"
    "[--dtype=float32]"
)
COMMANDS = "/reset begins again, /temperature=0.7 changes it, /quit leaves; Ctrl-C stops an answer"
OPTIONS = ("model", "temperature", "top-k", "top-p", "min-p", "max-tokens", "system", "seed", "dtype")


class Conversation:
    """A record of token ids that grows by a turn and its answer.

    chat: None for a model without a template, which completes each text by itself.
    """

    def __init__(self, stream: Stream, tokenizer: Tokenizer, chat: Chat | None, *, seed: int = 0):
        self.stream, self.tokenizer, self.chat = stream, tokenizer, chat
        self.key, self.turns = jax.random.key(seed), 0
        self.reset()

    def reset(self) -> None:
        """Forget what was said."""
        self.ids: list[int] = []
        self.messages: list[Any] = []

    def ask(self, text: str, **settings: Any) -> Generator[str, None, None]:
        """Pieces of the answer as they are drawn; closing the iterator stops it, and what came so far is the answer.

        settings: of `Stream`. ValueError, with the record as it was, for text that cannot be encoded and a record that has grown too long.
        """
        record, messages = self._asked(text)
        if len(record) > self.stream.longest_prompt:
            raise ValueError(f"the conversation has {len(record)} tokens, allowed: {self.stream.longest_prompt}; /reset begins again")
        self.turns += 1
        drawn: list[int] = []
        shown = ""
        try:
            key = jax.random.fold_in(self.key, self.turns)
            for token in self.stream(record, key, end_tokens=self.tokenizer.ends, **settings):
                drawn.append(token)
                now = self.tokenizer.decode(drawn)
                if not now.endswith(UNKNOWN):  # which may be the beginning of a character
                    yield now[len(shown) :]
                    shown = now
            yield self.tokenizer.decode(drawn)[len(shown) :]
        finally:
            self.ids = [*record, *drawn]
            self.messages = [*messages, {"role": "assistant", "content": self.tokenizer.decode(drawn)}]

    def _asked(self, text: str) -> tuple[list[int], list[Any]]:
        """The record with the new turn, and its messages."""
        if self.chat is None:
            return [*self.tokenizer.begin, *self.tokenizer.encode(text)], []
        if not self.messages:
            messages = self.chat.ask(text)
            return self.chat.prompt(messages), messages
        new = [{"role": "user", "content": text}]
        # Where a template would rewrite an earlier answer, the model goes on from what it has seen.
        return [*self.ids, *self.chat.extend(self.ids, self.messages, new, rewritten="keep")], [*self.messages, *new]


def open_conversation(
    folder: str, *, system: str | None = None, max_tokens: int = 512, seed: int = 0, dtype: str | None = None
) -> Conversation:
    """A conversation with the model of a folder, of at most max_tokens an answer (half of the context, if that is less).

    ValueError naming the file for a folder that holds no model, and for a system message where there is no chat template.
    """
    changes: dict[str, Any] = {} if dtype is None else dict(dtype=dtype, param_dtype=dtype)
    config, params = hf.load(pretrained.checked(folder, "--model"), **changes)
    tokenizer = load(folder)
    stream = Stream(config, params, response_tokens=min(max_tokens, config.context // 2))
    templated = isinstance(tokenizer, HuggingFace) and bool(tokenizer.templates())
    if system is not None and not templated:
        raise ConfigError(f"--system: {folder} has no chat template, allowed: none")
    chat = Chat(tokenizer, system=system) if templated else None
    return Conversation(stream, tokenizer if chat is None else chat.tokenizer, chat, seed=seed)  # a chat may end by one more token


def main(argv: list[str] | None = None) -> int:
    def body() -> None:
        given = commands.Options(commands.options(sys.argv[1:] if argv is None else argv, OPTIONS, USAGE))
        if "model" not in given.options:
            raise ConfigError(f"--model is missing; usage: python -m pojax.{USAGE}")
        settings: dict[str, Any] = dict(top_k=given.whole("top-k", 0), top_p=given.number("top-p", 1.0), min_p=given.number("min-p", 0.0))
        settings["temperature"] = given.number("temperature", 0.7)
        conversation = open_conversation(
            given.options["model"], system=given.options.get("system"), max_tokens=given.whole("max-tokens", 512, least=1),
            seed=given.whole("seed", 0), dtype=given.options.get("dtype"),
        )  # fmt: skip
        talk(conversation, settings)

    return commands.run(body)


def talk(conversation: Conversation, settings: dict[str, Any], lines: Any = None, out: Any = None) -> None:
    """Ask every line and write the answers as they come, until /quit or the end of the lines.

    lines, out: text streams, default stdin and stdout.
    """
    lines, out = lines or sys.stdin, out or sys.stdout
    live = lines.isatty()
    if live:
        kind = "completes each line (no chat template)" if conversation.chat is None else "chats"
        print(f"the model {kind}; {COMMANDS}", file=sys.stderr)
    while True:
        try:
            text = _read(lines, live)
        except KeyboardInterrupt:
            text = None
        if text is None or text == "/quit":
            return
        if text == "/reset":
            conversation.reset()
        elif text.startswith("/temperature"):
            _temperature(text, settings)
        elif text.startswith("/"):
            print(f"{text}: no such command; {COMMANDS}", file=sys.stderr)
        elif text:
            _answer(conversation, text, settings, out)


def _read(lines: Any, live: bool) -> str | None:
    """The next line without the space around it; None at the end."""
    if live and lines is sys.stdin:
        try:
            return input("> ").strip()  # a line that can be edited
        except EOFError:
            print(file=sys.stderr)
            return None
    line = lines.readline()
    return line.strip() if line else None


def _temperature(text: str, settings: dict[str, Any]) -> None:
    try:
        value = float(text.removeprefix("/temperature").strip(" ="))
        if not value >= 0:
            raise ValueError
        settings["temperature"] = value
    except ValueError:
        print(f"{text}: allowed: /temperature=0.7, a number of 0 (greedy) or more", file=sys.stderr)


def _answer(conversation: Conversation, text: str, settings: dict[str, Any], out: Any) -> None:
    """One answer; Ctrl-C ends it where it is."""
    pieces = conversation.ask(text, **settings)
    try:
        for piece in pieces:
            out.write(piece)
            out.flush()
        out.write("\n")
    except KeyboardInterrupt:
        out.write(" [stopped]\n")
    except ValueError as error:
        print(error, file=sys.stderr)
    finally:
        pieces.close()
        out.flush()


if __name__ == "__main__":
    sys.exit(main())
