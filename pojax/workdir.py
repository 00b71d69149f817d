"""The folder of a run: its config, and small JSON files written whole or not at all."""

import json
import os
import pathlib
from collections.abc import Callable
from typing import Any

from pojax import __version__, checkpointing, environment, pretrained
from pojax import config as configs
from pojax.binding import ConfigError
from pojax.build import Job
from pojax.models import lora

RECORD = "config.json"  # of a workdir: version, config, tokenizer, folder of the model
ENVIRONMENT = "environment.json"  # where the run was last started


def write_json(path: pathlib.Path, value: Any, indent: int | None = 1) -> None:
    """Write through a temporary file, so that a reader never sees half of it. OSError names the file."""
    temporary = path.with_suffix(f".tmp{os.getpid()}")
    try:
        temporary.write_text(json.dumps(value, indent=indent, sort_keys=True) + "\n")
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


def open_workdir(workdir: str | os.PathLike, job: Job) -> pathlib.Path:
    """Make the folder, or check that it belongs to this config and tokenizer: only keys under `run` may differ. Writes no file.

    ConfigError lists the differing keys; OSError where the folder cannot be made.
    """
    folder = pathlib.Path(workdir)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OSError(f"--workdir={workdir}: cannot be made ({error.strerror or error})") from error
    stored = read_json(folder / RECORD)
    if stored is None:
        return folder
    ours = configs.to_json(job.config)
    keys = [k for k in configs.differing(stored["config"], ours) if k.split(".")[0] != "run"]
    if keys:
        shown = "; ".join(f"{k}: {value_at(stored['config'], k)} there, {value_at(ours, k)} here" for k in keys[:5])
        more = f" and {len(keys) - 5} more" if len(keys) > 5 else ""
        raise ConfigError(f"--workdir={workdir}: made by another config ({shown}{more}); only keys under run may change")
    if stored["pojax"] != __version__:
        raise ConfigError(f"--workdir={workdir}: made by pojax {stored['pojax']}, this is {__version__}")
    _check_tokenizer(f"--workdir={workdir}", stored, job)
    if stored.get("model") != pretrained.record(job.config):
        raise ConfigError(f"--workdir={workdir}: began with another model in {stored['model']['folder']} than what is there now; "
                          "allowed: the same config.json and weights")  # fmt: skip
    return folder


def claim_workdir(folder: pathlib.Path, job: Job, writer: bool = True) -> None:
    """Write the config and the tokenizer of a run that can start. writer: whether this process writes (one of several does)."""
    if writer:
        job.tasks["train"].tokenizer.save(folder / "tokenizer")
        model = pretrained.record(job.config)
        record = {"pojax": __version__, "config": configs.to_json(job.config), "tokenizer": _tokenizer(job)}
        write_json(folder / RECORD, record | ({} if model is None else {"model": model}))
        write_json(folder / ENVIRONMENT, environment.versions_and_features() | {"git": environment.checkout()})


def check_init_from(job: Job) -> pathlib.Path:
    """The workdir that `init_from` names; ConfigError unless it is a run whose tokenizer is that of this job."""
    folder = pathlib.Path(job.config["init_from"])
    stored = read_json(folder / RECORD)
    if stored is None:
        raise ConfigError(f"init_from: {folder} holds no {RECORD}, allowed: the workdir of a run")
    _check_tokenizer(f"init_from: {folder}", stored, job)
    return folder


def load_init_from(job: Job, say: Callable[[str], None]) -> Any:
    """{role: parameters} of the newest checkpoint of the run that `init_from` names; their base alone where only this run has adapters.

    ConfigError for a folder that is no run, and for parameters of another model.
    """
    folder = check_init_from(job)
    there = read_json(folder / RECORD)["config"]["model"][1].get("lora")  # type: ignore[index]
    fresh = there is None and job.model["policy"].lora is not None
    target = {role: lora.off(tree) for role, tree in job.abstract.params.items()} if fresh else job.abstract.params
    try:
        return checkpointing.load_params(folder / "checkpoints", target, say=say)
    except ValueError as error:
        raise ConfigError(f"init_from: {error}") from error


def _check_tokenizer(where: str, stored: dict[str, Any], job: Job) -> None:
    """Token 7 of one vocabulary is another text in another, even where both have the same size."""
    there, here = stored["tokenizer"], _tokenizer(job)
    if there != here:
        sizes = " and ".join(f"{t['tokens']} tokens (sha256 {t['sha256'][:8]})" for t in (there, here))
        raise ConfigError(f"{where}: its tokenizer and that of the task differ: {sizes}; allowed: the same vocabulary")


def _tokenizer(job: Job) -> dict[str, Any]:
    tokenizer = job.tasks["train"].tokenizer
    return {"tokens": tokenizer.vocab_size, "sha256": tokenizer.fingerprint()}


def value_at(tree: Any, path: str) -> str:
    """What stands at a path of `configs.differing`, as JSON; "absent" where nothing does."""
    for part in path.split("."):
        if isinstance(tree, dict):
            tree = tree.get(part, "absent")
        elif isinstance(tree, list) and part.isdigit() and int(part) < len(tree):
            tree = tree[int(part)]
    return json.dumps(tree)
