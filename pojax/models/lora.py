"""Low-rank adapters (LoRA, arXiv 2106.09685) as leaves of the parameter tree, beside the kernels that they change.

y = x W + scale * (x A) B. Beside a kernel [layers, *inputs, *outputs], `lora_a` is [layers, *inputs, rank] and `lora_b` is
[layers, rank, *outputs]; one that holds two products, [layers, *inputs, 2, *outputs], has adapters for each, or for the one that the
targets choose: [layers, *inputs, 1 or 2, rank] and [layers, 1 or 2, rank, *outputs].
"""

import dataclasses
import math
import zlib
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Key

from pojax.models.config import DecoderConfig
from pojax.models.targets import PROJECTIONS, chosen

Params = dict[str, Any]
LEAVES = ("lora_a", "lora_b")
HEADS = ("value",)  # trained beside adapters: a head that starts at 0 gives them no gradient


def product(config: DecoderConfig, module: str, equation: str, x: Array, a: Array, b: Array) -> Array:
    """scale * (x A) B in config.dtype, for a module whose kernel is multiplied by `equation`, such as "btd,dcnh->btcnh" (c: products).

    Raises ValueError where the adapters are not those of config.lora.
    """
    if config.lora is None or module not in _halves(config):
        raise ValueError(f"params hold adapters of {module}, which model.lora = {config.lora} does not have")
    halves = _halves(config)[module]
    inputs, result = equation.split("->")
    left, kernel = inputs.split(",")
    inner = "".join(letter for letter in kernel if letter not in result)
    beside = "c" if _paired(module) else ""
    outer = "".join(letter for letter in kernel if letter in result and letter != beside)
    rows = "".join(letter for letter in left if letter not in inner)
    narrow = jnp.einsum(f"{left},{inner}{beside}r->{rows}{beside}r", x, a.astype(config.dtype))
    y = jnp.einsum(f"{rows}{beside}r,{beside}r{outer}->{result}", narrow, b.astype(config.dtype)) * config.lora.scale
    return _spread(y, module, halves, result.find("c")).astype(config.dtype)


def add(params: Params, config: DecoderConfig, key: Key[Array, ""]) -> Params:
    """The parameters with fresh adapters of config.lora: A uniform in +-1 / sqrt(inputs), B zero, so that nothing changes at first.

    Traceable. Raises ValueError where config.lora is None or the parameters hold adapters.
    """
    if config.lora is None:
        raise ValueError("lora.add: model.lora is None, allowed: a LoRA")
    if split(params)[1]:
        raise ValueError("lora.add: the parameters hold adapters, allowed: none (see lora.off and lora.merge)")
    dtype = config.lora.dtype

    def beside(path: tuple[str, ...], linear: Params) -> Params:
        first, second = _shapes(config, path[-1], linear["kernel"].shape)
        here = jax.random.fold_in(key, zlib.crc32("/".join(path).encode()))
        bound = math.prod(_inputs(path[-1], linear["kernel"].shape)) ** -0.5
        return {**linear, "lora_a": jax.random.uniform(here, first, dtype, -bound, bound), "lora_b": jnp.zeros(second, dtype)}

    return _at_adapted(params, config, beside)


def axes(tree: Params, config: DecoderConfig) -> Params:
    """Logical axes of the base parameters -> those of the parameters with adapters; the rank is never split."""

    def beside(path: tuple[str, ...], linear: Params) -> Params:
        names = linear["kernel"]
        inputs = 1 + PROJECTIONS[path[-1]].inputs
        both = (None,) * _paired(path[-1])
        outputs = names[inputs + len(both) :]
        return {**linear, "lora_a": (*names[:inputs], *both, None), "lora_b": (names[0], *both, None, *outputs)}

    return _at_adapted(tree, config, beside)


def split(params: Params, leaves: tuple[str, ...] = LEAVES) -> tuple[Params, Params]:
    """(base, adapters): the tree without and with nothing but the leaves of these names."""
    base, part = {}, {}
    for name, value in params.items():
        if isinstance(value, Mapping):
            base[name], inside = split(dict(value), leaves)
            part |= {name: inside} if inside else {}
        else:
            (part if name in leaves else base)[name] = value
    return base, part


def join(base: Params, part: Params) -> Params:
    """The base with every leaf of `part` in the place of its own, or beside them; with a whole tree, that tree."""
    together = {name: join(base[name], value) if isinstance(value, Mapping) and name in base else value for name, value in part.items()}
    return {**base, **together}


def off(params: Params) -> Params:
    """The base parameters: the model without its adapters, under the same config."""
    return split(params)[0]


def trainable(params: Params) -> Params:
    """What a learner differentiates: adapters and a value head where the tree has adapters, else the whole tree. `join` puts it back."""
    return split(params, (*LEAVES, *HEADS))[1] if split(params)[1] else params


def merge(params: Params, config: DecoderConfig) -> tuple[Params, DecoderConfig]:
    """(parameters with kernels W + scale * A B, config without lora): the same model to rounding, in the kernels' dtype.

    Raises ValueError where config.lora is None or the parameters hold no adapters.
    """
    if config.lora is None or not split(params)[1]:
        raise ValueError(f"lora.merge: model.lora is {config.lora}, allowed: a LoRA, and parameters that hold its adapters")

    def merged(path: tuple[str, ...], linear: Params) -> Params:
        kernel = linear["kernel"]
        wide = jnp.promote_types(jnp.promote_types(kernel.dtype, linear["lora_a"].dtype), jnp.float32)
        change = _product_of(config, path[-1], *(linear[leaf].astype(wide) for leaf in LEAVES)) * config.lora.scale
        rest = {name: value for name, value in linear.items() if name not in LEAVES}
        halves = _halves(config)[path[-1]]
        change = _spread(change, path[-1], halves, 1 + PROJECTIONS[path[-1]].inputs)
        return {**rest, "kernel": (kernel.astype(wide) + change).astype(kernel.dtype)}

    return _at_adapted(params, config, merged), dataclasses.replace(config, lora=None)


def _product_of(config: DecoderConfig, module: str, a: Array, b: Array) -> Array:
    """A B [layers, *inputs, (products), *outputs]."""
    inputs = "xy"[: PROJECTIONS[module].inputs]
    beside = "c" if _paired(module) else ""
    return jnp.einsum(f"l{inputs}{beside}r,l{beside}r...->l{inputs}{beside}...", a, b, precision=jax.lax.Precision.HIGHEST)


def _spread(y: Array, module: str, halves: tuple[int, ...], axis: int) -> Array:
    """Products of the chosen halves -> those of both, zero where none was chosen."""
    if len(halves) == len(PROJECTIONS[module].names):
        return y
    zeros = jnp.zeros_like(y)
    return jnp.concatenate([y, zeros] if halves == (0,) else [zeros, y], axis=axis)


def _halves(config: DecoderConfig) -> dict[str, tuple[int, ...]]:
    return chosen(config.lora, config.layers)


def _paired(module: str) -> bool:
    return len(PROJECTIONS[module].names) == 2


def _inputs(module: str, kernel: tuple[int, ...]) -> tuple[int, ...]:
    """Sizes of the input axes of a kernel [layers, *inputs, ...]."""
    return kernel[1 : 1 + PROJECTIONS[module].inputs]


def _shapes(config: DecoderConfig, module: str, kernel: tuple[int, ...]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Shapes of A and B beside a kernel."""
    inputs, rank = _inputs(module, kernel), config.lora.rank
    both = (len(_halves(config)[module]),) if _paired(module) else ()
    outputs = kernel[1 + len(inputs) + len(both) :]
    return (kernel[0], *inputs, *both, rank), (kernel[0], *both, rank, *outputs)


def _at_adapted(tree: Params, config: DecoderConfig, function: Callable[..., Params], path: tuple[str, ...] = ()) -> Params:
    """The tree with function(path, linear) in the place of every linear map that the targets choose."""
    if path and path[-1] in _halves(config) and "kernel" in tree:
        return function(path, tree)
    return {
        name: _at_adapted(value, config, function, (*path, name)) if isinstance(value, Mapping) else value for name, value in tree.items()
    }
