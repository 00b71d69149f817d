"""Presets of published models: their sizes are the published ones, and their programs are traced at these sizes."""

import dataclasses
import importlib
import math

import folders
import jax
import pytest

from pojax import models
from pojax.binding import ConfigError
from pojax.build import build
from pojax.config import override
from pojax.types import Rollout

PARAMETERS = {  # as counted by transformers
    "qwen2_5_0_5b_gsm8k": 494_032_768,
    "qwen2_5_1_5b_math": 1_543_714_304,
    "qwen2_5_7b_math": 7_615_616_512,
    "qwen3_4b_math": 4_022_468_096,
    "llama3_2_1b_gsm8k": 1_235_814_400,
    "gemma3_1b_gsm8k": 999_885_952,
}


@pytest.fixture(scope="module")
def problems(tmp_path_factory):
    """A file of problems that are both of GSM8K's form and of MATH's."""
    return folders.gsm8k(tmp_path_factory.mktemp("problems") / "gsm8k")


def job(method, preset, problems, devices=1, **changes):
    """A method's config with a preset of true sizes; the data and the tokenizer stand in, which no shape of the step depends on."""
    config = importlib.import_module(f"configs.{method}").get_config(preset)
    sizes = {"prompt_tokens": 1024, "drop_long_prompts": True}
    config = override(config, {"task": ("gsm8k", dict(path=problems, tokenizer="characters", validation=8))} | sizes | changes)
    config = override(config, {"batch_prompts": min(config.batch_prompts, 32)})
    return build(config, say=lambda line: None, devices=jax.devices()[:devices])


def rollout_of(job):
    """The abstract rollout that the arrangement gives."""
    fields = job.program.fields
    nouns = {f.name for f in dataclasses.fields(Rollout)}
    given = {name: x for name, x in fields.items() if name in nouns and name not in ("components", "labels")}
    return Rollout(**given, components={name: x for name, x in fields.items() if name not in nouns | {"lengths", "keep"}})


@pytest.mark.parametrize("preset", PARAMETERS)
def test_sizes_and_traces(preset, problems):
    made = job("grpo", preset, problems)
    shapes = made.abstract.params["policy"]
    assert sum(math.prod(x.shape) for x in jax.tree.leaves(shapes)) == PARAMETERS[preset]
    assert {str(x.dtype) for x in jax.tree.leaves(shapes)} == {"float32"} and made.model["policy"].dtype == "bfloat16"
    assert made.warm_steps == 0 and all(u.microbatches > 1 for u in made.program.updates)
    learner = made.phases[-1].learner
    state, seen = jax.eval_shape(learner.train_step, made.abstract, rollout_of(made), learner.hyper)
    assert jax.tree.map(lambda x: (x.shape, x.dtype), state.params) == jax.tree.map(lambda x: (x.shape, x.dtype), made.abstract.params)
    assert "policy/loss" in seen


@pytest.mark.slow
@pytest.mark.parametrize("method", ["dapo", "reinforce", "dro_v", "dr_grpo"])
def test_methods_take_presets(method, problems):
    made = job(method, "llama3_2_1b_gsm8k", problems, devices=8)
    assert made.layout.mesh.shape["fsdp"] == 8
    assert all(made.program.rows // (u.minibatches * u.microbatches) <= max(32, made.program.block) for u in made.program.updates)


def test_what_is_missing_is_said(problems):
    config = importlib.import_module("configs.grpo").get_config("qwen2_5_7b_math")
    with pytest.raises(ConfigError, match=r"task.math.path: needs a value: --config.task.path=..."):
        build(config)
    with pytest.raises(ConfigError, match=r"model.folder: found '/nowhere', allowed: a folder with config.json"):
        build(override(config, {"model.folder": "/nowhere", "task.path": problems}))


def test_architectures_are_those_of_the_presets():
    """The preset's function, and nothing else, says what kind of layer a model has."""
    chosen = {preset: importlib.import_module("configs.grpo").get_config(preset).model[0] for preset in PARAMETERS}
    assert set(chosen.values()) == {"qwen2", "qwen3", "llama3", "gemma3"} <= set(models.config.__all__)
