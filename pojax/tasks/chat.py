"""Chats as token ids: messages written by a folder's template, data that can never be read as control tokens, several turns."""

import dataclasses
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from pojax.tasks.chat_template import ChatTemplate, Message, Rendered, unused
from pojax.tasks.hf_tokenizer import HuggingFace, Token
from pojax.tasks.task import Task, cut
from pojax.tasks.tokenizers import Tokenizer

__all__ = ["Chat", "ChatTemplate", "in_chat"]

CLOCK = "2025-01-01"  # what templates are told the date is: a run must not depend on the day on which it runs


class Chat:
    """Chats of one tokenizer and one of its templates.

    system: text of a system message in front of every question. template: name of one of the folder's templates, default "default".
    now: date or time (ISO 8601) for templates that ask for it, default the real one. Other keywords are variables of the template
    (enable_thinking=False).
    Its own tokenizer has the control token with which the template closes an answer as one more end token, if it had not.
    Raises ValueError for a tokenizer without templates, an unknown name, and a variable that the template does not read.
    """

    def __init__(
        self, tokenizer: Tokenizer, *, system: str | None = None, template: str | None = None, now: str | None = None, **variables: Any
    ):
        sources = tokenizer.templates() if isinstance(tokenizer, HuggingFace) else {}
        if not isinstance(tokenizer, HuggingFace) or not sources:
            where = tokenizer.where if isinstance(tokenizer, HuggingFace) else type(tokenizer).__name__
            raise ValueError(f"chat: tokenizer {where} has no chat template, allowed: the folder of one that has")
        name = template or ("default" if "default" in sources else next(iter(sources)))
        if name not in sources:
            raise ValueError(f"chat: template {template!r}, allowed: {', '.join(map(repr, sources))} of {tokenizer.where}")
        self.tokenizer, self.system, self.now, self.variables = tokenizer, system, now, variables
        self.template = ChatTemplate(sources[name], f"{name!r} of {tokenizer.where}")
        if unread := sorted(set(variables) - self.template.variables):
            others = ", ".join(sorted(self.template.variables - set(tokenizer.special) - {"messages", "add_generation_prompt"}))
            raise ValueError(f"chat: the template {self.template.name} does not read {unread[0]!r}, allowed: {others or 'no variables'}")
        closing = self._closing()
        self.tokenizer = tokenizer if closing is None or closing in tokenizer.ends else tokenizer.with_end(closing)

    def ask(self, question: str) -> list[Message]:
        """The messages of a question: the system message, if there is one, and the user's."""
        system = [] if self.system is None else [{"role": "system", "content": self.system}]
        return [*system, {"role": "user", "content": question}]

    def render(self, messages: Sequence[Message], *, add_generation_prompt: bool = False) -> Rendered:
        """What the template makes of messages; ValueError with what it raises."""
        variables = {**self.tokenizer.special, **self.variables, "add_generation_prompt": add_generation_prompt}
        return self.template.render(messages, variables, now=self.now, guard=self._guard)

    def encode(self, messages: Sequence[Message], *, add_generation_prompt: bool = False) -> tuple[list[int], list[bool] | None]:
        """Token ids of a chat, and for each whether the assistant wrote it: None where the template has no `{% generation %}`."""
        rendered = self.render(messages, add_generation_prompt=add_generation_prompt)
        tokens = self.tokenizer.marked(rendered.pieces)
        written = [_within(token, rendered.written) for token in tokens] if self.template.marks_generation else None
        return [token.id for token in tokens], written

    def prompt(self, messages: Sequence[Message]) -> list[int]:
        """Token ids of messages and of what asks for an answer."""
        return self.encode(messages, add_generation_prompt=True)[0]

    def solution(self, messages: Sequence[Message], answer: str) -> tuple[list[int], list[bool]]:
        """Token ids of an answer behind `prompt(messages)` up to and with the template's end of turn, and which the assistant wrote.

        All are the assistant's but those that a template with `{% generation %}` leaves outside; the end of turn always is: the policy
        must learn to end. Where the template writes no end token, the tokenizer's first one stands there.
        Where the template writes another prompt once it knows the answer, the ids are those of the answer alone and the end of turn.
        """
        asked = self.render(messages, add_generation_prompt=True).text
        whole = self.render([*messages, {"role": "assistant", "content": answer}])
        if not whole.text.startswith(asked):
            probe, at = self._probe(messages, [])
            behind = self._tokens(probe, at)
            end = next((token.id for token in behind if token.id in self.tokenizer.ends), self.tokenizer.end)
            ids = [*self.tokenizer.encode_more(answer), end]
            return ids, [True] * len(ids)
        tokens = self._tokens(whole, len(asked))
        last = next((k for k, token in enumerate(tokens) if token.id in self.tokenizer.ends), len(tokens))
        spans = [(start - len(asked), end - len(asked)) for start, end in whole.written]
        written = [_within(token, spans) if self.template.marks_generation else True for token in tokens[:last]]
        end = tokens[last].id if last < len(tokens) else self.tokenizer.end
        return [*(token.id for token in tokens[:last]), end], [*written, True]

    def extend(self, ids: Sequence[int], messages: Sequence[Message], new: Sequence[Message], *, rewritten: str = "error") -> list[int]:
        """The ids to append for the next turn: what closes the answer, the new messages, and what asks for the next answer.

        ids: the record so far, prompts and sampled answers, the last one with its end token if it ended. It is never encoded again: only
        what stands behind it is. messages: what the record holds, the last one the assistant's (its content: the decoded answer).
        A template is prefix-preserving if the longer chat begins with the shorter one as it was shown to the model. Some are not: they
        drop earlier thinking, trim answers inside, or move the system message. rewritten: "error" raises a ValueError naming the
        template then; "keep" goes on from the record as it is, so the model sees its whole earlier answer, which the template
        would have rewritten. Space around an answer does not count.
        """
        if rewritten not in ("error", "keep"):
            raise ValueError(f"chat: rewritten {rewritten!r}, allowed: 'error', 'keep'")
        if not messages or messages[-1].get("role") != "assistant":
            raise ValueError("chat: the last message of the record is not the assistant's, allowed: one whose answer was sampled")
        probe, at = self._probe(messages[:-1], new, add_generation_prompt=True)
        if rewritten == "error":
            self._check_preserved(messages, new, probe.text[: at - 1], probe.text[at:])
        tokens = self._tokens(probe, at)
        if not ids or ids[-1] not in self.tokenizer.ends:
            return [token.id for token in tokens]  # the answer was cut: the template closes it
        closing = next((k for k, token in enumerate(tokens) if token.id in self.tokenizer.ends), None)
        if closing is not None and not probe.text[at : at + tokens[closing].start].strip():
            tokens = tokens[closing + 1 :]
        return [token.id for token in tokens]

    def _check_preserved(self, messages: Sequence[Message], new: Sequence[Message], head: str, tail: str) -> None:
        answer = str(messages[-1].get("content"))
        asked = self.render(messages[:-1], add_generation_prompt=True).text
        whole = self.render([*messages, *new], add_generation_prompt=True).text
        kept = head.startswith(asked) and not head[len(asked) :].strip()
        kept = kept and whole.startswith(head) and whole.endswith(tail) and len(whole) >= len(head) + len(tail)
        if not kept or whole[len(head) : len(whole) - len(tail)].strip() != answer.strip():
            raise ValueError(
                f"chat: the template {self.template.name} is not prefix-preserving: with new messages it writes {len(messages)} earlier "
                "ones in another way than the model has seen them; allowed: a template that does not, or rewritten='keep', by which the "
                "model goes on from what it has seen"
            )

    def _probe(self, messages: Sequence[Message], new: Sequence[Message], *, add_generation_prompt: bool = False) -> tuple[Rendered, int]:
        """A chat with a mark for the assistant's answer between messages and new, and the place behind the mark."""
        (mark,) = unused(1, [self.template.source, *messages, *new, self.variables])
        rendered = self.render([*messages, {"role": "assistant", "content": mark}, *new], add_generation_prompt=add_generation_prompt)
        if rendered.text.count(mark) != 1:
            times = rendered.text.count(mark)
            raise ValueError(f"chat: the template {self.template.name} writes an assistant's content {times} times, allowed: once")
        return rendered, rendered.text.index(mark) + 1

    def _closing(self) -> int | None:
        """The control token directly behind an assistant's answer; None where the template writes none, or no answers at all."""
        try:
            probe, at = self._probe([{"role": "user", "content": "?"}], [])
        except ValueError:
            return None
        behind = next((token for token in self._tokens(probe, at) if probe.text[at + token.start : at + token.end].strip()), None)
        return behind.id if behind is not None and behind.id in self.tokenizer.control - {*self.tokenizer.begin} else None

    def _tokens(self, rendered: Rendered, at: int) -> list[Token]:
        """Tokens of a rendered chat from a character on, with characters counted from there."""
        pieces, begin = [], 0
        for text, literal in rendered.pieces:
            pieces.append((text[max(at - begin, 0) :], literal))
            begin += len(text)
        return self.tokenizer.marked([piece for piece in pieces if piece[0]], first=False)

    @cached_property
    def _guard(self) -> "Guard":
        return Guard(self.tokenizer)


class Guard:
    """Finds what in data could be read as control tokens: (spans that would be, places where half of one touches an edge of the text)."""

    def __init__(self, tokenizer: HuggingFace):
        self.tokenizer, texts = tokenizer, tokenizer.control_texts
        self._longest = max(map(len, texts), default=0)
        self._heads = {text[:k] for text in texts for k in range(2, len(text))}
        self._tails = {text[-k:] for text in texts for k in range(2, len(text))}

    def __call__(self, text: str) -> tuple[list[tuple[int, int]], list[int]]:
        inner = text.strip()  # templates trim
        start = text.index(inner)
        sizes = range(2, min(self._longest, len(inner) + 1))
        edges = [start] if any(inner[:k] in self._tails for k in sizes) else []
        edges += [start + len(inner)] if any(inner[-k:] in self._heads for k in sizes) else []
        return self.tokenizer.control_spans(text), edges


def in_chat(tasks: Mapping[str, Task], options: Any) -> dict[str, Task]:
    """The splits of a task with every prompt asked as a chat, and every solution as its answer; as they are where options is None.

    options: the keywords of `Chat`; the clock of the template stands still unless `now` says a time. A hint begins the answer.
    """
    if options is None:
        return dict(tasks)
    chats: dict[int, Chat] = {}
    return {split: _in_chat(task, chats.setdefault(id(task.tokenizer), _chat(task.tokenizer, options))) for split, task in tasks.items()}


def _chat(tokenizer: Tokenizer, options: Any) -> Chat:
    if not isinstance(options, Mapping):
        raise ValueError(f"chat: found {options!r}, allowed: None, or keywords as in dict(system='...'); dict() for none of them")
    return Chat(tokenizer, **{"now": CLOCK, **options})


def _in_chat(task: Task, chat: Chat) -> Task:
    more = chat.tokenizer.encode_more

    def begun(i: int, hint: int | np.integer) -> str:
        return cut(task.steps(i), hint) if hint else ""

    def prompt(i: int, *, hint: int | np.integer = 0) -> str:
        return chat.render(chat.ask(task.prompt(i)), add_generation_prompt=True).text + begun(i, hint)

    def encode_prompt(i: int, *, hint: int | np.integer = 0) -> list[int]:
        return [*chat.prompt(chat.ask(task.prompt(i))), *more(begun(i, hint))]

    def encode_solution(i: int) -> tuple[list[int], list[bool]]:
        return chat.solution(chat.ask(task.prompt(i)), task.solution(i))

    if task.observed is not None:
        raise ValueError(f"task {task.name}: steps of its solutions are written by the world, so no chat can ask it, allowed: chat=None")
    return dataclasses.replace(task, tokenizer=chat.tokenizer, prompt=prompt, encode_prompt=encode_prompt, encode_solution=encode_solution)


def _within(token: Token, spans: Sequence[tuple[int, int]]) -> bool:
    return any(token.start < end and (token.end > start or token.start == token.end == start) for start, end in spans)
