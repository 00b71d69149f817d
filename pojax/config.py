"""Configs: loading a file, one path grammar for overrides, and the check of everything outside `method`.

A path is dotted: `run.steps`, `method.losses.ppo_clip.epsilon`, `task.digits`. In a list a position is its function's name, or its index
where the name is not unique; in an entry `(name, dict)` a part is a keyword of the function (or the function's name itself, passed over).
"""

import ast
import copy
import importlib.util
import json
import pathlib
import sys
import traceback
from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from pojax.binding import ConfigError, is_entry, near
from pojax.checks import in_range

# Keys outside `method`, their types and what they mean. An entry is `(name, dict)`.
KEYS: dict[str, tuple[tuple[type, ...], str]] = {
    "seed": ((int,), "seed of the whole run"),
    "task": ((tuple, list), "entry: the task"),
    "model": ((tuple, list), "entry: the architecture and its sizes"),
    "batch_prompts": ((int,), "P, prompts of an iteration"),
    "prompt_tokens": ((int,), "S, longest prompt"),
    "response_tokens": ((int,), "T, longest response"),
    "drop_long_prompts": ((bool,), "leave out (and count) prompts over prompt_tokens instead of refusing them"),
    "sampling": ((dict,), "top_k, top_p, min_p of the training samples, processor"),
    "optimizer": ((tuple, list), "entry: the optimiser of updates that name none"),
    "method": ((dict,), "the method"),
    "warm_start": ((dict, type(None)), "method, steps, batch_prompts, optimizer of the supervised phase before"),
    "evaluation": ((dict,), "problems, samples, validation_problems; turns and action_tokens of tasks with an environment"),
    "mesh": ((dict,), "devices along data, fsdp, tensor; -1 = all that are left"),
    "init_from": ((str, type(None)), "workdir of another run whose parameters to start from"),
    "run": ((dict,), "what may change when a run goes on: steps, intervals, outputs"),
}
OPTIONAL_KEYS: dict[str, tuple[tuple[type, ...], str]] = {
    "micro_rows": ((int,), "most rows of a micro-batch of updates whose method gives no number of micro-batches"),
    "reward_models": ((dict, type(None)), "frozen reward models: {component: dict(folder, dtype, param_dtype, rows)}"),
}
RUN_KEYS: dict[str, tuple[type, ...]] = {
    "steps": (int,),
    "checkpoint_every": (int,),
    "keep": (int,),
    "eval_every": (int,),
    "log_samples_every": (int,),
    "diagnostics": (bool,),
    "tensorboard": (bool,),
    "wandb": (str, type(None)),
}
SUB_KEYS: dict[str, dict[str, tuple[type, ...]]] = {
    "run": RUN_KEYS,
    "sampling": {"top_k": (int,), "top_p": (float, int), "min_p": (float, int), "processor": (str, tuple, list, type(None))},
    "evaluation": {"problems": (int,), "samples": (int,), "validation_problems": (int,), "turns": (int,), "action_tokens": (int,)},
    "mesh": {"data": (int,), "fsdp": (int,), "tensor": (int,)},
    "warm_start": {"method": (dict,), "steps": (int,), "batch_prompts": (int,), "optimizer": (tuple, list)},
}
OPTIONAL = {"warm_start": ("batch_prompts", "optimizer"), "evaluation": ("turns", "action_tokens")}


def load(spec: str) -> ConfigDict:
    """The config of `path/to/file.py` or `path/to/file.py:preset`; the file defines `get_config(preset)`."""
    path, _, preset = spec.partition(":")
    file = pathlib.Path(path)
    if not file.is_file():
        raise ConfigError(f"--config={spec}: no such file {path}")
    module_spec = importlib.util.spec_from_file_location(f"_config_{file.stem}", file)
    assert module_spec is not None and module_spec.loader is not None
    module = importlib.util.module_from_spec(module_spec)
    for folder in (file.resolve().parent.parent, pathlib.Path.cwd()):  # where `configs.common` and the user's own modules are found
        if str(folder) not in sys.path:
            sys.path.append(str(folder))
    try:
        module_spec.loader.exec_module(module)
        if not hasattr(module, "get_config"):
            raise ConfigError(f"{path}: defines no get_config(preset='tiny')")
        return module.get_config(preset) if preset else module.get_config()
    except SyntaxError as error:
        raise ConfigError(f"{error.filename}:{error.lineno}: {error.msg}") from error
    except (ValueError, OSError):
        raise  # says itself what is wrong
    except Exception as error:
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(file)]
        raise ConfigError(f"{path}:{lines[-1] if lines else '?'}: {type(error).__name__}: {error}") from error


def plain(value: Any) -> Any:
    """A deep copy in plain dicts, lists and tuples (ConfigDict copies share the dicts inside entries)."""
    if isinstance(value, Mapping | ConfigDict):
        return {k: plain(v) for k, v in value.items()}
    if is_entry(value):
        return (value[0], plain(value[1]))
    if isinstance(value, list | tuple):
        return type(value)(plain(v) for v in value)
    return copy.deepcopy(value)


def to_json(config: Any) -> Any:
    """The config as JSON gives it back: tuples as lists, keys sorted by the writer."""
    return json.loads(json.dumps(plain(config)))


def override(config: Any, changes: Mapping[str, Any]) -> ConfigDict:
    """A deep copy of the config with dotted paths set; ConfigError with the nearest names for a path that leads nowhere.

    A keyword of a named function may be set whether or not the config spells it out (the binder checks that the function has it);
    a string put in the place of an entry replaces the function's name and keeps the keywords; an entry replaces both.
    """
    tree = plain(config)
    for path, value in changes.items():
        tree = _set(tree, path.split("."), plain(value), path)
    return ConfigDict(tree, convert_dict=True)


def _set(node: Any, parts: list[str], value: Any, path: str) -> Any:
    if not parts:
        if is_entry(node) and isinstance(value, str):
            return (value, node[1])
        return value
    head, rest = _next_part(node, parts)
    if is_entry(node):
        name, keywords = node
        if head == name and head not in keywords:
            return _set(node, rest, value, path) if not rest else (name, _set(keywords, rest, value, path))
        return (name, _set(keywords, parts, value, path) if head in keywords or rest else keywords | {head: value})
    if isinstance(node, dict):
        optional = METHOD_OPTIONAL if "losses" in node or "updates" in node else tuple(OPTIONAL_KEYS) if "method" in node else ()
        if head not in node and not (head in optional and not rest):
            raise ConfigError(f"{path}: no key {head!r}; {near(head, [*node, *optional])}")
        return node | {head: _set(node.get(head), rest, value, path)}
    if isinstance(node, list | tuple):
        at = _position(node, head, path)
        return type(node)([*node[:at], _set(node[at], rest, value, path), *node[at + 1 :]])
    raise ConfigError(f"{path}: {head!r} leads nowhere: what stands there is {node!r}")


def _next_part(node: Any, parts: list[str]) -> tuple[str, list[str]]:
    """The first part and the rest; the name of a user's own function, `package.module:function`, is one part although it holds dots."""
    functions = [e[0] for e in ([node] if is_entry(node) else node if isinstance(node, list | tuple) else []) if is_entry(e)]
    length = next((k for k in range(len(parts), 1, -1) if ".".join(parts[:k]) in functions), 1)
    return ".".join(parts[:length]), parts[length:]


METHOD_OPTIONAL = (
    *("curricula", "rewards", "advantages", "per_minibatch", "losses", "aggregate", "optimizer", "trackers", "copies", "heads", "views"),
    *("epochs", "minibatches", "microbatches", "every", "after", "trains", "name", "updates", "family"),
)


def _position(entries: list[Any] | tuple[Any, ...], part: str, path: str) -> int:
    names = [e[0] if is_entry(e) else e.get("name") if isinstance(e, dict) else None for e in entries]
    if part.isdigit() and int(part) < len(entries):
        return int(part)
    if names.count(part) == 1:
        return names.index(part)
    if part in names:
        raise ConfigError(f"{path}: {part!r} stands {names.count(part)} times in the list; write its index (0 to {len(entries) - 1})")
    raise ConfigError(f"{path}: no entry {part!r} in the list; {near(part, [n for n in names if n])}, or an index")


def parse_value(text: str) -> Any:
    """A Python literal, or the text itself."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return {"true": True, "false": False}.get(text, text)


def validate(config: Any) -> dict[str, Any]:
    """The config in plain types with every key outside `method` checked; ConfigError names key, found and allowed."""
    tree = plain(config)
    for key in tree:
        if key not in KEYS | OPTIONAL_KEYS:
            raise ConfigError(f"{key}: unknown config key; {near(key, KEYS | OPTIONAL_KEYS)}")
    for key, (types, meaning) in (KEYS | {key: value for key, value in OPTIONAL_KEYS.items() if key in tree}).items():
        if key not in tree:
            raise ConfigError(f"{key}: missing from the config ({meaning})")
        _check_type(key, tree[key], types)
        if key in ("task", "model", "optimizer") and not is_entry(tree[key]):
            raise ConfigError(f"{key}: found {tree[key]!r}, allowed: an entry (name, dict)")
    for group, keys in SUB_KEYS.items():
        for key, value in (tree[group] or {}).items():
            if key not in keys:
                raise ConfigError(f"{group}.{key}: unknown config key; {near(key, keys)}")
            _check_type(f"{group}.{key}", value, keys[key])
        optional = OPTIONAL.get(group, ())
        missing = [k for k in keys if tree[group] is not None and k not in tree[group] and k not in optional]
        if missing:
            raise ConfigError(f"{group}.{missing[0]}: missing from the config")
    for key in ("batch_prompts", "prompt_tokens", "response_tokens", "micro_rows"):
        _check_at_least(key, tree.get(key, 1), 1)
    for key in ("steps", "checkpoint_every", "keep", "eval_every", "log_samples_every"):
        _check_at_least(f"run.{key}", tree["run"][key], 1 if key == "keep" else 0)
    for key, value in tree["evaluation"].items():
        _check_at_least(f"evaluation.{key}", value, 0 if key == "validation_problems" else 1)
    if tree["warm_start"] is not None:
        _check_at_least("warm_start.steps", tree["warm_start"]["steps"], 0)
        _check_at_least("warm_start.batch_prompts", tree["warm_start"].get("batch_prompts", 1), 1)
    for key, allowed in (("top_k", "[0, inf)"), ("top_p", "(0, 1]"), ("min_p", "[0, 1]")):
        if not in_range(tree["sampling"][key], allowed):
            raise ConfigError(f"sampling.{key}: found {tree['sampling'][key]}, allowed: {allowed}")
    return tree


def _check_type(path: str, value: Any, types: tuple[type, ...]) -> None:
    if not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
        allowed = " or ".join("None" if t is type(None) else t.__name__ for t in types)
        raise ConfigError(f"{path}: found {value!r} ({type(value).__name__}), allowed: {allowed}")


def _check_at_least(path: str, value: int, low: int) -> None:
    if value < low:
        raise ConfigError(f"{path}: found {value}, allowed: {low} or more")


def differing(a: Any, b: Any, path: str = "") -> list[str]:
    """Dotted paths at which two plain configs differ."""
    if isinstance(a, dict) and isinstance(b, dict):
        keys = sorted({*a, *b})
        return [d for k in keys for d in (differing(a[k], b[k], f"{path}{k}.") if k in a and k in b else [f"{path}{k}"])]
    if isinstance(a, list) and isinstance(b, list) and len(a) == len(b):
        return [d for i, (x, y) in enumerate(zip(a, b, strict=True)) for d in differing(x, y, f"{path}{i}.")]
    return [] if a == b else [path.rstrip(".")]
