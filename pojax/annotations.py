"""Annotations that every pure function uses, and the mark that says which fields a function writes."""

from collections.abc import Callable
from typing import Any, TypeVar

from jaxtyping import Array, ArrayLike, Float, Key, Shaped, UInt32

Hyper = Float[ArrayLike, "..."] | int  # a number, or an array that broadcasts: traced, so sweeping it never recompiles
Mask = Shaped[ArrayLike, "B T"]  # bool, int or float; 1 where the token counts
RandomKey = Key[Array, ""] | UInt32[Array, "2"]  # jax.random.key, or the older jax.random.PRNGKey
Function = TypeVar("Function", bound=Callable[..., Any])


def writes(*names: str) -> Callable[[Function], Function]:
    """Declare the fields that a function's values go to, where they are not the noun of its stage."""

    def mark(function: Function) -> Function:
        function.writes = names  # type: ignore[attr-defined]
        return function

    return mark


def gives(*names: str) -> Callable[[Function], Function]:
    """Declare the data that a function hands to the functions it takes as hyper-parameters, beside what its own scope holds."""

    def mark(function: Function) -> Function:
        function.gives = names  # type: ignore[attr-defined]
        return function

    return mark
