"""What public functions refuse: shapes that do not fit their annotations and hyper-parameters outside their range.

`checked` reads both from where they are written anyway, so that a function's body holds its equation and nothing else.
"""

import functools
import inspect
import typing
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from pojax.annotations import Function

__all__ = ["check_range", "check_shapes", "checked", "in_range"]


def check_shapes(function: str, /, **arrays: tuple[Any, str | tuple[str, ...]]) -> dict[str, int]:
    """Compare shapes with strings such as "B T" and return the sizes of the named axes.

    Every keyword is an argument: name=(array, "B T"), or name=(array, ("B", "B T")) where several ranks are allowed.
    A name is one size in all arrays, a number is that size, a final "..." is any further axes, "" is a scalar.
    Looks at shapes only, so tracers and numpy arrays are welcome.
    Raises ValueError naming the function and the argument, with the shape found and the shape allowed.
    """
    sizes: dict[str, int] = {}
    for name, (array, allowed) in arrays.items():
        options, shape = (allowed,) if isinstance(allowed, str) else allowed, np.shape(array)
        bound = next((b for b in (_bind(shape, option.split(), sizes) for option in options) if b is not None), None)
        if bound is None:
            wanted = " or ".join(f"[{', '.join(option.split())}]" for option in options)
            known = ", ".join(f"{axis} = {sizes[axis]}" for option in options for axis in option.split() if axis in sizes)
            raise ValueError(f"{function}: {name} has shape {list(shape)}, allowed: {wanted}{f' with {known}' if known else ''}")
        sizes |= bound
    return sizes


def _bind(shape: tuple[int, ...], axes: list[str], sizes: dict[str, int]) -> dict[str, int] | None:
    """The axes' sizes if the shape fits, else None."""
    if axes and axes[-1] == "...":
        axes = axes[:-1]
        shape = shape[: len(axes)]
    if len(shape) != len(axes):
        return None
    bound: dict[str, int] = {}
    for axis, size in zip(axes, shape, strict=True):
        expected = int(axis) if axis.isdigit() else sizes.get(axis, bound.get(axis, size))
        if size != expected:
            return None
        if not axis.isdigit():
            bound[axis] = size
    return bound


def in_range(value: Any, allowed: str) -> bool:
    """Whether a concrete value lies in an interval "[0, 1)" or in a set "{token, sequence}"; NaN lies in none."""
    if allowed.startswith("{"):
        return str(value) in [option.strip() for option in allowed[1:-1].split(",")]
    low, high = (float(bound) for bound in allowed[1:-1].split(","))
    x = np.asarray(value, np.float64)
    above = x >= low if allowed[0] == "[" else x > low
    below = x <= high if allowed[-1] == "]" else x < high
    return bool(np.all(above & below))


def check_range(function: str, name: str, value: Any, allowed: str) -> None:
    """Raise ValueError naming the function and the argument where a concrete value is out of range.

    A value that is not known yet (a tracer, an array of which other hosts hold parts) passes, and so does None.
    """
    if value is None or not _is_concrete(value) or in_range(value, allowed):
        return
    if allowed.startswith("{"):
        raise ValueError(f"{function}: {name} is {value!r}, allowed: {allowed}")
    flat = np.asarray(value, np.float64).reshape(-1)
    found = next(x for x in flat if not in_range(x, allowed))
    raise ValueError(f"{function}: {name} is {found:g}, allowed: {allowed}")


def _is_concrete(value: Any) -> bool:
    return not isinstance(value, jax.core.Tracer) and (not isinstance(value, jax.Array) or value.is_fully_addressable)


def checked(**ranges: str) -> Callable[[Function], Function]:
    """Check a function's arguments: data against the shapes of their annotations, any parameter against a range given here.

    A hyper-parameter that is an array is a number per row or per token: [B], [B, 1] or [B, T] of the function's data.
    The ranges stay readable as `function.ranges`, so that schedules and sweeps can be checked before anything runs.
    Raises ValueError as `check_shapes` and `check_range` do; nothing is known of values while tracing, and nothing is checked then.
    """

    def decorate(function: Function) -> Function:
        parameters = inspect.signature(function).parameters.values()
        names = [p.name for p in parameters if p.kind is not p.KEYWORD_ONLY]
        hypers = [p.name for p in parameters if p.kind is p.KEYWORD_ONLY]
        shapes = {p.name: _shapes_of(p.annotation) for p in parameters if p.name in names}
        title = function.__name__

        @functools.wraps(function)
        def checked_function(*args: Any, **kwargs: Any) -> Any:
            given = dict(zip(names, args, strict=False)) | kwargs
            arrays: dict[str, tuple[Any, str | tuple[str, ...]]] = {}
            for name, value in given.items():
                if shapes.get(name) and value is not None:
                    items = {f"{name}[{k!r}]": v for k, v in value.items()} if isinstance(value, dict) else {name: value}
                    arrays |= {item: (v, shapes[name]) for item, v in items.items()}
            sizes = check_shapes(title, **arrays)
            for name in hypers:
                _check_hyper_shape(title, name, given.get(name), sizes)
            for name, allowed in ranges.items():
                value = given.get(name)
                for item in value.values() if isinstance(value, dict) else (value,):
                    check_range(title, name, item, allowed)
            return function(*args, **kwargs)

        checked_function.ranges = ranges  # type: ignore[attr-defined]
        return typing.cast(Function, checked_function)

    return decorate


def _shapes_of(annotation: Any) -> tuple[str, ...]:
    """The shape strings of a jaxtyping annotation, of its union members, or of the values of a dict; () if there are none."""
    if typing.get_origin(annotation) is dict:
        return _shapes_of(typing.get_args(annotation)[1])
    members = typing.get_args(annotation) or (annotation,)
    return tuple(dict.fromkeys(m.dim_str for m in members if hasattr(m, "dim_str")))


def _check_hyper_shape(function: str, name: str, value: Any, sizes: dict[str, int]) -> None:
    if isinstance(value, dict):
        for key, item in value.items():
            _check_hyper_shape(function, f"{name}[{key!r}]", item, sizes)
        return
    shape = np.shape(value)
    if shape == () or "B" not in sizes:
        return
    rows, tokens = sizes["B"], sizes.get("T")
    allowed = [(rows,), (rows, 1)] + ([(rows, tokens)] if tokens is not None else [])
    if shape not in allowed:
        raise ValueError(f"{function}: {name} has shape {list(shape)}, allowed: a number or {' or '.join(str(list(s)) for s in allowed)}")
