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

golden = runpy.run_path(str(Path(__file__).with_name("golden.py")))
CASES = golden["CASES"]


@partial(jax.jit, static_argnums=1)
def logits(params, config, tokens, mask):
    """Logits [B, T, V] after every token."""
    hidden, _ = models.decoder.Decoder(config).apply({"params": params}, tokens, mask)
    return jnp.einsum("btd,vd->btv", hidden, models.unembedding(params, config))


@cache
def ours(name):
    tokens, mask = golden["batch"]()
    return np.asarray(logits(golden["weights"](CASES[name]), CASES[name], tokens, mask))[mask]


@pytest.mark.parametrize("name", CASES)
def test_stored_logits(name):
    expected = np.load(golden["FILE"])[name]
    np.testing.assert_allclose(ours(name), expected, atol=1e-4)


@pytest.mark.parametrize(("name", "changed"), [("llama3", dict(rope_scaling=None)), ("qwen2_windows", dict(windows=(3, None)))])
def test_options_show_in_the_logits(name, changed):
    tokens, mask = golden["batch"]()
    config = dataclasses.replace(CASES[name], **changed)
    weights = golden["weights"](CASES[name])
    assert np.abs(np.asarray(logits(weights, config, tokens, mask))[mask] - ours(name)).max() > 0.05


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_fresh_logits(name):
    pytest.importorskip("torch", reason="torch and transformers come with the extra hf-test")
    pytest.importorskip("transformers", reason="torch and transformers come with the extra hf-test")
    tokens, mask = golden["batch"]()
    config = CASES[name]
    expected = golden["hf_logits"](config, golden["weights"](config), tokens, mask)[mask]
    np.testing.assert_allclose(ours(name), expected, atol=1e-4)
    np.testing.assert_allclose(np.load(golden["FILE"])[name], expected, atol=1e-4)  # the stored file is of this transformers, too
