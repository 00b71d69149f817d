"""What `config.model.folder`, a folder of Hugging Face, brings to a run: shape, weights, and a record of which folder it was."""

import dataclasses
import hashlib
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

from pojax import models
from pojax.binding import ConfigError, is_entry
from pojax.models import hf
from pojax.sharding import Layout

APPLIED = ("context", "dtype", "param_dtype", "remat", "unroll", "lora")  # what a config still decides beside a folder
EDGE = 2**16  # bytes


def folder_of(tree: Mapping[str, Any]) -> str | None:
    """`config.model.folder`; ConfigError where there is no such folder."""
    folder = tree["model"][1].get("folder")
    if folder is None:
        return None
    return checked(folder, "model.folder")


def checked(folder: Any, where: str) -> str:
    """The folder, if it can hold a model; ConfigError, naming `where` it was given, for one that is not there or holds adapters alone."""
    if not isinstance(folder, str) or not pathlib.Path(folder).is_dir():
        raise ConfigError(f"{where}: found {folder!r}, allowed: a folder with config.json and *.safetensors")
    if (pathlib.Path(folder) / "adapter_config.json").is_file() and not (pathlib.Path(folder) / "config.json").is_file():
        raise ConfigError(f"{where}: {folder} holds adapters alone, allowed: a whole model (python -m pojax.export --merge writes one)")
    return folder


def shape_of(folder: str, described: models.DecoderConfig | None, keywords: Mapping[str, Any], say: Callable[[str], None]) -> Any:
    """The DecoderConfig of a folder with the keywords of `config.model` that apply beside it.

    described: the shape that the config's own sizes give; where it differs, one line says so, and the folder's counts.
    ConfigError for a context beyond the folder's, ValueError for a config.json that cannot be read.
    """
    changes = {"param_dtype": "float32"} | {name: keywords[name] for name in APPLIED if name in keywords}
    wanted = changes.pop("context", None)
    shape = hf.read_config(folder, **changes)
    if wanted is not None:
        if wanted > shape.context:
            raise ConfigError(f"model.context: found {wanted}, allowed: at most {shape.context}, the context of {folder}")
        shape = dataclasses.replace(shape, context=wanted)
    if described is not None:
        fields = [f.name for f in dataclasses.fields(shape) if f.name not in APPLIED]
        other = [name for name in fields if getattr(shape, name) != getattr(described, name)]
        if other:
            said = ", ".join(f"{name} {getattr(shape, name)} for {getattr(described, name)}" for name in other)
            say(f"model.folder: {folder} differs from the sizes of the config, and counts: {said}")
    return shape


def dtype_of(folder: str, where: str = "model.folder") -> str:
    """The type in which a folder keeps its weights; `where` as in `checked`."""
    checked(folder, where)
    return hf.read_config(folder).param_dtype


def load_params(folder: str, shape: models.DecoderConfig, layout: Layout) -> Any:
    """The folder's weights as the parameters of a policy of this shape, without adapters, in its param_dtype and on its mesh."""
    changes = {name: getattr(shape, name) for name in APPLIED if name != "lora"}
    return hf.load(folder, layout=layout, **changes)[1]


def task_entry(task: Any, folder: str, takes: Callable[[str], bool]) -> Any:
    """A task's entry whose tokenizer, if none is named, is the folder's; a task inside a task likewise.

    takes(name): whether a task has the keyword `tokenizer`.
    """
    name, keywords = task
    if "task" in keywords and is_entry(keywords["task"]):
        keywords = {**keywords, "task": task_entry(keywords["task"], folder, takes)}
    if takes(name) and keywords.get("tokenizer") is None:
        keywords = {**keywords, "tokenizer": folder}
    return (name, keywords)


def fingerprint(folder: str) -> str:
    """sha256 of config.json and, of every weights file, of its name, its size and its first and last 64 KB: enough to tell models apart."""
    digest = hashlib.sha256()
    files = sorted(pathlib.Path(folder).glob("*.safetensors"))
    for file in (pathlib.Path(folder) / "config.json", *files):
        size = file.stat().st_size
        digest.update(f"{file.name}\0{size}\0".encode())
        with file.open("rb") as stream:
            digest.update(stream.read(EDGE))
            stream.seek(max(EDGE, size - EDGE))
            digest.update(stream.read(EDGE))
    return digest.hexdigest()


def record(tree: Mapping[str, Any]) -> dict[str, str] | None:
    """What a run writes down about its folder, so that it never goes on with another one; None for models that came from none."""
    folder = folder_of(tree)
    return None if folder is None else {"folder": folder, "sha256": fingerprint(folder)}
