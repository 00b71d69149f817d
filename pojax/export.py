"""The model of a run as a folder of Hugging Face: `python -m pojax.export --workdir=... --out=FOLDER [--merge] [--dtype=float32]`."""

import dataclasses
import functools
import json
import pathlib
import shutil
import sys
from collections.abc import Callable
from typing import Any

import jax

from pojax import checkpointing, commands, models, pretrained
from pojax import config as configs
from pojax.binding import ConfigError
from pojax.build import Subject, subject
from pojax.models import hf, lora
from pojax.tasks.hf_tokenizer import HuggingFace
from pojax.tasks.tokenizers import load as load_tokenizer
from pojax.workdir import RECORD, read_json

USAGE = "export --workdir=... --out=FOLDER [--merge] [--dtype=float32]"


def main(argv: list[str] | None = None) -> int:
    def body() -> None:
        given = commands.options(sys.argv[1:] if argv is None else argv, ("workdir", "out", "dtype"), USAGE, switches=("merge",))
        for name in ("workdir", "out"):
            if name not in given:
                raise ConfigError(f"--{name} is missing; usage: python -m pojax.{USAGE}")
        print(export(given["workdir"], given["out"], merge="merge" in given, dtype=given.get("dtype")))

    return commands.run(body)


def export(
    workdir: str, out: str, *, merge: bool = False, dtype: str | None = None, say: Callable[[str], None] | None = None
) -> pathlib.Path:
    """Write the newest checkpoint's policy to a new folder, with the tokenizer, chat template and generation config of where it came from.

    Of a run with adapters the folder holds the adapters alone, in PEFT's form; merge: the whole model with the adapters in its weights.
    dtype: of the weights, default that of the folder that the model came from, else as they were trained. A tokenizer of pojax itself is
    written in its own form, which pojax loads. Returns the folder. ConfigError for a workdir without a run, for an `out` that holds
    something, and for merge without adapters; nothing is left behind where writing fails.
    """
    say = say or functools.partial(print, file=sys.stderr)
    stored = read_json(pathlib.Path(workdir) / RECORD)
    if stored is None or "config" not in stored:
        raise ConfigError(f"--workdir={workdir}: holds no {RECORD} of a run, so no run")
    folder = pathlib.Path(out)
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise ConfigError(f"--out={out}: found something there, allowed: a folder that is new or empty")
    found = subject(configs.plain(stored["config"]), say=lambda line: None, devices=jax.devices()[:1])
    config = found.model["policy"]
    if merge and config.lora is None:
        raise ConfigError("--merge: found a run without adapters (model.lora is None), allowed: none")
    source = pretrained.folder_of(found.config)
    if config.lora is not None and not merge and source is None:
        raise ConfigError(f"--workdir={workdir}: adapters of a model that came from no folder are of no use alone, allowed: --merge")
    if dtype is None and source is not None:
        dtype = pretrained.dtype_of(source)
    params = checkpointing.load_params(pathlib.Path(workdir) / "checkpoints", found.abstract_params(), say=say)["policy"]
    part = folder.with_name(f"{folder.name}.part")
    if part.exists():
        shutil.rmtree(part)
    try:
        _write(part, found, config, params, source, merge, dtype)
        part.replace(folder)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise
    return folder


def _write(
    folder: pathlib.Path, found: Subject, config: models.DecoderConfig, params: Any, source: str | None, merge: bool, dtype: str | None
) -> None:
    if config.lora is not None and not merge:
        lora.save_peft(folder, params, config, base=source)
        return
    if config.lora is not None:
        params, config = lora.merge(params, config)
    hf.save(folder, dataclasses.replace(config, lora=None), params, source=source, dtype=dtype)
    tokenizer = found.tasks["train"].tokenizer
    ours = not isinstance(tokenizer, HuggingFace)  # then hf.save takes nothing of it along
    if ours or source is None or load_tokenizer(source).fingerprint() != tokenizer.fingerprint():
        tokenizer.save(folder)
    if ours:
        ends = {"eos_token_id": list(tokenizer.ends), "pad_token_id": tokenizer.pad}
        (folder / "generation_config.json").write_text(json.dumps(ends, indent=2) + "\n")


if __name__ == "__main__":
    sys.exit(main())
