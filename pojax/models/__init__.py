"""Decoder language models: shapes, parameters, hidden states, outputs per token, and the cached step of the sampler."""

from pojax.models.config import DecoderConfig, RopeScaling, llama3, qwen2
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
from pojax.models.outputs import TOKEN_OUTPUTS, entropy_of, token_logit, token_outputs

__all__ = [
    "TOKEN_OUTPUTS",
    "Cache",
    "DecoderConfig",
    "RopeScaling",
    "decode_params",
    "decode_step",
    "entropy_of",
    "fork",
    "hidden_states",
    "init",
    "llama3",
    "logical_axes",
    "logits_of",
    "prefill",
    "qwen2",
    "take_rows",
    "token_logit",
    "token_outputs",
    "unembedding",
]
