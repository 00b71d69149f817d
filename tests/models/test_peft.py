"""Adapters in PEFT's format, against peft and transformers themselves."""

import dataclasses
import functools
import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pojax import models
from pojax.models import hf, lora
from pojax.models.targets import LoRA

TOKENS = np.random.default_rng(3).integers(2, 41, (2, 9))
SIZES = dict(
    vocab_size=41, hidden_size=16, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, intermediate_size=24,
    initializer_range=0.3,
)  # fmt: skip


@pytest.fixture(autouse=True, scope="module")
def quick_compilation():
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """kind -> (config, parameters, folder) of a small random model of transformers."""
    for name in ("torch", "transformers", "peft"):
        pytest.importorskip(name, reason="torch, transformers and peft come with the extra hf-test")
    import torch
    import transformers

    kinds = {"llama": transformers.LlamaConfig, "qwen2": transformers.Qwen2Config}

    @functools.cache
    def make(kind):
        folder = tmp_path_factory.mktemp(kind)
        torch.manual_seed(0)
        model = transformers.AutoModelForCausalLM.from_config(kinds[kind](**SIZES, tie_word_embeddings=kind == "qwen2"))
        model.save_pretrained(folder)
        return *hf.load(folder), folder

    return make


@functools.partial(jax.jit, static_argnums=1)
def forward(params, config):
    hidden, _ = models.decoder.Decoder(config).apply({"params": params}, jnp.asarray(TOKENS), jnp.ones(TOKENS.shape, bool))
    return jnp.einsum("btd,vd->btv", hidden, models.unembedding(params, config))


def logits(params, config):
    return np.asarray(forward(params, config))


def their_logits(theirs):
    import torch

    with torch.no_grad():
        return theirs.eval()(torch.tensor(TOKENS)).logits.numpy()


def filled(params, config):
    """The parameters with adapters from numpy, none of them zero."""
    random = np.random.default_rng(0)
    shapes = lora.split(jax.eval_shape(lambda: models.init(jax.random.key(0), config)))[1]
    return lora.join(params, jax.tree.map(lambda x: jnp.asarray(0.2 * random.standard_normal(x.shape), x.dtype), shapes))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("llama", dict(rank=3, alpha=5)),
        ("qwen2", dict(rank=4, alpha=6.0, rs=True, targets=("q_proj", "v_proj", "down_proj", "o_proj"))),
    ],
)
def test_peft_loads_what_is_saved(made, kind, options, tmp_path, recwarn):
    config, params, base = made(kind)
    import peft
    import transformers

    config = dataclasses.replace(config, lora=LoRA(**options))
    params = filled(params, config)
    lora.save_peft(tmp_path / "ours", params, config, base=base)
    theirs = peft.PeftModel.from_pretrained(transformers.AutoModelForCausalLM.from_pretrained(base), tmp_path / "ours")
    assert not [w for w in recwarn if "missing" in str(w.message) or "unexpected" in str(w.message)]
    expected = logits(params, config)
    assert np.abs(expected - logits(lora.off(params), dataclasses.replace(config, lora=None))).max() > 0.1
    np.testing.assert_allclose(their_logits(theirs), expected, atol=1e-4)
    np.testing.assert_allclose(their_logits(theirs.merge_and_unload()), expected, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("llama", dict(use_rslora=True, target_modules="all-linear", lora_dropout=0.1)),
        ("qwen2", dict(target_modules=["k_proj", "up_proj", "down_proj"])),
    ],
)
def test_what_peft_saves_is_loaded(made, kind, options, tmp_path):
    config, params, base = made(kind)
    import peft
    import torch
    import transformers

    settings = peft.LoraConfig(r=3, lora_alpha=7, task_type="CAUSAL_LM", **options)
    theirs = peft.get_peft_model(transformers.AutoModelForCausalLM.from_pretrained(base), settings)
    torch.manual_seed(1)
    with torch.no_grad():
        for name, value in theirs.named_parameters():
            if "lora_" in name:
                value.normal_(0, 0.2)
    theirs.save_pretrained(tmp_path)
    ours, found = lora.load_peft(tmp_path, params, config)
    expected = their_logits(theirs)
    np.testing.assert_allclose(logits(ours, found), expected, atol=1e-4)
    np.testing.assert_allclose(logits(*lora.merge(ours, found)), expected, atol=1e-4)
    assert np.abs(expected - logits(params, config)).max() > 0.1


# -- folders that are refused -----------------------------------------------------------------------------------------------------

CONFIG = models.llama3(vocab_size=11, hidden=8, layers=2, heads=2, kv_heads=1, mlp=12, lora=dict(rank=2, targets=("q_proj", "up_proj")))


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved")
    shapes = jax.eval_shape(lambda: models.init(jax.random.key(0), CONFIG))
    params = filled(jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes), CONFIG)
    lora.save_peft(folder, params, CONFIG, base="some/model")
    return folder, params


def test_a_folder_gives_back_what_was_saved(saved):
    folder, params = saved
    back, config = lora.load_peft(folder, lora.off(params), dataclasses.replace(CONFIG, lora=None))
    jax.tree.map(np.testing.assert_array_equal, back, params)
    assert config.lora == LoRA(2, 32.0, ("q_proj", "up_proj"))
    assert {path.name for path in folder.iterdir()} == {"adapter_config.json", "adapter_model.safetensors"}
    written = json.loads((folder / "adapter_config.json").read_text())
    assert written["base_model_name_or_path"] == "some/model" and written["target_modules"] == ["q_proj", "up_proj"]


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("modules_to_save", ["lm_head"], r"modules_to_save is \['lm_head'\], which is not supported"),
        ("use_dora", True, "use_dora is True, which is not supported"),
        ("bias", "lora_only", "bias is 'lora_only', allowed: 'none'"),
        ("rank_pattern", {"q_proj": 4}, "rank_pattern is .*, which is not supported"),
        ("peft_type", "IA3", "peft_type is 'IA3', allowed: 'LORA'"),
        ("init_lora_weights", "pissa", "init_lora_weights is 'pissa', allowed: None, True"),
        ("something_new", 1, "something_new is 1, which is not supported"),
        ("r", 0, "model.lora.rank is 0"),
        ("r", 5, r"tensor base_model.model.model.layers.0.mlp.up_proj.lora_A.weight has shape \(2, 8\), allowed: \(5, 8\)"),
        ("lora_alpha", "delete", "lora_alpha is missing"),
    ],
)
def test_fields_that_are_refused(saved, field, value, message, tmp_path):
    folder, params = saved
    shutil.copytree(folder, tmp_path / "copy")
    file = tmp_path / "copy" / "adapter_config.json"
    values = json.loads(file.read_text()) | {field: value}
    if value == "delete":
        del values[field]
    file.write_text(json.dumps(values))
    with pytest.raises(ValueError, match=message) as error:
        lora.load_peft(tmp_path / "copy", params, CONFIG)
    assert str(tmp_path / "copy") in str(error.value)


LAYERS = "base_model.model.model.layers."


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.pop(LAYERS + "1.mlp.up_proj.lora_B.weight"), r"layers.1.mlp.up_proj.lora_B.weight is missing"),
        (lambda t: t.update({LAYERS + "2.mlp.up_proj.lora_B.weight": np.zeros((12, 2), "f")}), "belongs to no layer"),
        (lambda t: t.update({"base_model.model.lm_head.lora_A.weight": np.zeros((2, 8), "f")}), "lm_head.lora_A.weight is no lora_A"),
        (lambda t: t.update({LAYERS + "0.mlp.up_proj.lora_magnitude_vector": np.zeros(12, "f")}), "magnitude_vector is no"),
        (lambda t: t[LAYERS + "0.mlp.up_proj.lora_B.weight"].fill(np.nan), "up_proj.lora_B.weight holds nan"),
    ],
)
def test_tensors_that_are_refused(saved, change, message, tmp_path):
    pytest.importorskip("safetensors", reason="safetensors comes with the extra hf")
    from safetensors.numpy import load_file, save_file

    folder, params = saved
    shutil.copytree(folder, tmp_path / "copy")
    tensors = {name: np.array(value) for name, value in load_file(folder / "adapter_model.safetensors").items()}
    change(tensors)
    save_file(tensors, tmp_path / "copy" / "adapter_model.safetensors")
    with pytest.raises(ValueError, match=message) as error:
        lora.load_peft(tmp_path / "copy", params, CONFIG)
    assert "adapter_model.safetensors" in str(error.value)


def test_what_save_refuses(saved, tmp_path):
    folder, params = saved
    with pytest.raises(ValueError, match="model.lora is None, allowed: a LoRA, and parameters that hold its adapters"):
        lora.save_peft(tmp_path / "a", params, dataclasses.replace(CONFIG, lora=None))
    with pytest.raises(ValueError, match="holds adapter_model.safetensors, allowed: a folder without adapters"):
        lora.save_peft(folder, params, CONFIG)
    with pytest.raises(ValueError, match="parameters that hold its adapters"):
        lora.save_peft(tmp_path / "a", lora.off(params), CONFIG)
    with pytest.raises(ValueError, match="model.output is 'scalar'"):
        lora.save_peft(tmp_path / "a", params, dataclasses.replace(CONFIG, output="scalar"))
    with pytest.raises(ValueError, match="no such file"):
        lora.load_peft(tmp_path, params, CONFIG)
    (tmp_path / "adapter_config.json").write_text((folder / "adapter_config.json").read_text())
    with pytest.raises(ValueError, match="adapter_model.safetensors: no such file, allowed: adapters as safetensors"):
        lora.load_peft(tmp_path, params, CONFIG)
