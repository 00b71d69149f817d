"""`python -m pojax.export`: runs whose model came from no folder, and runs with adapters."""

import json

import folders
import jax
import numpy as np
import pytest
import runs

from configs import grpo
from pojax import export, train
from pojax.binding import ConfigError
from pojax.build import subject
from pojax.chat import open_conversation
from pojax.checkpointing import load_params
from pojax.config import override, plain
from pojax.models import hf, lora
from pojax.tasks.tokenizers import load

pytestmark = pytest.mark.slow


def typed(capsys, *arguments):
    code = export.main(list(arguments))
    return code, *capsys.readouterr()


def newest(config, workdir):
    """Shape and parameters of the newest checkpoint of a run."""
    found = subject(plain(config), say=lambda line: None, devices=jax.devices()[:1])
    return found.model["policy"], load_params(workdir / "checkpoints", found.abstract_params())["policy"]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """A run of a preset without a folder."""
    workdir = tmp_path_factory.mktemp("tiny") / "run"
    config = runs.get_config("bnpo", warm_start=None, run__steps=1, run__eval_every=0, run__tensorboard=False)
    with runs.on_devices(1):
        train.run(config, workdir, say=lambda line: None)
    return config, workdir


def test_a_tiny_run(tiny, tmp_path, capsys):
    config, workdir = tiny
    out = tmp_path / "out"
    assert typed(capsys, f"--workdir={workdir}", "--out", str(out)) == (0, f"{out}\n", "")
    shape, params = hf.load(out)
    kept, trained = newest(config, workdir)
    assert shape == kept
    jax.tree.map(np.testing.assert_array_equal, params, trained)
    tokenizer = load(out)
    assert tokenizer.fingerprint() == load(workdir / "tokenizer").fingerprint() and shape.vocab_size == tokenizer.vocab_size
    assert json.loads((out / "generation_config.json").read_text()) == {"eos_token_id": [1], "pad_token_id": 0}
    half = export.export(str(workdir), str(tmp_path / "half"), dtype="bfloat16")
    assert {str(x.dtype) for x in jax.tree.leaves(hf.load(half)[1])} == {"bfloat16"}
    if folders.TORCH:
        import transformers

        model, report = transformers.AutoModelForCausalLM.from_pretrained(out, output_loading_info=True)
        assert not report["missing_keys"] and not report["unexpected_keys"] and model.generation_config.eos_token_id == [1]


def test_wrong_options_leave_nothing(tiny, tmp_path, capsys):
    workdir = tiny[1]
    (tmp_path / "full").mkdir()
    (tmp_path / "full/notes.txt").write_text("mine")
    out = tmp_path / "out"
    for arguments, words in (
        ([f"--workdir={workdir}"], "--out is missing; usage: python -m pojax.export --workdir=... --out=FOLDER"),
        ([f"--workdir={tmp_path}", f"--out={out}"], f"--workdir={tmp_path}: holds no config.json of a run, so no run"),
        ([f"--workdir={workdir}", f"--out={tmp_path / 'full'}"], "found something there, allowed: a folder that is new or empty"),
        ([f"--workdir={workdir}", f"--out={out}", "--merge"], "--merge: found a run without adapters"),
        ([f"--workdir={workdir}", f"--out={out}", "--dtype=float64"], "allowed: float32, float16, bfloat16"),
        ([f"--workdir={workdir}", f"--out={out}", "--merge=yes"], "'--merge=yes': nearest: --merge"),
    ):
        code, said, err = typed(capsys, *arguments)
        assert code == 2 and said == "" and err.count("\n") == 1 and words in err, err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["full"]


def test_adapters_alone_and_merged(tmp_path):
    pytest.importorskip("tokenizers", reason="tokenizers is not installed: pip install pojax[hf]")
    source, problems, workdir = folders.model(tmp_path / "model"), folders.gsm8k(tmp_path / "gsm8k"), tmp_path / "run"
    config = override(grpo.get_config("qwen2_5_0_5b_gsm8k"), folders.SMALL | {
        "model.folder": source, "task.path": problems, "model.lora": dict(rank=2, alpha=4.0), "optimizer.learning_rate": 1e-2,
        "run.steps": 2,
    })  # fmt: skip
    with runs.on_devices(1):
        train.run(config, workdir, say=lambda line: None)
    shape, trained = newest(config, workdir)
    base_shape, base = hf.load(source)
    jax.tree.map(np.testing.assert_array_equal, lora.off(trained), base)
    adapters = export.export(str(workdir), str(tmp_path / "adapters"))
    assert not (adapters / "model.safetensors").exists()
    with pytest.raises(ConfigError, match="--model: .* holds adapters alone, allowed: a whole model"):
        open_conversation(str(adapters))
    found, found_shape = lora.load_peft(adapters, base, base_shape)
    jax.tree.map(np.testing.assert_array_equal, found, trained)
    assert any(np.abs(np.asarray(x)).max() > 0 for x in jax.tree.leaves(lora.split(found, ("lora_b",))[1]))
    merged = export.export(str(workdir), str(tmp_path / "merged"), merge=True)
    expected = lora.merge(trained, shape)[0]
    jax.tree.map(np.testing.assert_array_equal, hf.load(merged)[1], expected)
    assert load(merged).fingerprint() == load(source).fingerprint()
