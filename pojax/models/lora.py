"""Low-rank adapters (LoRA, arXiv 2106.09685) as leaves of the parameter tree, beside the kernels that they change.

y = x W + scale * (x A) B. Beside a kernel [layers, *inputs, *outputs], `lora_a` is [layers, *inputs, rank] and `lora_b` is
[layers, rank, *outputs]; one that holds two products, [layers, *inputs, 2, *outputs], has adapters for each, or for the one that the
targets choose: [layers, *inputs, 1 or 2, rank] and [layers, 1 or 2, rank, *outputs].

A learner differentiates, optimises and copies adapters alone (`trainable`); of a value role its head, too, which begins at 0. A copy such
as `ref` is the base with the adapters of the moment when it was made: the base alone while they are fresh, the warm-started policy after a
warm start. Checkpoints hold the whole tree, so that a run needs nothing else to go on to the same bits; `save_peft` writes adapters alone.
"""

import dataclasses
import math
import re
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Key

from pojax.models.config import DecoderConfig
from pojax.models.targets import PROJECTIONS, LoRA, chosen

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
    base: Params = {}
    part: Params = {}
    for name, value in params.items():
        if isinstance(value, Mapping):
            base[name], inside = split(dict(value), leaves)
            part |= {name: inside} if inside else {}
        else:
            (part if name in leaves else base)[name] = value
    return base, part


def join(base: Params, part: Params) -> Params:
    """The base with every leaf of `part` in the place of its own, or beside them; with a whole tree, that tree."""
    together = {
        name: join(base[name], dict(value)) if isinstance(value, Mapping) and name in base else value for name, value in part.items()
    }
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
        kernel = jnp.asarray(linear["kernel"])
        wide = jnp.promote_types(jnp.promote_types(kernel.dtype, linear["lora_a"].dtype), jnp.float32)
        change = _product_of(config, path[-1], *(jnp.asarray(linear[leaf], wide) for leaf in LEAVES)) * config.lora.scale
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
        name: _at_adapted(dict(value), config, function, (*path, name)) if isinstance(value, Mapping) else value
        for name, value in tree.items()
    }


# -- PEFT's folders ---------------------------------------------------------------------------------------------------------------

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
TENSOR = re.compile(r"base_model\.model\.(?P<module>.+)\.lora_(?P<side>[AB])\.weight")
# Fields of adapter_config.json that say nothing about what saved adapters compute, or whose effect shows in the tensors.
IGNORED = (
    *("auto_mapping", "base_model_name_or_path", "revision", "inference_mode", "lora_dropout", "peft_version", "task_type"),
    *("target_modules", "exclude_modules", "layers_to_transform", "layers_pattern", "megatron_core", "qalora_group_size"),
    *("eva_config", "loftq_config", "ensure_weight_tying", "init_lora_weights"),
)
STARTS = (None, True, False, "gaussian", "eva", "orthogonal")  # initialisations that leave the base as it is


def save_peft(folder: str | Path, params: Params, config: DecoderConfig, *, base: str | Path | None = None) -> None:
    """Write the adapters as adapter_config.json and adapter_model.safetensors, for `peft.PeftModel.from_pretrained`.

    base: name or folder of the model that they belong to, written down for the reader.
    Raises ValueError where config.lora is None, for parameters without its adapters, other outputs than "tokens", storage that is not
    float32, float16 or bfloat16, NaN or infinite numbers, and a folder that holds adapters already.
    """
    from pojax.models.hf import files  # reads and writes models, which hold adapters: imported when it is needed

    folder = Path(folder)
    if config.lora is None or not split(params)[1]:
        raise ValueError(f"{folder}: model.lora is {config.lora}, allowed: a LoRA, and parameters that hold its adapters")
    if config.output != "tokens":
        raise ValueError(f"{folder}: model.output is {config.output!r}, allowed for adapters of PEFT: 'tokens'")
    items = []
    for name, path, part, shape in _peft_tensors(config):
        leaf: Any = params
        for key in path:
            leaf = leaf[key]
        if leaf.dtype not in files.TYPES.values():
            raise ValueError(f"{folder}: {'/'.join(path)} is {leaf.dtype}, allowed: float32, float16, bfloat16")
        take = lambda leaf=leaf, part=part, shape=shape: np.asarray(leaf[part]).reshape(shape[::-1]).T  # noqa: E731
        items.append(files.Item(name, shape, np.dtype(leaf.dtype), take))
    folder.mkdir(parents=True, exist_ok=True)
    if (folder / WEIGHTS).exists():
        raise ValueError(f"{folder}: holds {WEIGHTS}, allowed: a folder without adapters")
    files.write_file(folder / WEIGHTS, items)
    modules = [PROJECTIONS[module].names[half] for module, halves in _halves(config).items() for half in halves]
    values = dict(
        peft_type="LORA", task_type="CAUSAL_LM", base_model_name_or_path=None if base is None else str(base), inference_mode=True,
        r=config.lora.rank, lora_alpha=config.lora.alpha, use_rslora=config.lora.rs, lora_dropout=0.0, bias="none", fan_in_fan_out=False,
        target_modules=sorted(name.rpartition(".")[2] for name in modules), modules_to_save=None, init_lora_weights=True,
    )  # fmt: skip
    files.write_json(folder / CONFIG, values)  # last: a folder without it was not written to its end


def load_peft(folder: str | Path, params: Params, config: DecoderConfig, *, dtype: str = "float32") -> tuple[Params, DecoderConfig]:
    """(parameters, config) with the adapters of a PEFT folder, stored in `dtype`, in the place of those that they may have.

    The targets are those that the folder holds tensors of. Raises ValueError naming file and tensor, or file and field, for what is
    missing, damaged or of another shape, and for what is no LoRA of linear maps: modules_to_save, DoRA, biases, ranks by pattern, ...
    """
    from pojax.models.hf import files

    folder = Path(folder)
    settings = _peft_settings(folder / CONFIG, files.read_json(folder / CONFIG))
    if not (folder / WEIGHTS).is_file():
        raise ValueError(f"{folder / WEIGHTS}: no such file, allowed: adapters as safetensors (other formats may hold code)")
    stored = files.header(folder / WEIGHTS)
    below = {name.rpartition(".")[2]: name for projection in PROJECTIONS.values() for name in projection.names}
    targets = set()
    for name in stored:
        match = TENSOR.fullmatch(name)
        module = match["module"] if match else ""
        target = module.rpartition(".")[2]
        if target not in below or not module.endswith(f".{below[target]}"):
            raise ValueError(f"{folder / WEIGHTS}: tensor {name} is no lora_A or lora_B of a linear map, allowed: {', '.join(below)}")
        targets.add(target)
    try:
        lora = LoRA(targets=tuple(target for target in below if target in targets), dtype=dtype, **settings)
        config = dataclasses.replace(config, lora=lora)
    except ValueError as error:
        raise ValueError(f"{folder / CONFIG}: {error}") from error
    base = off(params)
    shapes = split(jax.eval_shape(lambda: add(base, config, jax.random.key(0))))[1]
    found = jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), shapes)
    wanted = list(_peft_tensors(config))
    for name, path, part, shape in wanted:
        if name not in stored:
            raise ValueError(f"{folder / WEIGHTS}: tensor {name} is missing")
        if stored[name].shape != shape:
            raise ValueError(f"{folder / WEIGHTS}: tensor {name} has shape {stored[name].shape}, allowed: {shape}")
        leaf: Any = found
        for key in path:
            leaf = leaf[key]
        leaf[part] = stored[name].read().T.reshape(leaf[part].shape)
    if more := sorted(set(stored) - {name for name, *_ in wanted}):
        raise ValueError(f"{folder / WEIGHTS}: tensor {more[0]} belongs to no layer of the model, which has {config.layers}")
    return join(base, jax.tree.map(jnp.asarray, found)), config


def _peft_settings(file: Path, values: Mapping[str, Any]) -> dict[str, Any]:
    """Rank, alpha and rs of an adapter_config.json; ValueError naming the field for what is not supported."""
    for key, allowed in (("peft_type", ("LORA",)), ("bias", ("none", None)), ("init_lora_weights", STARTS)):
        if values.get(key) not in allowed:
            raise ValueError(f"{file}: {key} is {values.get(key)!r}, allowed: {', '.join(map(repr, allowed))}")
    used = {"r": "rank", "lora_alpha": "alpha", "use_rslora": "rs"}
    for key, value in values.items():
        if value and key not in (*IGNORED, *used, "peft_type", "bias"):
            raise ValueError(f"{file}: {key} is {value!r}, which is not supported; allowed: plain LoRA of linear maps")
    if "r" not in values or "lora_alpha" not in values:
        raise ValueError(f"{file}: {'lora_alpha' if 'r' in values else 'r'} is missing")
    return {ours: values[theirs] for theirs, ours in used.items() if values.get(theirs) is not None}


def _peft_tensors(config: DecoderConfig) -> Iterator[tuple[str, tuple[str, ...], tuple[Any, ...], tuple[int, int]]]:
    """(PEFT's name, path of our leaf, index of the part in it, their shape) of every A [rank, inputs] and B [outputs, rank]."""
    from pojax.models.hf import names

    for tensor in names.tensors(dataclasses.replace(config, lora=None)):
        module = tensor.path[-2] if len(tensor.path) > 1 else ""
        if tensor.path[-1] != "kernel" or module not in _halves(config):
            continue
        inputs, repeat = PROJECTIONS[module].inputs, tensor.start[0]
        half: tuple[int, ...] = ()
        if _paired(module):
            if (entry := tensor.start[1 + inputs]) not in _halves(config)[module]:
                continue
            half = (_halves(config)[module].index(entry),)
        name = f"base_model.model.{tensor.name.removesuffix('.weight')}"
        every = (slice(None),) * inputs
        outer, inner = tensor.shape
        yield f"{name}.lora_A.weight", (*tensor.path[:-1], "lora_a"), (repeat, *every, *half), (config.lora.rank, inner)
        yield f"{name}.lora_B.weight", (*tensor.path[:-1], "lora_b"), (repeat, *half), (outer, config.lora.rank)
