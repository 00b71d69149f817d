"""The `supervised` family: worked solutions of the training split, learned by likelihood. Nothing is sampled, so nothing is scored."""

import dataclasses
from typing import Any

import jax

from pojax import models
from pojax.binding import ConfigError, resolve
from pojax.learners import updates
from pojax.learners.learner import Learner, compile_learner
from pojax.learners.services import Source, make_services, stamp
from pojax.program import Program
from pojax.sharding import Layout
from pojax.types import LearnerState, Rollout


def make_learner(
    program: Program,
    model: dict[str, models.DecoderConfig],
    source: Source,
    layout: Layout,
    shardings: LearnerState,
    *,
    prefix: str = "",
    first_step: int = 0,
) -> Learner:
    """Bind a program to models and data. prefix: of the update's name in `state.opt`, where the phase comes before another method.

    first_step: `state.step` at which this phase begins; schedules and `step` count from it.
    ConfigError where the method has rewards, advantages, trackers, copies or outputs of the start, which nothing here would run.
    """
    for stage in ("rewards", "advantages", "trackers", "copies"):
        if getattr(program, stage):
            raise ConfigError(f"{prefix}method.{stage}: the supervised family has none; allowed: curricula, rollouts, updates")
    if program.before:
        raise ConfigError(
            f"{prefix}method.losses: {program.before[0]!r} is no output of the current parameters, "
            "the only ones that the supervised family has"
        )

    def context_of(state: LearnerState, hyper: Any) -> updates.Context:
        key, step = jax.random.fold_in(state.key, state.step), state.step - first_step
        return updates.Context(
            program, model, layout, resolve(program.numbers, hyper, step), {**program.sizes, "step": step, "key": key}, key
        )

    def collect(state: LearnerState, hyper: Any) -> tuple[Rollout, Any]:
        context = context_of(state, hyper)
        services = make_services(source, context, state.params, {}, state.step, None)
        indices = program.curriculum(context.scope, context.values)
        rollout = program.arrangement({**context.scope, **services, "indices": indices, "budgets": None}, context.values)
        return layout.rows(stamp(rollout, state.step)), state.source

    def train_step(state: LearnerState, batch: Rollout, hyper: Any) -> tuple[LearnerState, dict[str, Any]]:
        context = context_of(state, hyper)
        fields = layout.rows(updates.fields_of(batch.clean()))
        params, opt = state.params, dict(state.opt)
        metrics: dict[str, Any] = {}
        for update in program.updates:
            name = prefix + update.name
            params, opt[name], seen = updates.in_turn(update, context, params, opt[name], {}, fields)
            metrics |= {f"{prefix}{k}": v for k, v in seen.items()}
        updates.pop_logprobs(program.updates, metrics, prefix)
        return dataclasses.replace(state, step=state.step + 1, params=params, opt=opt), metrics

    return compile_learner(program, collect, train_step, (shardings, layout.replicated()), traceable=True)
