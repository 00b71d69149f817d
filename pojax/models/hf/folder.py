"""A folder of Hugging Face into arrays, and arrays into a folder."""

import dataclasses
import shutil
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import SingleDeviceSharding

from pojax.models.config import DecoderConfig
from pojax.models.decoder import Params, logical_axes
from pojax.models.hf import files
from pojax.models.hf.configs import CONFIG, FREQUENCIES, Fields, head_fields, is_reward, parse, read_config, structure, write_config
from pojax.models.hf.names import TOP, Tensor, shapes, tensors
from pojax.sharding import Layout

SHARD_BYTES = 5 * 2**30
TOKEN_KEYS = ("bos_token_id", "eos_token_id", "pad_token_id")
BESIDE = (  # files of a folder that go along with the weights
    *("tokenizer.json", "tokenizer.model", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "vocab.json"),
    *("merges.txt", "chat_template.jinja", "chat_template.json", "generation_config.json"),
)


def load(folder: str | Path, *, layout: Layout | None = None, **changes: Any) -> tuple[DecoderConfig, Params]:
    """The config of a folder (see `read_config`; changes as there) and its parameters, on the first device or sharded over `layout`.

    One tensor is in host memory at a time, beside the arrays themselves. output="scalar" takes the value vector from score.weight, or
    zeros where the folder holds a language model, whose unembedding is left out. lora: adapters are not made here (`lora.add`).
    Raises ValueError naming file and tensor for missing, unexpected and damaged tensors, other shapes, and NaN or infinite numbers.
    """
    folder = Path(folder)
    config = read_config(folder, **changes)
    bare = dataclasses.replace(config, lora=None)
    stored, wanted, tree = files.contents(folder), tensors(bare), shapes(bare)
    fields = files.read_json(folder / CONFIG)
    if config.output == "scalar" and not is_reward(fields):
        wanted = [tensor for tensor in wanted if tensor.path != ("value",)]
    _check_names(folder, config, stored, wanted)
    if layout is None:
        shardings = jax.tree.map(lambda _: SingleDeviceSharding(jax.devices()[0]), tree)
    else:
        shardings = layout.params(logical_axes(bare), tree)
    placed: dict[tuple[str, ...], jax.Array] = {}
    for tensor in wanted:
        leaf, sharding = _at(tree, tensor.path), _at(shardings, tensor.path)
        part = tensor.ours(stored[tensor.name].read())
        array = jax.make_array_from_callback(part.shape, sharding, partial(_piece, part, leaf.dtype))
        if tensor.size == leaf.shape:
            placed[tensor.path] = array
        else:
            stack = placed.get(tensor.path)
            stack = jnp.zeros(leaf.shape, leaf.dtype, device=sharding) if stack is None else stack
            place = jax.jit(_place, donate_argnums=0, out_shardings=sharding)
            placed[tensor.path] = place(stack, array, tuple(jnp.int32(begin) for begin in tensor.start))
        placed[tensor.path].block_until_ready()  # dispatch runs ahead, and would hold many tensors
        del part, array
    if ("value",) not in placed and config.output == "scalar":
        value = tree["value"]
        placed[("value",)] = jnp.zeros(value.shape, value.dtype, device=shardings["value"])
    return config, jax.tree_util.tree_map_with_path(lambda path, _: placed[tuple(key.key for key in path)], tree)


def _piece(part: np.ndarray, dtype: Any, index: tuple[slice, ...]) -> np.ndarray:
    return np.ascontiguousarray(part[index], dtype)


def _place(stack: jax.Array, part: jax.Array, start: tuple) -> jax.Array:
    return jax.lax.dynamic_update_slice(stack, part, start)


def _at(tree: Any, path: tuple[str, ...]) -> Any:
    for key in path:
        tree = tree[key]
    return tree


def _check_names(folder: Path, config: DecoderConfig, stored: Mapping[str, files.Stored], wanted: list[Tensor]) -> None:
    """ValueError unless the folder holds exactly what the config asks for, in these shapes."""
    for tensor in wanted:
        if tensor.name not in stored:
            hint = " (the folder holds a reward model: output='scalar')" if TOP[("value",)] in stored and config.output == "tokens" else ""
            raise ValueError(f"{folder}: tensor {tensor.name} is missing{hint}")
        if (found := stored[tensor.name]).shape != tensor.shape:
            raise ValueError(f"{found.file}: tensor {tensor.name} has shape {found.shape}, allowed: {tensor.shape}, by {CONFIG}")
    # A head that is tied, or not wanted, may be there all the same; old files hold the rotary frequencies.
    spare = {TOP[("unembedding",)]} if config.tie_embeddings or config.output == "scalar" else set()
    for name in sorted(set(stored) - {tensor.name for tensor in wanted} - spare):
        if not name.endswith(FREQUENCIES):
            raise ValueError(f"{stored[name].file}: tensor {name} is not among the {len(wanted)} tensors that {CONFIG} describes")


def save(
    folder: str | Path,
    config: DecoderConfig,
    params: Params,
    *,
    source: str | Path | None = None,
    dtype: str | None = None,
    shard_bytes: int = SHARD_BYTES,
) -> None:
    """Write config.json and safetensors (files of at most shard_bytes, with an index where there are several) that transformers loads.

    source: a folder whose tokenizer, chat template, generation config and token ids go along, and its config.json where it describes the
    same architecture. dtype: of the file, default that of each array. output "scalar" becomes ...ForSequenceClassification with one label.
    Raises ValueError for a folder that holds weights already, adapters that are not merged, arrays that do not fit config, other types
    than float32, float16 and bfloat16, NaN or infinite numbers, and architectures that transformers has not.
    """
    folder, bare = Path(folder), dataclasses.replace(config, lora=None)
    values = _config_json(bare, None if source is None else Path(source))
    items = _items(bare, params, dtype)
    if shard_bytes < 1:
        raise ValueError(f"shard_bytes is {shard_bytes}, allowed: at least 1")
    folder.mkdir(parents=True, exist_ok=True)
    if there := sorted(path.name for path in folder.iterdir() if path.suffix in (".safetensors", ".bin") or path.name == files.INDEX):
        raise ValueError(f"{folder}: holds {there[0]}, allowed: a folder without weights")
    files.write(folder, items, shard_bytes)
    for name in BESIDE if source is not None else ():
        file = Path(source or ".") / name
        if file.is_file():
            shutil.copyfile(file, folder / name)
    dtypes = {str(item.dtype) for item in items}
    values["torch_dtype" if "torch_dtype" in values else "dtype"] = str(jnp.result_type(*dtypes))
    files.write_json(folder / CONFIG, values)  # last: a folder without it was not written to its end


def _items(config: DecoderConfig, params: Params, dtype: str | None) -> list[files.Item]:
    """What to write, in transformers' order; a leaf's part is fetched from the devices when it is written."""
    found = {tuple(key.key for key in path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(params)}
    expected = {tuple(key.key for key in path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(shapes(config))}
    if adapters := [path for path in found if path[-1].startswith("lora_")]:
        raise ValueError(f"params hold adapters ({'/'.join(adapters[0])}), allowed: merged parameters (pojax.models.lora.merge)")
    for path in {**expected, **found}:
        if path not in found or path not in expected or found[path].shape != expected[path].shape:
            shape = found[path].shape if path in found else "missing"
            allowed = expected[path].shape if path in expected else "not there"
            raise ValueError(f"params: {'/'.join(path)} is {shape}, allowed by config: {allowed}")
    items = []
    for tensor in tensors(config):
        leaf = found[tensor.path]
        kind = np.dtype(jnp.dtype(leaf.dtype if dtype is None else dtype))
        if kind not in files.TYPES.values():
            raise ValueError(f"params: {'/'.join(tensor.path)} would be written as {kind}, allowed: float32, float16, bfloat16")
        items.append(files.Item(tensor.name, tensor.shape, kind, _fetch(tensor, leaf)))
    return items


def _fetch(tensor: Tensor, leaf: Any) -> Callable[[], np.ndarray]:
    if isinstance(leaf, np.ndarray):
        return lambda: tensor.theirs(leaf[tensor.part()])
    # Traced starts: one small program per leaf, not one per layer.
    return lambda: tensor.theirs(np.asarray(_take(leaf, tuple(jnp.int32(begin) for begin in tensor.start), tensor.size)))


@partial(jax.jit, static_argnums=2)
def _take(leaf: jax.Array, start: tuple, size: tuple[int, ...]) -> jax.Array:
    return jax.lax.dynamic_slice(leaf, start, size)


def _config_json(config: DecoderConfig, source: Path | None) -> dict[str, Any]:
    ours = write_config(config)
    if source is None or not (source / CONFIG).is_file():
        return ours
    fields = Fields(source / CONFIG, files.read_json(source / CONFIG))
    if structure(parse(fields)) != structure(config):
        return ours | {key: fields[key] for key in TOKEN_KEYS if key in fields}
    heads = {"architectures", "id2label", "label2id", "num_labels", "problem_type"}
    return {key: value for key, value in fields.items() if key not in heads} | head_fields(fields["model_type"], config.output)
