"""What a verifier is, and how an entry of a config becomes one."""

import dataclasses
import inspect
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from pojax import binding
from pojax.binding import ConfigError, near
from pojax.tasks.verifiers import extraction
from pojax.types import Sample

Function = TypeVar("Function", bound=Callable[..., Mapping[str, Any]])
Options = Mapping[str, Any]


def verifier(
    *components: str,
    processes: bool = False,
    prepare: Callable[[Any, Options], Any] | None = None,
    found: Callable[[str, Options], str | None] | None = None,
    written: Callable[[Any, Options], str] | None = None,
    load: Callable[[], None] | None = None,
) -> Callable[[Function], Function]:
    """Says of a function `(sample, answer, *, options...) -> {component: number}` what its callers need to know; all of it is optional.

    components: their names, one number each (attribute `fields`: {name: shape}, or options -> that; default: correct).
    processes: the function is slow or may hang, so it is run by `pool`; it then has an option `seconds`, a number with a default.
    prepare(answer, options): the answer of a record as the function wants it; ValueError saying what is allowed for one that is malformed.
    found(text, options): the answer in a response, equal texts for equal answers where that is known; None where it holds none.
    written(answer, options): a response that gives a prepared answer, to complete worked solutions.
    load(): imports what the first call needs, in the worker process.
    """

    def mark(function: Function) -> Function:
        fields = dict.fromkeys(components or ("correct",), ())
        vars(function).update(fields=fields, processes=processes, prepare=prepare, found=found, written=written, load=load)
        return function

    return mark


@dataclasses.dataclass(frozen=True)
class Part:
    """A function and all its options, those that the config leaves out at their defaults."""

    function: Callable[..., Mapping[str, Any]]
    options: Options

    def known(self, name: str) -> Any:
        """An attribute that `verifier` set; None for a function without it."""
        return getattr(self.function, name, None)


@dataclasses.dataclass(frozen=True)
class Verifier:
    """One or several bound verifiers; their components together. It can be pickled, and called with (sample, prepared answer)."""

    parts: tuple[Part, ...]

    def __call__(self, sample: Sample, answer: tuple[Any, ...]) -> dict[str, Any]:
        verdicts = [dict(part.function(sample, own, **part.options)) for part, own in zip(self.parts, answer, strict=True)]
        return {name: value for verdict in verdicts for name, value in verdict.items()}

    @property
    def fields(self) -> dict[str, tuple[int, ...]]:
        """Shape of each component."""
        return {name: tuple(shape) for part in self.parts for name, shape in _fields(part).items()}

    @property
    def seconds(self) -> float | None:
        """Processor time that a call may take in a worker process; None where the verifier runs in this one."""
        limits = [float(part.options["seconds"]) for part in self.parts if part.known("processes")]
        return sum(limits) if limits else None

    def prepare(self, answer: Any) -> tuple[Any, ...]:
        """The answer of a record as each part wants it; ValueError saying what is allowed."""
        return tuple(prepare(answer, part.options) if (prepare := part.known("prepare")) else answer for part in self.parts)

    def found(self, text: str) -> str | None:
        """The answer that a response gives; None where it holds none. All of it where no part knows where to look."""
        for part in self.parts:
            if part.known("found"):
                return part.known("found")(text, part.options)
        return text.strip() or None

    def written(self, answer: tuple[Any, ...]) -> str | None:
        """A response that gives the prepared answer; None where no part knows one."""
        for part, own in zip(self.parts, answer, strict=True):
            if part.known("written"):
                return part.known("written")(own, part.options)
        return None

    def load(self) -> None:
        """Import what the first call needs, in the process that will run it."""
        for part in self.parts:
            if part.known("load"):
                part.known("load")()


def bind(value: Any, path: str = "verifier") -> Verifier:
    """The verifier that a config names: an entry (name, dict of options), or a list of entries whose components come together.

    A name is one of `verifiers.__all__` or `my_module:my_function`. ConfigError naming what is wrong: an unknown function or option, an
    option without a value, a component that two of them give.
    """
    entries = [value] if binding.is_entry(value) or not isinstance(value, list | tuple) or not value else list(value)
    bound = Verifier(tuple(_part(entry, path) for entry in entries))
    names = [name for part in bound.parts for name in _fields(part)]
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(f"{path}: {names.count(name)} verifiers give the component {name!r}, allowed: one")
    return bound


def _fields(part: Part) -> Mapping[str, tuple[int, ...]]:
    fields = part.known("fields")
    return {"correct": ()} if fields is None else fields(part.options) if callable(fields) else fields


def _part(value: Any, path: str) -> Part:
    name, given = binding.entry(value, path)
    function = binding.find("verifiers", name, path)
    parameters = {key: p for key, p in inspect.signature(function).parameters.items() if p.kind is p.KEYWORD_ONLY}
    for key in given:
        if key not in parameters:
            raise ConfigError(f"{path}.{key}: {name} has no option {key!r}; {near(key, parameters)}")
    for key, parameter in parameters.items():
        if parameter.default is parameter.empty and key not in given:
            raise ConfigError(f"{path}.{key}: needs a value, an option of {name}")
    options = {key: given.get(key, parameter.default) for key, parameter in parameters.items()}
    if getattr(function, "processes", False):
        seconds = options.get("seconds")
        if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 < seconds <= 3600:
            raise ConfigError(f"{path}.seconds: found {seconds!r}, allowed: a number above 0, up to 3600")
    if "extract" in options:
        extraction.check(options["extract"])
    return Part(function, options)
