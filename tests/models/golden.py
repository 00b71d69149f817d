"""Logits of Hugging Face transformers for small decoders with weights from a seed: makes golden_logits.npz.

    pip install -e .[hf-test] && python tests/models/golden.py

The weights come from numpy alone, so the comparison with the stored logits needs neither torch nor transformers.
"""

import tempfile
from pathlib import Path

import jax
import numpy as np

from pojax.models import DecoderConfig, gemma2, gemma3, hf, init, llama2, llama3, mistral, qwen2, qwen3

FILE = Path(__file__).with_name("golden_logits.npz")
SIZES = dict(vocab_size=61, hidden=32, layers=4, heads=4, kv_heads=2, head_dim=16, mlp=48, context=64)
# With these ranges one frequency is kept, one interpolated, the others divided.
LLAMA3_SCALING = dict(kind="llama3", factor=8.0, low_frequency_factor=1.0, high_frequency_factor=4.0, original_context=32)
YARN = dict(kind="yarn", factor=4.0, original_context=16, beta_fast=2.0, beta_slow=0.25)
LONG = dict(
    kind="longrope",
    factor=4.0,
    short_factor=(1.0, 1.1, 1.2, 1.2, 1.3, 1.4, 1.5, 1.5),
    long_factor=(1.0, 2.0, 3.0, 5.0, 5.5, 6.0, 8.0, 9.0),
)
# Half of the cases scan their layers.
CASES = {
    "llama2": llama2(**SIZES),
    "llama3": llama3(**SIZES, rope_theta=10_000.0, rope_scaling=LLAMA3_SCALING),
    "llama3_linear": llama3(**SIZES, rope_scaling=dict(kind="linear", factor=2.0), tie_embeddings=True, unroll=0),
    # transformers takes the length of the batch, pojax that of the context: here they are the same.
    "llama3_dynamic": llama3(**SIZES | dict(context=14), rope_scaling=dict(kind="dynamic", factor=4.0, original_context=8)),
    "llama3_yarn": llama3(**SIZES, rope_theta=10_000.0, rope_scaling=YARN, unroll=0),
    "llama3_yarn_real": llama3(**SIZES, rope_theta=10_000.0, rope_scaling=YARN | dict(truncate=False, attention_factor=1.3)),
    "llama3_longrope": llama3(**SIZES, rope_scaling=LONG | dict(original_context=8)),
    "llama3_longrope_short": llama3(**SIZES, rope_scaling=LONG | dict(original_context=64)),
    "mistral": mistral(**SIZES, windows=(3,), unroll=0),
    "qwen2": qwen2(**SIZES, tie_embeddings=True),
    "qwen2_windows": qwen2(**SIZES, windows=(None, 3), unroll=0),
    "qwen2_upper_windows": qwen2(**SIZES, windows=(None, None, None, 3)),
    "qwen3": qwen3(**SIZES, unroll=0),
    "gemma2": gemma2(**SIZES, windows=(3, None), attention_scalar=24.0, attention_softcap=2.0, logit_softcap=5.0, unroll=0),
    # Five layers in periods of three: two are left.
    "gemma3": gemma3(**SIZES | dict(layers=5), windows=(3, 3, None), rope_scaling=dict(kind="linear", factor=8.0), unroll=0),
    "gemma3_unrolled": gemma3(**SIZES | dict(layers=5, heads=2, kv_heads=1), windows=(3, 3, None), attention_scalar=24.0),
}
LENGTHS = (14, 9, 1)  # real tokens of the rows, padded on the left to the longest


def batch() -> tuple[np.ndarray, np.ndarray]:
    """Tokens and mask [3, 14]."""
    width = max(LENGTHS)
    mask = np.arange(width) >= width - np.array(LENGTHS)[:, None]
    tokens = np.random.RandomState(7).randint(2, SIZES["vocab_size"], mask.shape)
    return np.where(mask, tokens, 0).astype(np.int32), mask


def weights(config: DecoderConfig, seed: int = 0) -> dict:
    """The tree of `init` with numbers of numpy's frozen generator, large enough that every part matters."""
    shapes = jax.eval_shape(lambda: init(jax.random.key(0), config))
    random = np.random.RandomState(seed)

    def draw(path, leaf):
        centre = 1.0 if path[-1].key == "scale" and not config.norm_offset else 0.0
        return (centre + 0.2 * random.standard_normal(leaf.shape)).astype(np.float32)

    return jax.tree_util.tree_map_with_path(draw, shapes)


def hf_model(config: DecoderConfig, params: dict):
    """The transformers model of a config, holding params: what transformers makes of the folder that pojax writes."""
    import transformers

    automatic = transformers.AutoModelForCausalLM if config.output == "tokens" else transformers.AutoModelForSequenceClassification
    with tempfile.TemporaryDirectory() as folder:
        hf.save(folder, config, params)
        return automatic.from_pretrained(folder, attn_implementation="eager").eval()


def hf_logits(config: DecoderConfig, params: dict, tokens: np.ndarray, mask: np.ndarray) -> np.ndarray:
    import torch

    positions = np.maximum(np.cumsum(mask, axis=1) - 1, 0)
    with torch.no_grad():
        given = dict(input_ids=tokens.astype(np.int64), attention_mask=mask.astype(np.int64), position_ids=positions.astype(np.int64))
        return hf_model(config, params)(**{name: torch.tensor(value) for name, value in given.items()}).logits.numpy()


if __name__ == "__main__":
    tokens, mask = batch()
    np.savez_compressed(FILE, **{name: hf_logits(config, weights(config), tokens, mask)[mask] for name, config in CASES.items()})
    print(f"{FILE}: logits of {', '.join(CASES)}")
