"""Frozen reward models: `config.reward_models = {name: dict(folder=...)}` gives the component `name`, a score of every sampled response.

A folder is one of transformers' AutoModelForSequenceClassification with one label. It reads the policy's token ids as they are, prompt and
response together, so it must have the policy's tokenizer. Its weights are no part of the learner state: a checkpoint does not hold them.
"""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from pojax import models
from pojax.binding import ConfigError, near
from pojax.models import hf
from pojax.sharding import Layout
from pojax.tasks import Task
from pojax.tasks.tokenizers import load as load_tokenizer
from pojax.types import Prompts, Samples

OPTIONS = ("folder", "dtype", "param_dtype", "rows")
COMPARED = 64  # prompts on which the two tokenizers must agree


class RewardModel:
    """A model with output "scalar"; its weights are loaded when the first rows come. `rows` are scored at a time."""

    def __init__(self, config: models.DecoderConfig, load: Callable[[], Any], rows: int) -> None:
        self.config, self.rows, self._load = config, rows, load

    @functools.cached_property
    def params(self) -> Any:
        return self._load()

    def __call__(self, prompts: Prompts, samples: Samples) -> Float[Array, "n"]:
        """Scores of n responses, at the last token of each; prompts [n, S], samples [n, T]."""
        n = samples.tokens.shape[0]
        size = next(size for size in range(min(self.rows, n), 0, -1) if n % size == 0)  # pieces of one size compile once
        tokens = jnp.concatenate([jnp.asarray(prompts.tokens), samples.tokens], axis=1)
        mask = jnp.concatenate([jnp.asarray(prompts.mask, bool), jnp.asarray(samples.mask, bool)], axis=1)
        pieces = [_score(self.config, self.params, tokens[i : i + size], mask[i : i + size]) for i in range(0, n, size)]
        return jnp.concatenate(pieces)


_score = jax.jit(lambda config, params, tokens, mask: models.score(params, config, tokens, mask), static_argnums=0)


def load_reward_models(found: Mapping[str, Any], task: Task, layout: Layout, width: int) -> dict[str, Callable[..., Any]]:
    """{component: RewardModel} of `config.reward_models`, checked against a task whose prompts and responses take `width` tokens.

    ConfigError for unknown options, names that the task gives itself, contexts and vocabularies that are too small, and tokenizers that
    write the task's prompts in other ids than the policy's; ValueError for folders that cannot be loaded.
    """
    made: dict[str, Callable[..., Any]] = {}
    for name, options in found.items():
        at = f"reward_models.{name}"
        if name in task.fields or name in task.columns:
            raise ConfigError(f"{at}: {name!r} is given by the task {task.name} already, allowed: another name")
        if not isinstance(options, Mapping) or "folder" not in options:
            raise ConfigError(f"{at}: found {options!r}, allowed: dict(folder=..., dtype=..., param_dtype=..., rows=...)")
        for key in options:
            if key not in OPTIONS:
                raise ConfigError(f"{at}.{key}: unknown option; {near(key, OPTIONS)}")
        rows = options.get("rows", 64)
        if not isinstance(rows, int) or isinstance(rows, bool) or rows < 1:
            raise ConfigError(f"{at}.rows: found {rows!r}, allowed: a whole number of 1 or more")
        folder, types = options["folder"], {key: options[key] for key in ("dtype", "param_dtype") if key in options}
        shape = hf.read_config(folder, output="scalar", **types)
        _check(at, folder, shape, task, width)
        made[name] = RewardModel(shape, functools.partial(_params, folder, layout, types), rows)
    return made


def _params(folder: str, layout: Layout, types: dict[str, Any]) -> Any:
    return hf.load(folder, layout=layout, output="scalar", **types)[1]


def _check(at: str, folder: str, shape: models.DecoderConfig, task: Task, width: int) -> None:
    if width > shape.context:
        raise ConfigError(f"{at}: prompts and responses of {width} tokens, allowed: at most {shape.context}, the context of {folder}")
    if shape.vocab_size < task.tokenizer.vocab_size:
        raise ConfigError(
            f"{at}: {folder} has {shape.vocab_size} tokens, allowed: at least {task.tokenizer.vocab_size}, those of the policy's tokenizer"
        )
    own = load_tokenizer(folder)
    for text in (task.prompt(i) for i in range(min(task.size, COMPARED))):
        if not np.array_equal(own.encode(text), task.tokenizer.encode(text)):
            raise ConfigError(f"{at}: the tokenizer of {folder} writes {text[:60]!r} in other ids, allowed: the policy's tokenizer")
