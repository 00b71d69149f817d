"""Logits of Hugging Face transformers for small decoders with weights from a seed: makes golden_logits.npz.

    pip install -e .[hf-test] && python tests/models/golden.py

The weights come from numpy alone, so the comparison with the stored logits needs neither torch nor transformers.
"""

from pathlib import Path

import jax
import numpy as np

from pojax.models import DecoderConfig, init, llama3, qwen2

FILE = Path(__file__).with_name("golden_logits.npz")
SIZES = dict(vocab_size=61, hidden=32, layers=4, heads=4, kv_heads=2, head_dim=16, mlp=48, context=64)
# Half of the cases scan their layers. With these ranges one frequency is kept, one interpolated, the others divided.
LLAMA3_SCALING = dict(kind="llama3", factor=8.0, low_frequency_factor=1.0, high_frequency_factor=4.0, original_context=32)
CASES = {
    "llama3": llama3(**SIZES, rope_theta=10_000.0, rope_scaling=LLAMA3_SCALING),
    "llama3_linear": llama3(**SIZES, rope_scaling=dict(kind="linear", factor=2.0), tie_embeddings=True, unroll=0),
    "qwen2": qwen2(**SIZES, tie_embeddings=True),
    "qwen2_windows": qwen2(**SIZES, windows=(None, 3), unroll=0),
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
        centre = 1.0 if path[-1].key == "scale" else 0.0
        return (centre + 0.2 * random.standard_normal(leaf.shape)).astype(np.float32)

    return jax.tree_util.tree_map_with_path(draw, shapes)


def hf_model(config: DecoderConfig, params: dict):
    """The transformers model of a config, holding params."""
    import torch
    import transformers

    options = dict(
        vocab_size=config.vocab_size,
        hidden_size=config.hidden,
        num_hidden_layers=config.layers,
        num_attention_heads=config.heads,
        num_key_value_heads=config.kv_heads,
        head_dim=config.head_dim,
        intermediate_size=config.mlp,
        max_position_embeddings=config.context,
        rms_norm_eps=config.norm_epsilon,
        tie_word_embeddings=config.tie_embeddings,
        rope_parameters=rope_parameters(config),
        attn_implementation="eager",
    )
    if config.qkv_bias:
        window = max((w for w in config.windows if w), default=None)
        layers = [config.windows[i % config.period] for i in range(config.layers)]
        kinds = ["full_attention" if w is None else "sliding_attention" for w in layers]
        options |= dict(layer_types=kinds, use_sliding_window=window is not None, sliding_window=window)
        model = transformers.Qwen2ForCausalLM(transformers.Qwen2Config(**options))
    else:
        model = transformers.LlamaForCausalLM(transformers.LlamaConfig(**options))
    state = {name: torch.tensor(np.ascontiguousarray(value)) for name, value in hf_weights(config, params).items()}
    missing, unexpected = model.load_state_dict(state, strict=False)
    assert not unexpected and set(missing) <= ({"lm_head.weight"} if config.tie_embeddings else set()), (missing, unexpected)
    return model.eval()


def rope_parameters(config: DecoderConfig) -> dict:
    scaling = config.rope_scaling
    if scaling is None:
        return dict(rope_type="default", rope_theta=config.rope_theta)
    parameters = dict(rope_type=scaling.kind, rope_theta=config.rope_theta, factor=scaling.factor)
    if scaling.kind == "llama3":
        parameters["low_freq_factor"] = scaling.low_frequency_factor
        parameters["high_freq_factor"] = scaling.high_frequency_factor
        parameters["original_max_position_embeddings"] = scaling.original_context
    return parameters


def hf_weights(config: DecoderConfig, params: dict) -> dict[str, np.ndarray]:
    """Names and shapes of transformers: linear weights are [out, in]."""

    def linear(kernel: np.ndarray, inputs: int) -> np.ndarray:
        return kernel.reshape(np.prod(kernel.shape[:inputs]), -1).T

    named = {"model.embed_tokens.weight": params["embedding"], "model.norm.weight": params["norm"]["scale"]}
    if not config.tie_embeddings:
        named["lm_head.weight"] = params["unembedding"]
    for i in range(config.layers):
        block = jax.tree.map(lambda x, i=i: np.asarray(x)[i // config.period], params["blocks"][f"layer_{i % config.period}"])
        layer = {
            "input_layernorm.weight": block["attention_norm"]["scale"],
            "post_attention_layernorm.weight": block["mlp_norm"]["scale"],
            "self_attn.q_proj.weight": linear(block["query"]["kernel"], 1),
            "self_attn.k_proj.weight": linear(block["key_value"]["kernel"][:, 0], 1),
            "self_attn.v_proj.weight": linear(block["key_value"]["kernel"][:, 1], 1),
            "self_attn.o_proj.weight": linear(block["out"]["kernel"], 2),
            "mlp.gate_proj.weight": linear(block["gate_up"]["kernel"][:, 0], 1),
            "mlp.up_proj.weight": linear(block["gate_up"]["kernel"][:, 1], 1),
            "mlp.down_proj.weight": linear(block["down"]["kernel"], 1),
        }
        if config.qkv_bias:
            layer["self_attn.q_proj.bias"] = block["query"]["bias"].reshape(-1)
            layer["self_attn.k_proj.bias"] = block["key_value"]["bias"][0].reshape(-1)
            layer["self_attn.v_proj.bias"] = block["key_value"]["bias"][1].reshape(-1)
        named |= {f"model.layers.{i}.{name}": value for name, value in layer.items()}
    return named


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
