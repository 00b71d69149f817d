import dataclasses
import math

import numpy as np
import pytest

from pojax.models import DecoderConfig, RopeScaling, llama3, qwen2
from pojax.models.rope import frequencies

SIZES = dict(vocab_size=32, hidden=16, layers=2, heads=4, kv_heads=2, mlp=24)


def test_presets_are_the_published_options():
    llama, qwen = llama3(**SIZES), qwen2(**SIZES)
    assert (llama.rope_theta, llama.norm_epsilon, llama.qkv_bias) == (500_000.0, 1e-5, False)
    assert (qwen.rope_theta, qwen.norm_epsilon, qwen.qkv_bias) == (1_000_000.0, 1e-6, True)
    assert llama.head_dim == 4 and llama3(**SIZES, head_dim=6).head_dim == 6
    assert qwen2(**SIZES, tie_embeddings=True) == dataclasses.replace(qwen, tie_embeddings=True)


def test_scaling_may_be_a_dict_and_stays_hashable():
    config = llama3(**SIZES, rope_scaling=dict(kind="linear", factor=4.0))
    assert config.rope_scaling == RopeScaling("linear", 4.0)
    assert hash(config) == hash(llama3(**SIZES, rope_scaling=RopeScaling("linear", 4.0)))


@pytest.mark.parametrize(
    ("changed", "found", "allowed"),
    [
        (dict(heads=3), "heads is 3", "multiple of kv_heads"),
        (dict(hidden=18), "hidden is 18", "multiple of heads"),
        (dict(head_dim=5), "head_dim is 5", "even"),
        (dict(layers=0), "layers is 0", "above 0"),
        (dict(vocab_size=-2), "-2", "integer"),
        (dict(windows=()), r"\(\)", "at least one"),
        (dict(activation="relu"), "relu", "silu, gelu_tanh"),
        (dict(attention_softcap=0.0), "0.0", "above 0"),
        (dict(windows=(0,)), r"\(0,\)", "above 0"),
        (dict(output="logits"), "logits", "tokens, scalar"),
        (dict(dtype="int32"), "int32", "floating"),
        (dict(rope_theta=math.inf), "inf", "above 1"),
        (dict(rope_scaling=dict(kind="ntk", factor=2.0)), "ntk", "linear, dynamic, yarn, longrope, llama3"),
        (dict(rope_scaling=dict(kind="linear", factor=0.0)), "0.0", "above 0"),
        (dict(rope_scaling="linear"), "linear", "RopeScaling"),
    ],
)
def test_bad_options(changed, found, allowed):
    with pytest.raises(ValueError, match=f"{found}.*allowed.*{allowed}") as error:
        DecoderConfig(**{**SIZES, **changed})
    assert "\n" not in str(error.value)


def test_frequencies_by_hand():
    base = frequencies(DecoderConfig(**SIZES, rope_theta=100.0))
    np.testing.assert_allclose(base, [1.0, 0.1])  # 100^(-2i / 4)
    np.testing.assert_allclose(frequencies(llama3(**SIZES, rope_theta=100.0, rope_scaling=dict(kind="linear", factor=4.0))), base / 4)
    # Wavelengths are 2 pi, below 100 / 5, and 20 pi, between 100 / 5 and 100 / 1.
    scaling = dict(kind="llama3", factor=8.0, low_frequency_factor=1.0, high_frequency_factor=5.0, original_context=100)
    kept = (100 / (20 * math.pi) - 1.0) / 4.0
    np.testing.assert_allclose(frequencies(llama3(**SIZES, rope_theta=100.0, rope_scaling=scaling)), [1.0, 0.1 * (kept + (1 - kept) / 8)])
