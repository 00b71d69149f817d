"""The binder: turns an entry `(name, dict)` of a config into a `Bound`, a function whose parameters have names in one flat scope.

Positional parameters are data and are looked up by name; keyword-only parameters are hyper-parameters. A bound function is data: one class
serves every stage of the pipeline, and nothing here knows what any method does.
"""

import collections.abc
import difflib
import functools
import importlib
import inspect
import typing
import zlib
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from pojax.annotations import Hyper

Scope = Mapping[str, Any]  # name -> array, table, service or size
RESERVED = ("key", "step", "num_prompts", "batch_prompts", "response_tokens")

# Where the functions of a slot live: the `__all__` of a module is the registry of its names.
REGISTRIES = {
    "curricula": "pojax.curricula",
    "rollouts": "pojax.rollouts",
    "rewards": "pojax.rewards",
    "advantages": "pojax.advantages",
    "per_minibatch": "pojax.advantages",
    "losses": "pojax.losses",
    "aggregate": "pojax.losses.aggregations",
    "trackers": "pojax.trackers",
    "heads": "pojax.models.heads",
    "optimizer": "pojax.learners.optimizers",
    "copies": "pojax.learners.copies",
    "schedules": "pojax.schedules",
    "tasks": "pojax.tasks",
    "verifiers": "pojax.tasks.verifiers",
    "extraction": "pojax.tasks.verifiers.extraction",
    "processor": "pojax.sampling.processors",
    "models": "pojax.models.config",
}
WRITING = ("curricula", "rewards", "advantages", "per_minibatch")  # stages whose values are fields
STRUCTURES = ("components", "labels")  # parts of a rollout that a function may read whole, as {name: array}


class ConfigError(ValueError):
    """A config that cannot run: the message is one line naming the key, what was found and what is allowed."""


def near(name: str, names: collections.abc.Iterable[str]) -> str:
    """The end of an error message: the names closest to a wrong one, or all of them if none is close."""
    names = sorted(set(names))
    close = difflib.get_close_matches(name, names, n=4, cutoff=0.5)
    close += [n for n in names if n not in close and len(name) > 2 and name in n]
    return f"nearest: {', '.join(close)}" if close else f"allowed: {', '.join(names) or 'none'}"


def find(slot: str, name: str, path: str) -> Any:
    """The function that `name` means in a slot: one of its registry, or `my_module:my_function`."""
    if not isinstance(name, str):
        raise ConfigError(f"{path}: found {name!r}, allowed: the name of a function")
    module_name, _, function = name.partition(":") if ":" in name else (REGISTRIES[slot], "", name)
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise ConfigError(f"{path}: cannot import {module_name!r} ({error})") from error
    if ":" not in name:
        names = [n for n in module.__all__ if n not in _other_names(slot)]
        if name not in names:
            raise ConfigError(f"{path}: no function {name!r} in {module_name}; {near(name, names)}")
    elif not hasattr(module, function):
        raise ConfigError(f"{path}: {module_name!r} has no {function!r}; {near(function, [n for n in vars(module) if n[0] != '_'])}")
    return getattr(module, function)


def _other_names(slot: str) -> tuple[str, ...]:
    """Names that a registry also exports but that do not fit the slot: aggregations are not losses."""
    return tuple(importlib.import_module(REGISTRIES["aggregate"]).__all__) if slot == "losses" else ()


def entry(value: Any, path: str) -> tuple[str, dict[str, Any]]:
    """Check that a config value is an entry `(name, dict)`; a copy of it with plain types."""
    if isinstance(value, tuple | list) and len(value) == 2 and isinstance(value[0], str) and isinstance(value[1], Mapping):
        return value[0], dict(value[1])
    raise ConfigError(f"{path}: found {value!r}, allowed: an entry (name, dict of keywords)")


def is_entry(value: Any) -> bool:
    return isinstance(value, tuple | list) and len(value) == 2 and isinstance(value[0], str) and isinstance(value[1], Mapping)


class Signature(NamedTuple):
    """What a function takes: data {name: required} and hyper-parameters {name: (kind, default)}."""

    data: dict[str, bool]
    hypers: dict[str, tuple[str, Any]]  # kind: "traced", "weights" (dict of traced), "rule" (a function), "static"


_EMPTY = inspect.Parameter.empty
_TRACED = frozenset(typing.get_args(Hyper)) | {float}


@functools.cache
def signature(function: Callable[..., Any]) -> Signature:
    """Read the calling convention off a function; ConfigError if it has *args, **kwargs or data that cannot be given by name."""
    data, hypers = {}, {}
    try:
        parameters = inspect.signature(function, eval_str=True).parameters  # the author's file may postpone its annotations
    except Exception as error:
        raise ConfigError(f"{getattr(function, '__name__', function)}: its annotations cannot be read ({error})") from error
    for name, parameter in parameters.items():
        if parameter.kind is parameter.POSITIONAL_ONLY:
            raise ConfigError(f"{function.__name__}: {name!r} is positional only, allowed: data that can be given by name")
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            raise ConfigError(f"{function.__name__}: *args and **kwargs cannot be bound; name every parameter")
        if parameter.kind == parameter.KEYWORD_ONLY:
            hypers[name] = (_kind(parameter.annotation), parameter.default)
        else:
            data[name] = parameter.default is _EMPTY
    return Signature(data, hypers)


def _kind(annotation: Any) -> str:
    members = set(typing.get_args(annotation)) if typing.get_origin(annotation) is not dict else {annotation}
    members = (members or {annotation}) - {type(None)}
    if any(m is collections.abc.Callable or typing.get_origin(m) is collections.abc.Callable for m in members | {annotation}):
        return "rule"
    if len(members) == 1:
        (only,) = members
        if typing.get_origin(only) is dict:
            value = typing.get_args(only)[1]
            return "weights" if (set(typing.get_args(value)) or {value}) & (_TRACED - {int}) else "static"
    return "traced" if members & (_TRACED - {int}) else "static"


class Bound(NamedTuple):
    """A function of a config slot with every parameter resolved to a name, a constant or a path of the hyper-parameters."""

    path: str
    fn: Callable[..., Any]
    writes: tuple[str, ...]
    reads: dict[str, str]  # data parameter -> name or dotted path in the scope
    static: dict[str, Any]  # int, bool, str, dict, None
    traced: dict[str, str]  # hyper-parameter -> its path in the values
    weights: dict[str, dict[str, str]]  # dict hyper-parameter -> {field: path in the values}
    field_hypers: dict[str, str]  # hyper-parameter -> field or table
    rules: dict[str, "Bound"]  # hyper-parameter -> bound function of the same stage
    numbers: dict[str, Any]  # path -> number, or (schedule, numbers) as the config gives it
    columns: bool = False  # [B] fields given as hyper-parameters arrive as [B, 1] (losses)

    def __call__(self, scope: Scope, values: Mapping[str, Any], **given: Any) -> Any:
        """Call with data from the scope (or `given`) and hyper-parameters from the values."""
        data = {parameter: given[parameter] if parameter in given else self._data(scope, parameter) for parameter in self.reads}
        hypers = {name: values[path] for name, path in self.traced.items()}
        hypers |= {name: {field: values[path] for field, path in fields.items()} for name, fields in self.weights.items()}
        for name, field in self.field_hypers.items():
            value = look(scope, field)
            hypers[name] = value[:, None] if self.columns and jnp.ndim(value) == 1 else value
        rules = {name: functools.partial(rule.__call__, scope, values) for name, rule in self.rules.items()}
        return self.fn(**data, **hypers, **rules, **self.static)

    def _data(self, scope: Scope, parameter: str) -> Any:
        if parameter == "components" and self.weights:  # exactly the fields that the weights name, wherever they were written
            return {field: look(scope, field) for fields in self.weights.values() for field in fields}
        value = look(scope, self.reads[parameter])
        if self.reads[parameter] == "key":
            return jax.random.fold_in(value, zlib.crc32(self.path.encode()))
        return value

    def names(self) -> set[str]:
        """Roots of all names that the function reads, those of its inner rules included."""
        own = {root(name) for parameter, name in self.reads.items() if not (parameter == "components" and self.weights)}
        own |= {root(name) for name in self.field_hypers.values()} | {field for fields in self.weights.values() for field in fields}
        return own.union(*(rule.names() for rule in self.rules.values()))

    def all_numbers(self) -> dict[str, Any]:
        """Every number and schedule of the function and its inner rules, by path."""
        return functools.reduce(lambda a, b: a | b.all_numbers(), self.rules.values(), dict(self.numbers))


def root(name: str) -> str:
    return name.split(".")[0]


def look(scope: Scope, name: str) -> Any:
    """The value of a name or of a dotted path into a table."""
    first, *rest = name.split(".")
    value = scope[first]
    for part in rest:
        value = value[part] if isinstance(value, Mapping) else getattr(value, part)
    return value


def bind(
    slot: str, value: Any, path: str, known: Mapping[str, str] | None, noun: str | None = None, lazy: frozenset[str] = frozenset()
) -> Bound:
    """Bind the entry `(name, dict)` of a config slot.

    known: {name: where it comes from} of everything that the function may read; None = the caller checks the names later.
    noun: the field that the value goes to unless the function or the entry says otherwise.
    lazy: names that an optional parameter gets only if the entry names them (they would cost a forward pass).
    """
    name, keywords = entry(value, path)
    fn = find(slot, name, path)
    if not callable(fn):
        raise ConfigError(f"{path}: {name!r} is not a function")
    if "writes" in keywords and slot not in WRITING:
        raise ConfigError(f"{path}.writes: what {slot} give has no name; allowed in {', '.join(WRITING)}")
    written = keywords.pop("writes", None) or getattr(fn, "writes", (noun,) if noun else ())
    written = (written,) if isinstance(written, str) else tuple(written)
    return bind_function(slot, fn, name, keywords, path, known, written, lazy)


def bind_function(
    slot: str,
    fn: Callable[..., Any],
    name: str,
    keywords: dict[str, Any],
    path: str,
    known: Mapping[str, str] | None,
    written: tuple[str, ...],
    lazy: frozenset[str],
) -> Bound:
    takes = signature(fn)
    unknown = [k for k in keywords if k not in takes.data and k not in takes.hypers]
    if unknown:
        names = [*takes.data, *takes.hypers, *(["writes"] if slot in WRITING else [])]
        raise ConfigError(f"{path}.{unknown[0]}: {name} has no parameter {unknown[0]!r}; {near(unknown[0], names)}")
    bound = Bound(path, fn, written, {}, {}, {}, {}, {}, {}, {}, columns=slot == "losses")
    for parameter, required in takes.data.items():
        _bind_data(bound, name, parameter, required, keywords, known, lazy)
    for parameter, (kind, default) in takes.hypers.items():
        value = keywords.get(parameter, default)
        if value is _EMPTY:
            raise ConfigError(f"{path}.{parameter}: {name} needs the hyper-parameter {parameter!r}; none was given")
        _bind_hyper(bound, slot, name, parameter, kind, value, known, lazy)
    return bound


def _bind_data(
    bound: Bound, name: str, parameter: str, required: bool, keywords: dict[str, Any], known: Mapping[str, str] | None, lazy: frozenset[str]
) -> None:
    field = keywords.get(parameter, parameter)
    if not isinstance(field, str):
        raise ConfigError(f"{bound.path}.{parameter}: {parameter!r} is data of {name}: found {field!r}, allowed: the name of a field")
    weighted = parameter == "components" and any(kind == "weights" for kind, _ in signature(bound.fn).hypers.values())
    if weighted or known is None or root(field) in known:
        if required or parameter in keywords or field not in lazy:
            bound.reads[parameter] = field
    elif required or parameter in keywords:
        raise ConfigError(f"{bound.path}.{parameter}: {name} reads {field!r}, which nothing provides here; {near(field, known)}")


def _bind_hyper(
    bound: Bound, slot: str, name: str, parameter: str, kind: str, value: Any, known: Mapping[str, str] | None, lazy: frozenset[str]
) -> None:
    path = f"{bound.path}.{parameter}"
    if value is None or kind == "static":
        if kind == "static" and (isinstance(value, float) or is_entry(value)):
            raise ConfigError(f"{path}: {parameter!r} of {name} is static: found {value!r}, allowed: int, bool, str, dict, None")
        bound.static[parameter] = _plain(value)
    elif kind == "rule":
        inside = known if known is None else {**known, **dict.fromkeys(getattr(bound.fn, "gives", ()), f"given by {name}")}
        bound.rules[parameter] = bind(slot, value, path, inside, None, lazy) if not callable(value) else _raise_callable(path)
    elif kind == "weights":
        if not isinstance(value, Mapping) or not value:
            raise ConfigError(f"{path}: found {value!r}, allowed: a dict from the names of fields to numbers")
        for field in value:
            if known is not None and root(field) not in known:
                raise ConfigError(f"{path}.{field}: {name} reads {field!r}, which nothing provides here; {near(field, known)}")
        bound.weights[parameter] = {field: f"{path}.{field}" for field in value}
        for field, number in value.items():
            bound.numbers[f"{path}.{field}"] = check_number(number, f"{path}.{field}")
    elif isinstance(value, str):
        if known is not None and root(value) not in known:
            raise ConfigError(f"{path}: found {value!r}, allowed: a number, a schedule or the name of a field; {near(value, known)}")
        bound.field_hypers[parameter] = value
    else:
        bound.traced[parameter] = path
        bound.numbers[path] = check_number(value, path)


def _raise_callable(path: str) -> typing.NoReturn:
    raise ConfigError(f"{path}: found a function object, allowed: an entry (name, dict), so that the config can be saved")


def _plain(value: Any) -> Any:
    return {k: _plain(v) for k, v in value.items()} if isinstance(value, Mapping) else value


def check_number(value: Any, path: str) -> Any:
    """A number as it is; a schedule `(name, dict)` as (function, {parameter: number})."""
    if is_entry(value):
        name, keywords = entry(value, path)
        fn = find("schedules", name, path)
        takes = signature(fn)
        for keyword in keywords:
            if keyword not in takes.hypers:
                raise ConfigError(f"{path}.{keyword}: schedule {name} has no parameter {keyword!r}; {near(keyword, takes.hypers)}")
        numbers = {parameter: keywords.get(parameter, default) for parameter, (_, default) in takes.hypers.items()}
        for parameter, number in numbers.items():
            if number is _EMPTY or isinstance(number, bool) or not isinstance(number, int | float):
                found = "none was given" if number is _EMPTY else f"found {number!r}"
                raise ConfigError(f"{path}.{parameter}: schedule {name} needs a number: {found}")
        return fn, numbers
    if isinstance(value, bool) or not (
        isinstance(value, int | float) or (hasattr(value, "dtype") and jnp.issubdtype(value.dtype, jnp.number))
    ):
        raise ConfigError(f"{path}: found {value!r}, allowed: a number, a schedule (name, dict) or the name of a field")
    return value


def hyper_arrays(numbers: Mapping[str, Any]) -> dict[str, Any]:
    """The flat dict of traced hyper-parameters that the jitted steps take: {path: array, or the arrays of a schedule}."""
    dtype = jnp.result_type(float)  # a Python number in its place would be another entry of the compile cache
    return {
        p: {k: jnp.asarray(v, dtype) for k, v in n[1].items()} if isinstance(n, tuple) else jnp.asarray(n, dtype)
        for p, n in sorted(numbers.items())
    }


def resolve(numbers: Mapping[str, Any], hyper: Mapping[str, Any], step: Any) -> dict[str, Any]:
    """The values of all hyper-parameters at an iteration; schedules count iterations from 0."""
    return {path: number[0](step, **hyper[path]) if isinstance(number, tuple) else hyper[path] for path, number in numbers.items()}


def trial_values(bound: Bound) -> list[dict[str, Any]]:
    """Concrete hyper-parameters of a function, so that its own range checks see numbers.

    Taken at the start, far into the run, and at every iteration that a schedule of it names: where ramps begin and end.
    """
    numbers = bound.all_numbers()
    arrays = hyper_arrays(numbers)
    schedules = [n[1].values() for n in numbers.values() if isinstance(n, tuple)]
    named = {int(v) + d for values in schedules for v in values if 1 <= v < 10**9 for d in (-1, 0)}
    steps = sorted({0, 10**6, *named}) if schedules else [0]
    return [resolve(numbers, arrays, jnp.int32(step)) for step in steps]
