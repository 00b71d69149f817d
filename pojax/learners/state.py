"""The learner state: made once, the same tree in every phase of a run, laid out on the mesh."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from pojax import models
from pojax.binding import hyper_arrays, resolve
from pojax.learners.updates import parts_of
from pojax.program import Program
from pojax.sharding import Layout
from pojax.types import LearnerState


def init_state(
    seed: int, program: Program, model: dict[str, models.DecoderConfig], layout: Layout, warm: Program | None = None, loaded: Any = None
) -> LearnerState:
    """The state before the first iteration, sharded. warm: the supervised method before; its optimisers stand beside the method's.

    loaded: parameters of a policy, which the policy and the trunk of a value role begin as; given up to the state, so that they stand in
    memory once. What they do not hold (a value head, adapters) is drawn.
    Raises ValueError for a warm start that carries tables or copies of its own.
    """
    if warm is not None and (warm.trackers or warm.copies):
        raise ValueError("warm_start.method: found trackers or copies, allowed: none (they belong to the method itself)")
    key = jax.random.key(seed)

    def build(key: Any, loaded: Any) -> LearnerState:
        return build_state(key, program, model, warm, loaded)

    shardings = state_shardings(jax.eval_shape(build, key, loaded), model, layout)
    return own_buffers(jax.jit(build, out_shardings=shardings, donate_argnums=1)(key, loaded))


def build_state(
    key: Any, program: Program, model: dict[str, models.DecoderConfig], warm: Program | None = None, loaded: Any = None
) -> LearnerState:
    """The state before the first iteration as a traceable function of its key, and of the parameters to begin with."""
    params = {role: models.init(jax.random.fold_in(key, i), config) for i, (role, config) in enumerate(sorted(model.items()))}
    if loaded is not None:
        params = {role: overlay(tree, loaded) for role, tree in params.items()}
    opt = {}
    for phase, prefix in ((warm, "warm_start."), (program, "")):
        if phase is None:
            continue
        values = resolve(phase.numbers, hyper_arrays(phase.numbers), jnp.int32(0))
        for update in phase.updates:
            opt[prefix + update.name] = update.optimizer({}, values).init(parts_of(params, update.trains))
    state = LearnerState(jnp.int32(0), params, opt, _copies(program, params), first_tables(program), {}, key)
    # A weakly typed leaf would make the second iteration compile again.
    return jax.tree.map(lambda x: x if jnp.issubdtype(x.dtype, jax.dtypes.prng_key) else jax.lax.convert_element_type(x, x.dtype), state)


def first_tables(program: Program) -> dict[str, Any]:
    """The tables before the first iteration."""
    values = resolve(program.numbers, hyper_arrays(program.numbers), jnp.int32(0))
    return {name: init(program.sizes, values) for name, (init, _) in program.trackers.items()}


def overlay(tree: Any, loaded: Any) -> Any:
    """A tree of parameters with the arrays of `loaded` where it holds one under the same path: a trunk under another head, under adapters.

    Inside a compiled function what is replaced costs nothing.
    """
    known = {jax.tree_util.keystr(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(loaded)}

    def choose(path: Any, leaf: Any) -> Any:
        found = known.get(jax.tree_util.keystr(path), leaf)
        if found.shape != leaf.shape:
            raise ValueError(f"{jax.tree_util.keystr(path)} has shape {found.shape}, expected {leaf.shape}")
        return found

    return jax.tree_util.tree_map_with_path(choose, tree)


def _copies(program: Program, params: Any) -> dict[str, Any]:
    """What copies hold: whole trees, or adapters alone, which share the base with `params` (it never changes)."""
    return {name: parts_of(params, program.copied_roles) for name in program.copies}


def own_buffers(state: LearnerState) -> LearnerState:
    """Copies in buffers of their own: a buffer that stands twice in a donated state cannot be donated."""
    return dataclasses.replace(state, copies=jax.tree.map(jnp.copy, state.copies), key=jax.random.clone(state.key))


def recopy(state: LearnerState, program: Program) -> LearnerState:
    """Make every copy again from the parameters: after a warm start, and after loading parameters.

    With adapters, `ref` is the base with the adapters of this moment: the base alone where they are fresh.
    """
    return own_buffers(dataclasses.replace(state, copies=_copies(program, state.params)))


def state_shardings(abstract: LearnerState, model: dict[str, models.DecoderConfig], layout: Layout) -> LearnerState:
    """NamedShardings of a state: parameters by the rule table, what has their shapes as they are, everything else on every device."""
    params = {role: layout.params(models.logical_axes(model[role]), abstract.params[role]) for role in abstract.params}
    everywhere = layout.replicated()
    return LearnerState(
        step=everywhere, params=params, opt=layout.like_params(abstract.opt, abstract.params, params),
        copies=layout.like_params(abstract.copies, abstract.params, params), tables=jax.tree.map(lambda _: everywhere, abstract.tables),
        source=jax.tree.map(lambda _: everywhere, abstract.source), key=everywhere,
    )  # fmt: skip
