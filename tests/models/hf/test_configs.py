"""config.json to a DecoderConfig: what published files say, what is refused, and back."""

import dataclasses
import json
import runpy
from pathlib import Path

import jax
import numpy as np
import pytest

from pojax import models
from pojax.models import hf

PUBLISHED = runpy.run_path(str(Path(__file__).with_name("published.py")))["PUBLISHED"]
SIZES = dict(vocab_size=61, hidden=32, layers=2, heads=4, kv_heads=2, mlp=48)


def written(folder, **fields):
    (folder / "config.json").write_text(json.dumps(fields))
    return folder


LLAMA3_SCALING = dict(kind="llama3", factor=32.0, low_frequency_factor=1.0, high_frequency_factor=4.0, original_context=8192)
GEMMA_SIZES = SIZES | dict(head_dim=16)
EXPECTED = {
    "llama2_7b": models.llama2(**SIZES | dict(kv_heads=4), context=4096, dtype="float16", param_dtype="float16"),
    "llama3_2_1b": models.llama3(
        **SIZES, head_dim=16, rope_scaling=LLAMA3_SCALING, context=131072, tie_embeddings=True, dtype="bfloat16", param_dtype="bfloat16"
    ),
    "mistral_7b_v0_1": models.mistral(**SIZES, windows=(4,), context=32768),
    "mistral_7b_v0_3": models.mistral(**SIZES, windows=(None,), rope_theta=1e6, context=32768),
    "qwen2_5_0_5b": models.qwen2(**SIZES, tie_embeddings=True, context=32768),
    "qwen2_5_7b_yarn": models.qwen2(**SIZES, context=32768, rope_scaling=dict(kind="yarn", factor=4.0, original_context=8)),
    "qwen2_windows": models.qwen2(**SIZES | dict(layers=4), windows=(None, None, None, 4), context=32768),
    "qwen3_4b": models.qwen3(**SIZES, head_dim=12, tie_embeddings=True, context=40960),
    "gemma2_2b": models.gemma2(**GEMMA_SIZES | dict(layers=3), windows=(4, None), context=8192),
    "gemma3_1b": models.gemma3(**GEMMA_SIZES | dict(layers=8, kv_heads=1), windows=(4, 4, 4, 4, 4, None), context=32768),
    "gemma3_scaled": models.gemma3(
        **GEMMA_SIZES | dict(layers=7, kv_heads=1), windows=(4, 4, 4, 4, 4, None), context=131072, attention_scalar=16.0,
        rope_scaling=dict(kind="linear", factor=8.0),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_files(name, tmp_path):
    assert hf.read_config(written(tmp_path, **PUBLISHED[name])) == EXPECTED[name]


@pytest.mark.parametrize("name", PUBLISHED)
def test_written_files_say_the_same(name, tmp_path):
    config = EXPECTED[name]
    fields = hf.write_config(config)
    assert hf.read_config(written(tmp_path, **fields), dtype=config.dtype, param_dtype=config.param_dtype) == config
    kinds = {"llama2_7b": "llama", "llama3_2_1b": "llama", "mistral_7b_v0_3": "llama", "qwen2_windows": "qwen2"}  # no window: that is Llama
    assert fields["model_type"] == kinds.get(name, PUBLISHED[name]["model_type"])


@pytest.mark.slow
@pytest.mark.parametrize("name", PUBLISHED)
def test_published_files_mean_what_transformers_makes_of_them(name, tmp_path):
    torch = pytest.importorskip("torch", reason="torch and transformers come with the extra hf-test")
    transformers = pytest.importorskip("transformers", reason="torch and transformers come with the extra hf-test")
    written(tmp_path, **PUBLISHED[name])
    theirs = transformers.AutoModelForCausalLM.from_config(transformers.AutoConfig.from_pretrained(tmp_path), dtype=torch.float32).eval()
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.normal_(0.0, 0.2)
    theirs.save_pretrained(tmp_path)
    written(tmp_path, **PUBLISHED[name])  # instead of what this version of transformers writes
    config, params = hf.load(tmp_path, context=16)
    tokens = np.random.RandomState(0).randint(2, 61, (2, 12))
    hidden = models.hidden_states(params, config, tokens[:, :1], np.ones((2, 1), bool), tokens[:, 1:])
    found = models.logits_of(models.unembedding(params, config), hidden.reshape(-1, 32), config).reshape(2, 11, 61)
    with torch.no_grad():
        expected = theirs(torch.tensor(tokens)).logits[:, :-1].numpy()
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_run_options_are_chosen_by_the_run(tmp_path):
    written(tmp_path, **PUBLISHED["qwen2_5_0_5b"])
    config = hf.read_config(tmp_path, context=192, dtype="bfloat16", remat=True, output="scalar")
    assert config == dataclasses.replace(EXPECTED["qwen2_5_0_5b"], context=192, dtype="bfloat16", remat=True, output="scalar")
    with pytest.raises(ValueError, match="hidden cannot be changed.*allowed: context, dtype"):
        hf.read_config(tmp_path, hidden=4)
    written(tmp_path, **PUBLISHED["qwen2_5_0_5b"] | dict(architectures=["Qwen2ForSequenceClassification"]))
    assert hf.read_config(tmp_path).output == "scalar"


def test_scalings_of_a_length_are_chosen_by_the_context():
    """Up to the original context a dynamic scaling is none, and longrope has its short factors."""
    dynamic = dict(kind="dynamic", factor=4.0, original_context=64)
    plain = models.rope.frequencies(models.llama3(**SIZES))
    np.testing.assert_array_equal(models.rope.frequencies(models.llama3(**SIZES, rope_scaling=dynamic, context=64)), plain)
    # theta * (4 * 2 - 3)^(8 / 6) at twice the length, for heads of 8.
    grown = (500_000.0 * 5.0 ** (8 / 6)) ** -(np.arange(0, 8, 2) / 8)
    np.testing.assert_allclose(models.rope.frequencies(models.llama3(**SIZES, rope_scaling=dynamic, context=128)), grown)
    long = dict(kind="longrope", factor=4.0, original_context=64, short_factor=(1.0, 1.0, 2.0, 2.0), long_factor=(1.0, 3.0, 3.0, 9.0))
    for context, divisors in ((64, [1, 1, 2, 2]), (65, [1, 3, 3, 9])):
        found = models.rope.frequencies(models.llama3(**SIZES, rope_scaling=long, context=context))
        np.testing.assert_allclose(found, plain / divisors)


QWEN, LLAMA, GEMMA = (PUBLISHED[name] for name in ("qwen2_5_0_5b", "llama3_2_1b", "gemma3_1b"))


@pytest.mark.parametrize(
    ("fields", "found", "allowed"),
    [
        (QWEN | dict(model_type="mixtral"), "model_type is 'mixtral'", "llama, mistral, qwen2, qwen3, gemma2, gemma3_text"),
        ({}, "model_type is None", "llama"),
        (QWEN | dict(hidden_act="gelu"), "hidden_act is 'gelu'", "silu"),
        (GEMMA | dict(hidden_activation="gelu"), "hidden_activation is 'gelu'", "gelu_pytorch_tanh"),
        (QWEN | dict(quantization_config=dict(bits=4)), "quantization_config is", "None"),
        (LLAMA | dict(attention_bias=True), "attention_bias is True", "False"),
        (LLAMA | dict(mlp_bias=True), "mlp_bias is True", "False"),
        (LLAMA | dict(attention_dropout=0.1), "attention_dropout is 0.1", "0.0"),
        (GEMMA | dict(use_bidirectional_attention=True), "use_bidirectional_attention is True", "False"),
        (QWEN | dict(dual_chunk_attention_config=dict(a=1)), "dual_chunk_attention_config is", "None"),
        (LLAMA | dict(rope_scaling=dict(rope_type="ntk", factor=2.0)), "rope_scaling is .*ntk", "default, linear, dynamic"),
        (LLAMA | dict(rope_scaling=dict(rope_type="linear")), "rope_scaling is", "factor"),
        (QWEN | dict(rope_scaling=dict(type="default", mrope_section=[1, 2])), "rope_scaling is .*mrope_section", "rope_theta"),
        (LLAMA | dict(partial_rotary_factor=0.5), "partial_rotary_factor is 0.5", "1.0"),
        (GEMMA | dict(layer_types=["chunked_attention"] * 8), "layer_types is", "full_attention or sliding_attention"),
        (GEMMA | dict(layer_types=["full_attention"]), "layer_types is", "8 layers"),
        (LLAMA | dict(num_attention_heads=3), "heads is 3", "multiple of kv_heads"),
    ],
)
def test_what_the_decoder_cannot_do_is_refused_by_name(fields, found, allowed, tmp_path):
    with pytest.raises(ValueError, match=f"config.json: .*{found}.*allowed: .*{allowed}"):
        hf.read_config(written(tmp_path, **fields))


def test_files_that_are_no_config(tmp_path):
    with pytest.raises(ValueError, match=r"config\.json: no such file"):
        hf.read_config(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": ')
    with pytest.raises(ValueError, match=r"config\.json: not JSON \(.*line 1"):
        hf.read_config(tmp_path)
    with pytest.raises(ValueError, match=r"config\.json: hidden_size is missing"):
        hf.read_config(written(tmp_path, **{key: value for key, value in QWEN.items() if key != "hidden_size"}))


def test_combinations_that_transformers_has_not():
    with pytest.raises(ValueError, match="no architecture of transformers"):
        hf.write_config(models.qwen2(**SIZES, qk_norm=True))
    assert jax.tree.structure(models.hf.names.shapes(models.qwen2(**SIZES)))
