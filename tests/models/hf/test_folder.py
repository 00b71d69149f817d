"""Folders in and out: bits, types, shards, shardings, memory, what transformers says of them, and every kind of damage."""

import dataclasses
import json
import os
import runpy
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pojax import models
from pojax.models import hf
from pojax.sharding import make_layout

golden = runpy.run_path(str(Path(__file__).parents[1] / "golden.py"))
SIZES = dict(vocab_size=61, hidden=32, layers=3, heads=4, kv_heads=2, mlp=48, context=64)
CONFIGS = {
    "llama3": models.llama3(**SIZES),
    "mistral": models.mistral(**SIZES, windows=(7,)),
    "qwen2": models.qwen2(**SIZES, tie_embeddings=True),
    "qwen3": models.qwen3(**SIZES | dict(layers=2), head_dim=12),
    "gemma2": models.gemma2(**SIZES, head_dim=16, windows=(7, None)),
    "gemma3": models.gemma3(**SIZES | dict(layers=8), head_dim=16, windows=(7, 7, 7, 7, 7, None)),
}
CONFIG = CONFIGS["qwen2"]


def same(first, second):
    assert jax.tree.structure(first) == jax.tree.structure(second)
    for (path, a), b in zip(jax.tree_util.tree_leaves_with_path(first), jax.tree.leaves(second), strict=True):
        assert a.dtype == b.dtype and np.array_equal(a, b), jax.tree_util.keystr(path)


def weights(config, dtype="float32"):
    return jax.tree.map(lambda x: jnp.asarray(x, dtype), golden["weights"](config))


@pytest.mark.parametrize("output", ["tokens", "scalar"])
@pytest.mark.parametrize("name", CONFIGS)
def test_bits_survive(name, output, tmp_path):
    config = dataclasses.replace(CONFIGS[name], output=output)
    params = golden["weights"](config)
    hf.save(tmp_path, config, params, shard_bytes=20_000)
    assert len(list(tmp_path.glob("*.safetensors"))) > 3 and (tmp_path / "model.safetensors.index.json").is_file()
    again, loaded = hf.load(tmp_path)
    assert hf.configs.structure(again) == hf.configs.structure(config) and again.output == output
    same(loaded, jax.tree.map(jnp.asarray, params))
    hf.save(tmp_path / "second", again, loaded)
    assert [path.name for path in (tmp_path / "second").glob("*.safetensors")] == ["model.safetensors"]
    same(hf.load(tmp_path / "second")[1], loaded)


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_types_are_kept(dtype, tmp_path):
    params = weights(CONFIG, dtype)
    hf.save(tmp_path / "a", CONFIG, params)
    config, loaded = hf.load(tmp_path / "a")
    assert (config.param_dtype, config.dtype) == (dtype, dtype)
    same(loaded, params)
    assert json.loads((tmp_path / "a" / "config.json").read_text())["dtype"] == dtype
    config, wide = hf.load(tmp_path / "a", param_dtype="float32")
    assert (config.param_dtype, config.dtype) == ("float32", "float32")
    hf.save(tmp_path / "b", config, wide, dtype=dtype)  # a float32 master copy, back to the type of the file
    same(hf.load(tmp_path / "b")[1], params)
    # A file of several types is held in the one that holds them all.
    mixed = params | {"norm": {"scale": params["norm"]["scale"].astype(jnp.float32)}}
    hf.save(tmp_path / "c", CONFIG, mixed)
    assert hf.read_config(tmp_path / "c").param_dtype == "float32"


def test_loads_into_shards(tmp_path):
    """On a mesh every leaf has the sharding of the rules, and the numbers are those of one device."""
    config = CONFIGS["gemma3"]
    params = weights(config)
    hf.save(tmp_path, config, params, shard_bytes=20_000)
    layout = make_layout({"data": 1, "fsdp": 4, "tensor": 2})
    _, loaded = hf.load(tmp_path, layout=layout)
    same(loaded, params)
    shardings = layout.params(models.logical_axes(config), params)
    jax.tree.map(lambda x, sharding: x.sharding.is_equivalent_to(sharding, x.ndim) or pytest.fail(str(sharding)), loaded, shardings)
    kernel = loaded["blocks"]["layer_0"]["query"]["kernel"]
    assert kernel.shape == (1, 32, 4, 16) and kernel.addressable_shards[0].data.shape == (1, 8, 2, 16)


def test_value_heads_stand_on_the_same_trunk(tmp_path):
    params = weights(CONFIG)
    hf.save(tmp_path, CONFIG, params)
    config, loaded = hf.load(tmp_path, output="scalar")
    assert config.output == "scalar"
    np.testing.assert_array_equal(loaded.pop("value"), np.zeros(32))
    same(loaded, {name: value for name, value in params.items() if name != "unembedding"})


# --- transformers ---


@pytest.fixture
def transformers():
    pytest.importorskip("torch", reason="torch and transformers come with the extra hf-test")
    return pytest.importorskip("transformers", reason="torch and transformers come with the extra hf-test")


SOURCE = {
    "tokenizer.json": '{"version": "1.0"}',
    "tokenizer_config.json": "{}",
    "chat_template.jinja": "{{ messages }}",
    "generation_config.json": '{"eos_token_id": [3, 4]}',
}


@pytest.mark.slow
@pytest.mark.parametrize("name", CONFIGS)
def test_folder_of_transformers_and_back(name, transformers, tmp_path, caplog, recwarn):
    """What transformers wrote, in its shards, is loaded; what is saved loads in transformers without a warning, with the same bits."""
    import torch

    config = CONFIGS[name]
    theirs = golden["hf_model"](config, golden["weights"](config))
    source, out = tmp_path / "source", tmp_path / "out"
    theirs.save_pretrained(source, max_shard_size="20KB")
    assert len(list(source.glob("*.safetensors"))) > 1
    for file, text in SOURCE.items():
        (source / file).write_text(text)
    again, params = hf.load(source)
    same(params, jax.tree.map(jnp.asarray, golden["weights"](config)))
    hf.save(out, again, params, source=source, shard_bytes=30_000)
    for file, text in SOURCE.items():
        assert (out / file).read_text() == text
    before, after = (json.loads((folder / "config.json").read_text()) for folder in (source, out))
    assert before == after
    recwarn.clear()
    with caplog.at_level("WARNING"):
        transformers.utils.logging.enable_propagation()
        back, info = transformers.AutoModelForCausalLM.from_pretrained(out, output_loading_info=True)
    transformers.utils.logging.disable_propagation()
    assert not caplog.records and not recwarn.list and not any(info.values()), (caplog.text, recwarn.list, info)
    for (key, value), other in zip(theirs.state_dict().items(), back.state_dict().values(), strict=True):
        assert torch.equal(value, other), key


@pytest.mark.slow
@pytest.mark.parametrize("name", CONFIGS)
def test_scores_are_those_of_transformers(name, transformers, tmp_path):
    """A reward model: saved by pojax, read by transformers; the score of rows that are padded on the left, on the right, and not."""
    import torch

    config = dataclasses.replace(CONFIGS[name], output="scalar")
    params = golden["weights"](config)
    hf.save(tmp_path / "ours", config, params)
    automatic = transformers.AutoModelForSequenceClassification
    theirs = automatic.from_pretrained(tmp_path / "ours", attn_implementation="eager").eval()
    assert theirs.config.num_labels == 1
    theirs.config.pad_token_id = 0
    mask = np.array([[1] * 10, [0] * 4 + [1] * 6, [1] * 7 + [0] * 3], bool)
    tokens = np.where(mask, np.random.RandomState(3).randint(2, 61, mask.shape), 0)
    with torch.no_grad():
        expected = theirs(input_ids=torch.tensor(tokens), attention_mask=torch.tensor(mask.astype(np.int64))).logits[:, 0].numpy()
    np.testing.assert_allclose(hf.score(params, config, tokens, mask), expected, atol=1e-4)
    theirs.save_pretrained(tmp_path / "theirs")
    again, loaded = hf.load(tmp_path / "theirs")
    assert again.output == "scalar"
    same(loaded, jax.tree.map(jnp.asarray, params))
    with pytest.raises(ValueError, match=r"missing \(the folder holds a reward model|score.weight is not among"):
        hf.load(tmp_path / "theirs", output="tokens")


def test_scores_need_a_head():
    with pytest.raises(ValueError, match="'tokens', allowed for scores: 'scalar'"):
        hf.score(weights(CONFIG), CONFIG, np.zeros((1, 2), int), np.ones((1, 2), bool))


# --- damage ---


@pytest.fixture
def folder(tmp_path):
    hf.save(tmp_path / "folder", CONFIG, golden["weights"](CONFIG), shard_bytes=20_000)
    return tmp_path / "folder"


def change(folder, shard, edit):
    """Rewrite the header of a shard."""
    data = (folder / shard).read_bytes()
    length = int.from_bytes(data[:8], "little")
    entries = json.loads(data[8 : 8 + length])
    edit(entries)
    text = json.dumps(entries).encode()
    (folder / shard).write_bytes(len(text).to_bytes(8, "little") + text + data[8 + length :])


FIRST = "model-00001-of-00007.safetensors"
EMBEDDING = "model.embed_tokens.weight"


def rename(entries):
    entries["model.other.weight"] = entries.pop(EMBEDDING)


def index_of(folder):
    return json.loads((folder / "model.safetensors.index.json").read_text())


def write_index(folder, weight_map):
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))


def without(mapping, key):
    return {name: value for name, value in mapping.items() if name != key}


def without_the_last_layer(folder):
    fields = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(fields | dict(num_hidden_layers=2, layer_types=None)))


def cut(folder, begin, end):
    (folder / FIRST).write_bytes((folder / FIRST).read_bytes()[begin:end])


def entry(**changes):
    return lambda folder: change(folder, FIRST, lambda entries: entries[EMBEDDING].update(changes))


# What is done to a folder, and the message, which begins behind the folder's own name.
DAMAGES = {
    "missing shard": (lambda f: (f / FIRST).unlink(), f"{FIRST}: no such file.*{EMBEDDING}"),
    "not in the index": (lambda f: write_index(f, without(index_of(f)["weight_map"], EMBEDDING)), f"tensor {EMBEDDING} is missing"),
    "not in its shard": (lambda f: change(f, FIRST, rename), f"{FIRST}: tensor {EMBEDDING} is missing, and .* says"),
    "elsewhere": (lambda f: write_index(f, {EMBEDDING: "../x.safetensors"}), "index.json: tensor .*'../x.safetensors', allowed"),
    "no index": (lambda f: write_index(f, None), "index.json: weight_map is None, allowed"),
    "cut short": (lambda f: cut(f, 0, -9), f"{FIRST}: tensor .* ends at byte .* cut short"),
    "cut in the header": (lambda f: cut(f, 0, 40), f"{FIRST}: the header should have .* cut short"),
    "empty": (lambda f: cut(f, 0, 0), f"{FIRST}: the header should have"),
    "shifted": (lambda f: cut(f, 3, None), f"{FIRST}: the header"),
    "other shape": (entry(shape=[32, 61]), rf"{FIRST}: tensor {EMBEDDING} has shape \(32, 61\), allowed: \(61, 32\)"),
    "too small": (entry(shape=[9, 9]), f"{FIRST}: tensor {EMBEDDING} .*cannot be the bytes"),
    "another type": (entry(dtype="F8_E4M3"), f"{FIRST}: tensor {EMBEDDING} has type F8_E4M3, allowed: F32"),
    "no place": (entry(data_offsets=None), f"{FIRST}: tensor {EMBEDDING} has a damaged entry"),
    "too many layers": (without_the_last_layer, r"safetensors: tensor model.layers.2.\S+ is not among"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_named(damage, folder):
    assert (folder / FIRST).is_file()
    edit, message = DAMAGES[damage]
    edit(folder)
    with pytest.raises(ValueError, match=message) as error:
        hf.load(folder)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_numbers_that_are_none(bad, folder):
    data = bytearray((folder / FIRST).read_bytes())
    data[-4:] = np.float32(bad).tobytes()
    (folder / FIRST).write_bytes(data)
    with pytest.raises(ValueError, match=rf"{FIRST}: tensor model.layers.\S+ holds {bad}, allowed: finite"):
        hf.load(folder)


def test_pickles_are_not_read(tmp_path):
    hf.save(tmp_path, CONFIG, golden["weights"](CONFIG))
    (tmp_path / "model.safetensors").rename(tmp_path / "pytorch_model.bin")
    with pytest.raises(ValueError, match="neither model.safetensors nor .*pytorch_model.bin may hold code and is not read"):
        hf.load(tmp_path)


def test_saves_that_are_refused(tmp_path):
    params = golden["weights"](CONFIG)
    hf.save(tmp_path / "a", CONFIG, params)
    with pytest.raises(ValueError, match="holds model.safetensors, allowed: a folder without weights"):
        hf.save(tmp_path / "a", CONFIG, params)
    with pytest.raises(ValueError, match=r"norm/scale is missing, allowed by config: \(32,\)"):
        hf.save(tmp_path / "b", CONFIG, without(params, "norm"))
    with pytest.raises(ValueError, match=r"embedding is \(4, 4\), allowed by config: \(61, 32\)"):
        hf.save(tmp_path / "b", CONFIG, params | {"embedding": np.zeros((4, 4), np.float32)})
    adapted = params["blocks"]["layer_0"]["query"] | {"lora_a": np.zeros((3, 32, 2))}
    with pytest.raises(ValueError, match="adapters.*allowed: merged"):
        hf.save(tmp_path / "b", CONFIG, params | {"blocks": {"layer_0": params["blocks"]["layer_0"] | {"query": adapted}}})
    with pytest.raises(ValueError, match="embedding would be written as int32, allowed: float32"):
        hf.save(tmp_path / "b", CONFIG, params, dtype="int32")
    with pytest.raises(ValueError, match="shard_bytes is 0"):
        hf.save(tmp_path / "b", CONFIG, params, shard_bytes=0)
    assert not (tmp_path / "b").exists()
    with pytest.raises(ValueError, match="tensor model.norm.weight.* holds nan"):
        hf.save(tmp_path / "c", CONFIG, params | {"norm": {"scale": np.full(32, np.nan, np.float32)}})
    assert not (tmp_path / "c" / "config.json").exists()


# --- memory ---

MEASURE = """
import json, sys
import jax
from pojax.models import hf

def peak():
    # Not ru_maxrss: it begins at the size of the process that forked this one.
    lines = dict(line.split(":", 1) for line in open("/proc/self/status"))
    return int(lines["VmHWM"].split()[0]) * 1024

hf.load(sys.argv[2])  # a small folder first: JAX's own memory is not what is measured
before = peak()
config, params = hf.load(sys.argv[1])
held = sum(x.nbytes for x in jax.tree.leaves(params))
largest = params["embedding"].nbytes
print(json.dumps(dict(before=before, peak=peak(), held=held, largest=largest)))
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak of a process is read from Linux's /proc")
def test_peak_of_host_memory(tmp_path):
    """Loading holds the arrays themselves and little more than the largest tensor: 290 MB of weights, the largest of 50 MB."""
    sizes = dict(vocab_size=12_800, hidden=1024, heads=8, kv_heads=4, mlp=4096, context=64, tie_embeddings=True)
    for name, layers in (("large", 4), ("small", 1)):
        config = models.qwen2(**sizes if name == "large" else sizes | dict(vocab_size=16), layers=layers)
        leaves = jax.eval_shape(lambda config=config: models.init(jax.random.key(0), config))
        hf.save(tmp_path / name, config, jax.tree.map(lambda x: np.full(x.shape, 0.5, x.dtype), leaves))
    command = [sys.executable, "-c", MEASURE, str(tmp_path / "large"), str(tmp_path / "small")]
    found = json.loads(
        subprocess.run(
            command, env=os.environ | {"XLA_FLAGS": "", "PYTHONPATH": str(Path(__file__).parents[3])}, capture_output=True, check=True
        ).stdout
    )
    print({name: f"{value / 2**20:.0f} MB" for name, value in found.items()})
    grown = found["peak"] - found["before"]
    assert found["held"] > 250 * 2**20 and grown > found["held"] / 2  # else this would measure nothing
    assert grown < found["held"] + 1.5 * found["largest"]
