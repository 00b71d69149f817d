"""Decoder language models: shapes, parameters, hidden states, outputs per token, and the cached step of the sampler."""

from pojax.models.config import DecoderConfig, RopeScaling, gemma2, gemma3, llama2, llama3, mistral, qwen2, qwen3
from pojax.models.decoder import (
    Cache,
    decode_params,
    decode_step,
    fork,
    hidden_states,
    init,
    logical_axes,
    logits_of,
    prefill,
    take_rows,
    unembedding,
)
from pojax.models.outputs import TOKEN_OUTPUTS, entropy_of, score, token_logit, token_outputs
from pojax.models.targets import LoRA

__all__ = [
    "TOKEN_OUTPUTS",
    "Cache",
    "DecoderConfig",
    "LoRA",
    "RopeScaling",
    "decode_params",
    "decode_step",
    "entropy_of",
    "fork",
    "gemma2",
    "gemma3",
    "hidden_states",
    "init",
    "llama2",
    "llama3",
    "logical_axes",
    "logits_of",
    "mistral",
    "prefill",
    "qwen2",
    "qwen3",
    "score",
    "take_rows",
    "token_logit",
    "token_outputs",
    "unembedding",
]
