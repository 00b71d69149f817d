"""What every family gives to the loop."""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax

from pojax.binding import hyper_arrays
from pojax.program import Program
from pojax.types import LearnerState


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


def compile_learner(
    program: Program, collect: Callable[..., Any], train_step: Callable[..., Any], shardings: Any, *, traceable: bool
) -> Learner:
    """A family's two functions as a Learner. shardings: of what train_step gives; traceable: whether collecting may be compiled."""

    def iteration(state: LearnerState, hyper: Any) -> tuple[LearnerState, dict[str, Any]]:
        batch, source = collect(state, hyper)
        return train_step(dataclasses.replace(state, source=source), batch, hyper)

    return Learner(
        program=program,
        hyper=hyper_arrays(program.numbers),
        collect=jax.jit(collect) if traceable else collect,
        train_step=jax.jit(train_step, donate_argnums=0, out_shardings=shardings),
        iteration=iteration if traceable else None,
    )
