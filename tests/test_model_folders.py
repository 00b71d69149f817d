"""A folder of Hugging Face in, trained on problems of GSM8K's form, measured, talked to, and a folder out again."""

import io
import json

import folders
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import runs

from configs import grpo
from pojax import chat, evaluate, export, train
from pojax.binding import ConfigError
from pojax.build import subject
from pojax.checkpointing import load_params
from pojax.config import override, plain
from pojax.models import hf
from pojax.models.decoder import Decoder, logits_of, unembedding
from pojax.sampling import Stream, sample
from pojax.tasks.tokenizers import load

pytest.importorskip("tokenizers", reason="tokenizers is not installed: pip install pojax[hf]")
PRESETS = {"qwen2": "qwen2_5_0_5b_gsm8k", "gemma3": "gemma3_1b_gsm8k"}
DEVICES = {"qwen2": 2, "gemma3": 1}  # with two, weights are loaded into halves


def config_of(architecture, folder, problems, **changes):
    """GRPO with a preset, cut down; everything of the architecture comes from the folder."""
    return override(grpo.get_config(PRESETS[architecture]), {"model.folder": folder, "task.path": problems} | folders.SMALL | changes)


class Case:
    """A run of three steps from a folder, and the folder that it was exported to."""

    def __init__(self, path, architecture):
        self.architecture, self.path, self.said = architecture, path, []
        self.source, self.problems = folders.model(path / "model", architecture), folders.gsm8k(path / "gsm8k")
        self.config = config_of(architecture, self.source, self.problems)
        self.workdir = path / "run"
        with runs.on_devices(DEVICES[architecture]):
            self.summary = train.run(self.config, self.workdir, say=self.said.append)
        self.out = export.export(str(self.workdir), str(path / "out"))
        found = subject(plain(self.config), say=lambda line: None, devices=jax.devices()[:1])
        self.shape = found.model["policy"]
        self.trained = load_params(self.workdir / "checkpoints", found.abstract_params())["policy"]


@pytest.fixture(scope="module", params=PRESETS)
def case(request, tmp_path_factory):
    return Case(tmp_path_factory.mktemp(request.param), request.param)


def logits(shape, params, tokens):
    """Logits [T, V] after every token."""
    hidden, _ = Decoder(shape).apply({"params": params}, jnp.asarray(tokens)[None], jnp.ones((1, len(tokens)), bool))
    return np.asarray(logits_of(unembedding(params, shape), hidden[0], shape))


@pytest.mark.slow
def test_trains_and_moves(case):
    begun = hf.load(case.source)[1]
    moved = jax.tree.map(lambda a, b: float(np.abs(np.asarray(a) - np.asarray(b)).max()), begun, case.trained)
    assert all(0 < x < 0.1 for x in jax.tree.leaves(moved)), moved
    assert case.summary["finished"] and case.summary["iterations"] == 3
    (line,) = [line for line in case.said if "differs from the sizes of the config" in line]
    assert "hidden 64 for " in line and "layers 2 for " in line and "dtype" not in line
    lines = [json.loads(line) for line in (case.workdir / "metrics.jsonl").read_text().splitlines()]
    assert all(line["policy/gradient_norm"] > 0 for line in lines)


@pytest.mark.slow
def test_exported_folder(case):
    shape, params = hf.load(case.out)
    jax.tree.map(np.testing.assert_array_equal, params, case.trained)
    assert hf.read_config(case.out) == hf.read_config(case.source)
    ours, theirs = load(case.out), load(case.source)
    assert ours.fingerprint() == theirs.fingerprint() and ours.ends == theirs.ends and ours.templates() == theirs.templates()
    with pytest.raises(ConfigError, match="found something there, allowed: a folder that is new or empty"):
        export.export(str(case.workdir), str(case.out))
    if folders.TORCH:
        import torch
        import transformers

        model, report = transformers.AutoModelForCausalLM.from_pretrained(case.out, output_loading_info=True)
        assert not report["missing_keys"] and not report["unexpected_keys"] and model.dtype == torch.float32
        tokenizer = transformers.AutoTokenizer.from_pretrained(case.out)
        tokens = tokenizer.encode("Dan had 3 apples and gave 2 of them away.")
        assert tokens == load(case.out).encode("Dan had 3 apples and gave 2 of them away.")
        with torch.no_grad():
            expected = model(torch.tensor([tokens])).logits[0].numpy()
        np.testing.assert_allclose(logits(shape, params, np.array(tokens)), expected, atol=1e-4)


@pytest.mark.slow
def test_goes_on_with_its_own_folder_only(case, tmp_path):
    before, config = folders.copy(case.workdir, tmp_path / "run"), case.path / "model/config.json"
    said, kept = [], config.read_bytes()
    with runs.on_devices(DEVICES[case.architecture]):
        with pytest.raises(ConfigError, match=r"made by another config \(model.1.folder"):
            train.run(override(case.config, {"model.folder": str(case.out)}), before, say=said.append)
        config.write_bytes(kept + b"\n")
        with pytest.raises(ConfigError, match="began with another model in .*model than what is there now"):
            train.run(case.config, before, say=said.append)
        config.write_bytes(kept)
        train.run(override(case.config, {"run.steps": 4}), before, say=said.append)
    assert "going on from iteration 3" in said


@pytest.mark.slow
def test_evaluates_folders(case, tmp_path, capsys):
    sizes = ["--samples=2", "--problems=5", "--prompt-tokens=320", "--response-tokens=8"]
    with runs.on_devices(1):
        code = evaluate.main([f"--model={case.out}", "--task=gsm8k", f"--path={case.problems}", "--config.task.validation=4", *sizes,
                              "--compare", case.source, f"--out={tmp_path / 'found.json'}"])  # fmt: skip
    out, err = capsys.readouterr()
    assert code == 0 and out.startswith("pass@1 0.0% [0.0%, 0.0%], greedy 0.0% (5 held-out problems x 2 samples)"), out + err
    assert "pass@k  1: 0.0%" in out and "maj@k  1:" in out and "5 problems with wrong answers, the first of them:" in out
    assert f"pass_at_1 minus that of {case.source}: +0.0% [+0.0%, +0.0%]" in out and "0 better, 0 worse, 5 equal" in out
    found = json.loads((tmp_path / "found.json").read_text())
    assert len(found["by_problem"]) == 5 and found["compare"]["problems"] == 5
    assert sum(x["samples"] for x in found["by_length"]) == 10
    # The run, measured on the same problems with the same seed, is the folder that it was exported to.
    with runs.on_devices(1):
        code = evaluate.main([f"--workdir={case.workdir}", *sizes, f"--out={tmp_path / 'run.json'}"])
    assert code == 0 and json.loads((tmp_path / "run.json").read_text())["by_problem"] == found["by_problem"], capsys.readouterr()


def test_other_contexts_and_tokenizers_are_refused(tmp_path):
    source, problems = folders.model(tmp_path / "model"), folders.gsm8k(tmp_path / "gsm8k")
    for changes, words in (
        ({"model.context": 2048}, "model.context: found 2048, allowed: at most 1024, the context of"),
        ({"model.context": 320}, r"model.context: found 320, allowed: at least prompt_tokens \+ response_tokens = 328"),
        ({"task": ("arithmetic", {})}, "has a tokenizer of its own, 22 tokens, which is not that of model.folder"),
    ):
        with pytest.raises(ConfigError, match=words):
            subject(plain(config_of("qwen2", source, problems, **changes)), say=lambda line: None)


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    return folders.model(tmp_path_factory.mktemp("chat") / "model")


def test_a_stream_is_what_the_sampler_draws(small):
    config, params = hf.load(small)
    stream, prompt, key = Stream(config, params, response_tokens=12), [5, 6, 7], jax.random.key(3)
    for settings in (dict(temperature=1.0), dict(temperature=0.7, top_k=20, top_p=0.9), dict(temperature=0.0)):
        padded, mask = np.zeros((1, 8), np.int32), np.arange(8)[None] >= 5
        padded[0, 5:] = prompt
        expected = sample(params, config, key[None], padded, mask, response_tokens=12, end_tokens=(2,), **settings)
        drawn = list(stream(prompt, key, end_tokens=(2,), **settings))
        assert drawn == np.asarray(expected.tokens)[0][np.asarray(expected.mask)[0]].tolist()


def test_turns_keep_their_tokens_and_compile_once(small):
    conversation = chat.open_conversation(small, max_tokens=6, seed=1)
    first = "".join(conversation.ask("How many apples?", temperature=1.0))
    record = list(conversation.ids)
    assert conversation.tokenizer.decode(record[-6:]).endswith(first[-1:]) and conversation.messages[-1]["content"] == first
    with jax.no_tracing():
        "".join(conversation.ask("And now?", temperature=0.5))  # of another length, in the same bucket
    assert conversation.ids[: len(record)] == record and len(conversation.messages) == 4
    conversation.reset()
    stopped = conversation.ask("How many apples?", temperature=1.0)
    next(stopped)
    stopped.close()  # what Ctrl-C does
    assert len(conversation.messages) == 2 and conversation.ids[len(record) - 6 - 1] == record[-6 - 1]
    long = "apples " * 2000
    with pytest.raises(ValueError, match="/reset begins again"):
        list(conversation.ask(long, temperature=1.0))
    assert len(conversation.messages) == 2


def test_lines_of_a_pipe(small, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO("How many?\n\n/temperature=0\n/rest\n/reset\nHow many?\n/quit\nnever\n"))
    assert chat.main([f"--model={small}", "--max-tokens=4", "--temperature=0", "--system=Answer."]) == 0
    out, err = capsys.readouterr()
    assert len(out.split("\n")) >= 3 and out[: len(out) // 2] == out[len(out) // 2 :]  # greedy, twice the same question
    assert "/rest: no such command; /reset begins again" in err and "the model" not in err
    plain_folder = folders.model(tmp_path / "plain", template=None)
    monkeypatch.setattr("sys.stdin", io.StringIO("Dan had 3 apples\n"))
    assert chat.main([f"--model={plain_folder}", "--max-tokens=3"]) == 0 and capsys.readouterr().out
    assert chat.main([f"--model={plain_folder}", "--system=x"]) == 2 and "has no chat template" in capsys.readouterr().err
    assert chat.main([]) == 2 and "--model is missing" in capsys.readouterr().err
