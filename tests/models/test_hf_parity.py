"""Logits equal those of Hugging Face transformers on the same weights: stored ones everywhere, fresh ones where torch is installed."""

import dataclasses
import runpy
from functools import cache, partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pojax import models
from pojax.sampling import sample

golden = runpy.run_path(str(Path(__file__).with_name("golden.py")))
CASES = golden["CASES"]
ARCHITECTURES = ("llama3", "mistral", "qwen2_windows", "qwen3", "gemma2", "gemma3")
PROMPT = 6  # tokens that are prefilled where a test goes through the cache


@partial(jax.jit, static_argnums=1)
def logits(params, config, tokens, mask):
    """Logits [B, T, V] after every token."""
    hidden, _ = models.decoder.Decoder(config).apply({"params": params}, tokens, mask)
    return _logits_of(params, config, hidden)


@partial(jax.jit, static_argnums=1)
def cached_logits(params, config, tokens, mask):
    """Logits after token PROMPT - 1 and later ones [B, T - PROMPT + 1, V], one token after the other."""
    first, cache = models.prefill(params, config, tokens[:, :PROMPT], mask[:, :PROMPT], len(tokens), tokens.shape[1] - PROMPT)
    of_steps = models.decode_params(params, config)

    def step(cache, token):
        hidden, cache = models.decode_step(of_steps, config, cache, token[0], jnp.broadcast_to(token[1], token[0].shape))
        return cache, hidden

    slots = jnp.arange(tokens.shape[1] - PROMPT)
    _, hidden = jax.lax.scan(step, cache, (tokens[:, PROMPT:].T, slots))
    return _logits_of(params, config, jnp.moveaxis(jnp.concatenate([first[None], hidden]), 0, 1))


def _logits_of(params, config, hidden):
    table = models.unembedding(params, config)
    return models.logits_of(table, hidden.reshape(-1, config.hidden), config).reshape(*hidden.shape[:2], -1)


@cache
def ours(name):
    tokens, mask = golden["batch"]()
    return np.asarray(logits(golden["weights"](CASES[name]), CASES[name], tokens, mask))[mask]


@pytest.mark.parametrize("name", CASES)
def test_stored_logits(name):
    expected = np.load(golden["FILE"])[name]
    np.testing.assert_allclose(ours(name), expected, atol=1e-4)


@pytest.mark.parametrize("name", [*ARCHITECTURES, "llama3_yarn_real", "gemma3_unrolled"])
def test_stored_logits_through_the_cache(name):
    """Past the windows of 3 tokens, behind prompts of 6 and of 1 token."""
    tokens, mask = golden["batch"]()
    expected = np.zeros((*mask.shape, CASES[name].vocab_size), np.float32)
    expected[mask] = np.load(golden["FILE"])[name]
    found = cached_logits(golden["weights"](CASES[name]), CASES[name], jnp.asarray(tokens[:2]), jnp.asarray(mask[:2]))
    np.testing.assert_allclose(found, expected[:2, PROMPT - 1 :], atol=1e-4)


@pytest.mark.parametrize(
    ("name", "changed"),
    [
        ("llama3", dict(rope_scaling=None)),
        ("llama3_yarn", dict(rope_scaling=None)),
        ("llama3_longrope", dict(context=8)),
        ("qwen2_windows", dict(windows=(3, None))),
        ("gemma2", dict(attention_softcap=None)),
        ("gemma2", dict(logit_softcap=None)),
        ("gemma3", dict(local_rope_theta=None)),
        ("gemma3_unrolled", dict(attention_scalar=16.0)),
    ],
)
def test_options_show_in_the_logits(name, changed):
    tokens, mask = golden["batch"]()
    config = dataclasses.replace(CASES[name], **changed)
    weights = golden["weights"](CASES[name])
    found = np.asarray(logits(weights, config, tokens, mask))[mask]
    assert np.abs(found - ours(name)).max() > 0.004, "the option changes nothing that the other tests could see"


@pytest.fixture
def transformers():
    pytest.importorskip("torch", reason="torch and transformers come with the extra hf-test")
    return pytest.importorskip("transformers", reason="torch and transformers come with the extra hf-test")


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_fresh_logits(name, transformers):
    tokens, mask = golden["batch"]()
    config = CASES[name]
    expected = golden["hf_logits"](config, golden["weights"](config), tokens, mask)[mask]
    np.testing.assert_allclose(ours(name), expected, atol=1e-4)
    np.testing.assert_allclose(np.load(golden["FILE"])[name], expected, atol=1e-4)  # the stored file is of this transformers, too


@pytest.mark.slow
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_two_hundred_greedy_tokens(name, transformers):
    """The sampler at temperature 0 against `generate`, for two prompts of which one is padded.

    Where the two largest logits are within rounding either token is right, so every choice must have a margin: the weights do.
    """
    import torch

    config = dataclasses.replace(CASES[name], context=256)
    params = golden["weights"](config, seed=1)
    tokens, mask = (part[:2] for part in golden["batch"]())
    given = dict(input_ids=torch.tensor(tokens.astype(np.int64)), attention_mask=torch.tensor(mask.astype(np.int64)))
    options = dict(do_sample=False, max_new_tokens=200, pad_token_id=0, output_logits=True, return_dict_in_generate=True)
    theirs = golden["hf_model"](config, params).generate(**given, **options)
    best = torch.stack(theirs.logits).topk(2, dim=-1).values
    assert (best[..., 0] - best[..., 1]).min() > 1e-4
    keys = jax.random.split(jax.random.key(0), 2)
    found = sample(params, config, keys, tokens, mask, response_tokens=200, temperature=0.0, end_tokens=(-1,))
    expected = theirs.sequences[:, tokens.shape[1] :].numpy()
    assert len({*expected.flat}) > 3  # not one token over and over
    np.testing.assert_array_equal(found.tokens, expected)
