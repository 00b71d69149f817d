"""What every family gives to the loop."""

from collections.abc import Callable
from typing import Any, NamedTuple

from pojax.program import Program


class Learner(NamedTuple):
    """A bound method as functions of the state.

    collect(state, hyper) -> (batch, source), whose `source` the loop puts into the state; train_step(state, batch, hyper) -> (state,
    metrics), jitted, the state donated; iteration(state, hyper) -> (state, metrics), both as one pure jittable function, or None
    where collecting needs the host. hyper: {dotted path: array}, see `binding.hyper_arrays`.
    """

    program: Program
    hyper: dict[str, Any]
    collect: Callable[..., Any]
    train_step: Callable[..., Any]
    iteration: Callable[..., Any] | None
