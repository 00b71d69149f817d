"""The `group` family: rows sampled from the policy, scored, turned into advantages, and learned from; a value role may train beside."""

from typing import Any

import jax
import jax.numpy as jnp

from pojax import diagnostics, models
from pojax.binding import resolve
from pojax.learners import updates
from pojax.learners.learner import Learner, compile_learner
from pojax.learners.services import Source, make_samplers, make_services, stamp
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
    first_step: int = 0,
    diagnose: bool = True,
) -> Learner:
    """Bind a program to models and data. first_step: `state.step` at which this phase begins; schedules and `step` count from it."""

    def context_of(state: LearnerState, hyper: Any) -> updates.Context:
        step = state.step - first_step
        values = resolve(program.numbers, hyper, step)
        key = jax.random.fold_in(state.key, state.step)
        scope = {**program.sizes, **state.tables, "step": step, "key": key}
        return updates.Context(program, model, layout, values, scope, key)

    def trees_of(state: LearnerState) -> dict[str, Any]:
        copies = {name: updates.with_parts(state.params, copy) for name, copy in state.copies.items()}
        return {"": state.params, "start": state.params, **copies}

    compiled = None if source.on_device else make_samplers(source, layout, model["policy"]).jitted()
    place = jax.jit(layout.rows)  # a rollout made on the host, put on the mesh; one function object, or every call would compile
    curriculum = jax.jit(lambda context_scope, values: program.curriculum(context_scope | program.sizes, values))

    def collect(state: LearnerState, hyper: Any) -> tuple[Rollout, Any]:
        context = context_of(state, hyper)
        trees = trees_of(state)
        services = make_services(source, context, state.params, trees, state.step, compiled)
        arrays = {k: v for k, v in context.scope.items() if not isinstance(v, int)}
        chosen = curriculum(arrays, context.values)
        chosen = chosen if len(program.curriculum.writes) > 1 else (chosen,)
        scope = {**context.scope, **services, "budgets": None, **dict(zip(program.curriculum.writes, chosen, strict=True))}
        rollout = stamp(program.arrangement(scope, context.values), state.step)
        return layout.rows(rollout) if source.on_device else place(jax.tree.map(jnp.asarray, rollout)), state.source

    def train_step(state: LearnerState, batch: Rollout, hyper: Any) -> tuple[LearnerState, dict[str, Any]]:
        context = context_of(state, hyper)
        fields = layout.rows(updates.fields_of(batch.clean()))
        trees = trees_of(state)
        pieces = program.updates[0].minibatches * program.updates[0].microbatches
        pieces = pieces if program.rows % pieces == 0 else 1
        fields |= updates.forward_in_pieces(context, trees, fields, program.before, pieces)
        fields = updates.run_stages(context, fields)
        metrics: dict[str, Any] = {}
        if diagnose and "rewards" in fields:
            arrays = {name: x for name, x in fields.items() if name not in ("components", "labels")}  # their members stand beside them
            metrics = diagnostics.rollout_metrics(arrays, fields["rewards"], fields["advantages"], components=tuple(batch.components))
        rows = {name: fields[name] for name in ("rewards", "advantages", "start_logprobs", "ref_logprobs") if name in fields}
        # Outputs of the start that bear the name of current ones are stale from here on.
        fields = {n: v for n, v in fields.items() if n not in program.outputs or program.outputs[n].tree}
        params, opt = state.params, dict(state.opt)
        for update in program.updates:
            params, opt[update.name], seen = updates.in_turn(update, context, params, opt[update.name], trees, fields)
            metrics |= seen
        metrics["rows"] = rows | updates.pop_logprobs(program.updates, metrics)
        grams = {f"{update.name}_gram": metrics.pop(f"{update.name}/gram") for update in program.updates if update.gram}
        after = updates.forward_in_pieces(context, {**trees, "": params}, fields, program.after, pieces)
        copies = {
            name: rule(
                {"copy": state.copies[name], "params": updates.parts_of(params, program.copied_roles), "step": context.scope["step"]},
                context.values,
            )
            for name, rule in program.copies.items()
        }
        scope = {**context.scope, **fields, **after, **grams}
        tables = {name: update({**scope, "table": state.tables[name]}, context.values) for name, (_, update) in program.trackers.items()}
        tables = jax.tree.map(lambda new, old: new.astype(old.dtype), tables, state.tables)
        new = LearnerState(state.step + 1, params, opt, copies, tables, state.source, state.key)
        return new, metrics

    return compile_learner(program, collect, train_step, (shardings, layout.replicated()), traceable=source.on_device)
