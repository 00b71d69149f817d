"""Small Hugging Face folders and problems in the form of GSM8K: what runs on real models and real data are tried on."""

import importlib.util
import json
import shutil
from pathlib import Path

import jax
import shared
import tokenizer_folders

from pojax import models
from pojax.models import hf
from pojax.tasks.tokenizers import load
from pojax.tasks.verifiers import verifier

TORCH = importlib.util.find_spec("torch") is not None and importlib.util.find_spec("transformers") is not None
CHATML = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
VOCABULARY = 448  # more than the tokenizer has, as published models do
SIZES = {
    "qwen2": dict(vocab_size=VOCABULARY, hidden=64, layers=2, heads=4, kv_heads=2, mlp=128, tie_embeddings=True, context=1024),
    "gemma3": dict(vocab_size=VOCABULARY, hidden=64, layers=2, heads=4, kv_heads=1, head_dim=16, mlp=128, windows=(16, None), context=1024),
}
NAMES = dict(
    vocab_size="vocab_size", hidden="hidden_size", layers="num_hidden_layers", heads="num_attention_heads", kv_heads="num_key_value_heads",
    mlp="intermediate_size", context="max_position_embeddings", tie_embeddings="tie_word_embeddings", head_dim="head_dim",
)  # fmt: skip


# What cuts a preset down to steps of a second; the reward pays for letters, since random weights never answer right.
SMALL = {
    "model.dtype": "float32", "model.context": 512, "batch_prompts": 4, "prompt_tokens": 320, "response_tokens": 8, "micro_rows": 8,
    "task.template": "{question}\n", "task.validation": 4, "method.rollouts.samples": 4, "optimizer.learning_rate": 1e-3,
    "task.verifier": [("numeric", dict(extract="hash_marks")), ("folders:letters", {})],
    "method.rewards.weighted_sum.weights": dict(correct=1.0, letters=1.0), "evaluation": dict(problems=4, samples=2, validation_problems=0),
    "run.steps": 3, "run.checkpoint_every": 0, "run.eval_every": 0, "run.log_samples_every": 0, "run.diagnostics": False,
    "run.tensorboard": False,
}  # fmt: skip


@verifier("letters")
def letters(sample, answer):
    """Share of letters in a response: what random weights write differs in it."""
    return {"letters": sum(c.isalpha() for c in sample.text) / max(len(sample.text), 1)}


def model(folder, architecture="qwen2", *, template=CHATML, seed=0) -> str:
    """A folder with two layers of random weights, made by transformers where torch is installed, and a byte-level tokenizer."""
    folder = Path(folder)
    tokenizer_folders.byte_level(folder, eos_token="<|im_end|>", pad_token="<|endoftext|>", chat_template=template)
    (_by_transformers if TORCH else _by_pojax)(folder, architecture, seed)
    return str(folder)


def _by_transformers(folder, architecture, seed):
    import torch
    import transformers

    sizes = {NAMES[name]: value for name, value in SIZES[architecture].items() if name in NAMES}
    end = load(folder).end
    torch.manual_seed(seed)
    if architecture == "qwen2":
        config = transformers.Qwen2Config(**sizes, eos_token_id=end)
        transformers.Qwen2ForCausalLM(config).save_pretrained(folder)
    else:
        kinds = ["full_attention" if window is None else "sliding_attention" for window in SIZES[architecture]["windows"]]
        config = transformers.Gemma3TextConfig(
            **sizes, sliding_window=16, layer_types=kinds, query_pre_attn_scalar=16, eos_token_id=end, bos_token_id=None, pad_token_id=0
        )
        transformers.Gemma3ForCausalLM(config).save_pretrained(folder)


def _by_pojax(folder, architecture, seed):
    config = getattr(models.config, architecture)(**SIZES[architecture])
    hf.save(folder, config, models.init(jax.random.key(seed), config))


def gsm8k(folder) -> str:
    """A folder with train.jsonl and test.jsonl: the first rows of GSM8K where it is at hand, else made up in its form."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for split, rows in (("train", 60), ("test", 12)):
        file = shared.place(f"gsm8k/{split}.jsonl")
        lines = file.read_text().splitlines()[:rows] if file.exists() else [_made_up(i, split) for i in range(rows)]
        (folder / f"{split}.jsonl").write_text("\n".join(lines) + "\n")
    return str(folder)


def _made_up(i, split):
    apples, more = 3 + i, 5 if split == "train" else 7
    question = f"Dan had {apples} apples and bought {more} of them. How many apples does he have?"
    return json.dumps({"question": question, "answer": f"He has {apples} + {more} = {apples + more} apples.\n#### {apples + more}"})


def copy(folder, to) -> Path:
    return Path(shutil.copytree(folder, to))
