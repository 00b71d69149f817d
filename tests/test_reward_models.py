"""Frozen reward models: scores as components of the rows, weights outside the state, and what cannot be one."""

import dataclasses

import jax
import jax.numpy as jnp
import jobs
import numpy as np
import pytest

from pojax import models
from pojax.binding import ConfigError
from pojax.models import hf
from pojax.tasks.tokenizers import Characters

SIZES = dict(hidden=16, layers=1, heads=2, kv_heads=2, mlp=32, output="scalar", context=16)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A reward model with the tokenizer of the sums."""
    place = tmp_path_factory.mktemp("reward")
    tokenizer = jobs.job(jobs.tiny()).source.task.tokenizer
    config = models.qwen2(vocab_size=tokenizer.vocab_size + 3, **SIZES)
    params = models.init(jax.random.key(5), config)
    params["value"] = jax.random.normal(jax.random.key(6), params["value"].shape)
    hf.save(place, config, params)
    tokenizer.save(place)
    return place


def scored(folder, **options):
    method = jobs.GROUP | dict(rewards=[("weighted_sum", dict(weights=dict(correct=1.0, score=0.5)))])
    config = jobs.tiny(method=method)
    config.reward_models = dict(score=dict(folder=str(folder), **options))
    return config


def test_scores_are_components_and_no_part_of_the_state(folder):
    made = jobs.job(scored(folder, rows=5))  # 32 rows, 4 at a time
    learner, state = made.phases[-1].learner, made.init()
    batch = learner.collect(state, learner.hyper)[0]
    config, params = hf.load(folder, output="scalar")
    rows = [jnp.concatenate(pair, axis=1) for pair in ((batch.prompt_tokens, batch.tokens), (batch.prompt_mask, batch.mask))]
    expected = models.score(params, config, *rows)
    np.testing.assert_allclose(batch.components["score"], expected, rtol=1e-5, atol=1e-6)
    assert np.std(expected) > 0.1  # they tell responses apart
    before = jax.device_get(state.params)
    after, _ = learner.train_step(dataclasses.replace(state, source={}), batch, learner.hyper)
    assert jobs.distance(after.params, before) > 0  # random answers are never right: what moved them are the scores
    assert not np.any(batch.components["correct"])
    shapes = [x.shape for x in jax.tree.leaves(after)]
    assert config.vocab_size != made.model["policy"].vocab_size and not any(config.vocab_size in shape for shape in shapes)


def test_what_cannot_be_a_reward_model(folder, tmp_path):
    def refused(config, words):
        with pytest.raises((ConfigError, ValueError), match=words):
            jobs.job(config)

    config = scored(folder)
    config.reward_models = dict(correct=dict(folder=str(folder)))
    refused(config, "reward_models.correct: 'correct' is given by the task arithmetic already")
    refused(scored(folder, row=3), "reward_models.score.row: unknown option; .*rows")
    refused(scored(folder, rows=0), "reward_models.score.rows: found 0, allowed: a whole number of 1 or more")
    config = scored(folder)
    config.response_tokens = 30
    refused(config, "prompts and responses of 34 tokens, allowed: at most 16")
    config = scored(folder)
    config.reward_models = dict(score="folder")
    refused(config, "reward_models.score: found 'folder', allowed: dict")
    refused(scored(tmp_path / "none"), "none")
    small, other = tmp_path / "small", tmp_path / "other"
    for place, size in ((small, 5), (other, 64)):
        shape = models.qwen2(vocab_size=size, **SIZES)
        hf.save(place, shape, models.init(jax.random.key(0), shape))
        Characters("=+9876543210 ").save(place)
    refused(scored(small), "has 5 tokens, allowed: at least")
    refused(scored(other), "the tokenizer of .*other writes '.*' in other ids, allowed: the policy's tokenizer")
