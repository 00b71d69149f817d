"""Sweeps over every public function of the pure stages; functions are found by walking the registries, arguments by their names."""

import inspect
import types
import typing

import jax
import jax.numpy as jnp
import numpy as np
from sweep_arguments import ARGUMENTS, GROUPS, HYPERS, LOGPROBS, MASK, table_of

from pojax import advantages, curricula, groups, losses, rewards, trackers
from pojax.annotations import Hyper
from pojax.trackers import Tracker

STAGES = [curricula, rewards, advantages, losses, losses.aggregations, trackers, groups]


def public_functions():
    """{stage.name: function}, with the two functions of a tracker apart."""
    found = {}
    for stage in STAGES:
        for name in stage.__all__:
            value = getattr(stage, name)
            parts = value._asdict() if isinstance(value, Tracker) else {"": value}
            for part, function in parts.items():
                found[".".join(filter(None, [stage.__name__.split(".")[-1], name, part]))] = function
    return found


FUNCTIONS = public_functions()
REGISTERED = {name: f for name, f in FUNCTIONS.items() if not name.startswith("groups.")}


def parameters(function, keyword_only):
    return [p for p in inspect.signature(function).parameters.values() if (p.kind is p.KEYWORD_ONLY) == keyword_only]


def members(annotation):
    """Members of a union, without None."""
    is_union = typing.get_origin(annotation) in (typing.Union, types.UnionType)
    return [m for m in (typing.get_args(annotation) if is_union else (annotation,)) if m is not type(None)]


def is_hyper(annotation):
    return set(members(Hyper)) <= set(members(annotation)) or annotation == dict[str, Hyper]


def arguments(name):
    function = FUNCTIONS[name]
    values = {**ARGUMENTS, "table": table_of(function)}
    data = {}
    for p in parameters(function, keyword_only=False):
        per_row = p.name == "advantages" and all(m.dim_str == "B" for m in members(p.annotation))
        data[p.name] = np.linspace(-1, 1, 6) if per_row else values[p.name]
    hypers = {p.name: HYPERS[p.name] for p in parameters(function, keyword_only=True) if p.name in HYPERS}
    return data, hypers


def is_float(x):
    return jnp.issubdtype(jnp.result_type(x), jnp.floating)


def run(name, data, hypers, compiled={}):  # noqa: B006 - each function is compiled once
    """Outputs, and gradients of a sum of differently weighted float outputs with respect to every float input; all arrays are traced."""
    leaves, tree = jax.tree.flatten(data)
    kinds = ["static" if isinstance(x, int) else "float" if is_float(x) else "other" for x in leaves]
    split = {kind: [jnp.asarray(x) for x, k in zip(leaves, kinds, strict=True) if k == kind] for kind in ("float", "other")}

    def call(floats, others):
        rest = {"float": iter(floats), "other": iter(others), "static": iter([x for x in leaves if isinstance(x, int)])}
        out = FUNCTIONS[name](**tree.unflatten([next(rest[kind]) for kind in kinds]), **hypers)
        weighted = [jnp.sum(x * jnp.cos(jnp.arange(x.size)).reshape(x.shape)) for x in jax.tree.leaves(out) if is_float(x)]
        return sum(weighted, jnp.zeros(())), out

    if name not in compiled:
        compiled[name] = jax.jit(jax.value_and_grad(call, has_aux=True))
    (_, out), gradient = compiled[name](split["float"], split["other"])
    return out, gradient


def assert_finite(tree):
    for leaf in jax.tree.leaves(tree):
        assert not is_float(leaf) or np.isfinite(leaf).all(), leaf


def poison(data, junk):
    """Junk where it must not matter: rows that are out of functions that read groups, masked tokens of functions that read a mask."""

    def spoil(x):
        if not (isinstance(x, np.ndarray) and is_float(x)):
            return x
        if "groups" in data and x.shape[:1] == (6,):
            x = np.where((GROUPS < 0).reshape((6,) + (1,) * (x.ndim - 1)), junk, x)
        return np.where(MASK == 0, junk, x) if "mask" in data and x.shape == (6, 4) else x

    return {key: value if key == "table" else jax.tree.map(spoil, value) for key, value in data.items()}


def names(*stages):
    """The functions of some stages that compute."""
    found = [name for name in FUNCTIONS if name.split(".")[0] in stages and not name.endswith(".init")]
    assert found
    return found


def check_junk(name):
    """NaN and infinities of masked tokens and of rows that are out change no bit of a value or a gradient."""
    data, hypers = arguments(name)
    clean = run(name, data, hypers)
    assert_finite(clean)
    for junk in (np.nan, np.inf):
        jax.tree.map(np.testing.assert_array_equal, run(name, poison(data, junk), hypers), clean)


DEGENERATE: dict[str, dict] = {  # a number multiplies what is there
    "all rows are out": {"groups": np.full(6, -1)},
    "one row in": {"groups": np.array([-1, -1, 4, -1, -1, -1])},
    "groups of one": {"groups": np.arange(6)},
    "nothing counts": {"mask": 0 * MASK, "where": 0 * MASK, "keep": 0 * MASK},
    "equal rewards": {"rewards": np.full(6, 0.7), "components": dict.fromkeys(ARGUMENTS["components"], np.full(6, 0.7))},
    "a spread whose square is 0": {"rewards": np.linspace(1, 2, 6) * 1e-25, "advantages": 1e-25, "x": np.linspace(1, 2, 6) * 1e-25},
    "no spread": {"advantages": 0.0, "x": np.zeros(6), **{name: np.full((6, 4), -0.1) for name in LOGPROBS}},
    "overflow": {"logprobs": np.full((6, 4), -1e5), "previous_logprobs": np.full((6, 4), -1e5), "start_logprobs": np.full((6, 4), -1e5)},
    "overflow the other way": {name: np.full((6, 4), -1e5) for name in LOGPROBS if name not in ("logprobs", "start_logprobs")},
}


def check_degenerate(name):
    """Empty masks, groups of one, equal rewards, overflowing ratios: values and gradients are finite."""
    data, hypers = arguments(name)
    for case, changes in DEGENERATE.items():
        changes = {key: value * data[key] if isinstance(value, float) else value for key, value in changes.items() if key in data}
        if changes:
            out, gradient = run(name, {**data, **changes}, hypers)
            for leaf in jax.tree.leaves((out, gradient)):
                assert not is_float(leaf) or np.isfinite(leaf).all(), case


def hyper_defaults(name):
    _, hypers = arguments(name)
    known = {p.name: p.default for p in parameters(FUNCTIONS[name], keyword_only=True) if is_hyper(p.annotation)}
    return {key: hypers.get(key, default) for key, default in known.items()}


def check_hypers(name):
    """A number, or one number per row, traced or not: the same result; and no second compilation for another number."""
    (data, given), hypers = arguments(name), hyper_defaults(name)
    data = data | {key: value for key, value in given.items() if key not in hypers}  # hyper-parameters that are static
    rule = jax.jit(lambda h: FUNCTIONS[name](**data, **h))
    plain = rule(hypers)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7), plain, FUNCTIONS[name](**data, **hypers))
    rule(jax.tree.map(lambda x: 1.25 * x, hypers))
    assert rule._cache_size() <= 1  # 0: JAX has dropped it since, its cache is shared by all functions
    arrays = jax.tree.map(lambda x: np.full(6, x), hypers)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7), rule(arrays), plain)
