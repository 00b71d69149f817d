"""The folder of a run: its config, and small JSON files written whole or not at all."""

import json
import os
import pathlib
from typing import Any

from pojax import __version__
from pojax import config as configs
from pojax.binding import ConfigError


def write_json(path: pathlib.Path, value: Any) -> None:
    """Write through a temporary file, so that a reader never sees half of it. OSError names the file."""
    temporary = path.with_suffix(f".tmp{os.getpid()}")
    try:
        temporary.write_text(json.dumps(value, indent=1, sort_keys=True) + "\n")
        temporary.replace(path)
    except OSError as error:
        raise OSError(f"{path}: cannot be written ({error.strerror or error}); nothing else was changed") from error


def read_json(path: pathlib.Path) -> Any | None:
    """The value, or None where there is no such file; ValueError naming the file where it is not JSON."""
    if not path.is_file():
        return None
    try:
        return json.loads(path.read_text())
    except json.JSONDecodeError as error:
        raise ValueError(f"{path}:{error.lineno}: not JSON ({error.msg})") from error


def open_workdir(workdir: str | os.PathLike, config: dict[str, Any], writer: bool = True) -> pathlib.Path:
    """Make the folder, or check that it belongs to this config: only keys under `run` may differ.

    ConfigError lists the differing keys; OSError where the folder cannot be written. writer: whether this process writes (one of several does).
    """
    folder = pathlib.Path(workdir)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OSError(f"--workdir={workdir}: cannot be made ({error.strerror or error})") from error
    ours = configs.to_json(config)
    stored = read_json(folder / "config.json")
    if stored is not None:
        keys = [k for k in configs.differing(stored["config"], ours) if k.split(".")[0] != "run"]
        if keys:
            shown = "; ".join(f"{k}: {_at(stored['config'], k)} there, {_at(ours, k)} here" for k in keys[:5])
            more = f" and {len(keys) - 5} more" if len(keys) > 5 else ""
            raise ConfigError(f"--workdir={workdir}: made by another config ({shown}{more}); only keys under run may change")
        if stored["pojax"] != __version__:
            raise ConfigError(f"--workdir={workdir}: made by pojax {stored['pojax']}, this is {__version__}")
    if writer:
        write_json(folder / "config.json", {"pojax": __version__, "config": ours})
    return folder


def _at(tree: Any, path: str) -> str:
    for part in path.split("."):
        if isinstance(tree, dict):
            tree = tree.get(part, "absent")
        elif isinstance(tree, list) and part.isdigit() and int(part) < len(tree):
            tree = tree[int(part)]
    return json.dumps(tree)
