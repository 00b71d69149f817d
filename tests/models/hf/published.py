"""config.json as published models have it, the keys that matter for the architecture, with sizes cut so that tests are fast."""

SIZES = dict(vocab_size=61, hidden_size=32, num_attention_heads=4, num_key_value_heads=2, intermediate_size=48)
LLAMA3_ROPE = {
    "factor": 32.0,
    "high_freq_factor": 4.0,
    "low_freq_factor": 1.0,
    "original_max_position_embeddings": 8192,
    "rope_type": "llama3",
}
GEMMA = dict(head_dim=16, attention_bias=False, attention_dropout=0.0, hidden_activation="gelu_pytorch_tanh", rms_norm_eps=1e-06)
QWEN = dict(hidden_act="silu", attention_dropout=0.0, rms_norm_eps=1e-06, use_sliding_window=False)

# qwen2_5_7b_yarn has the scaling of that model's documentation with a smaller range; the windows of qwen2_windows are switched on.
PUBLISHED = {
    "llama2_7b": dict(
        **SIZES | dict(num_key_value_heads=4), num_hidden_layers=2, architectures=["LlamaForCausalLM"], model_type="llama",
        hidden_act="silu", max_position_embeddings=4096, pretraining_tp=1, rms_norm_eps=1e-05, rope_scaling=None, tie_word_embeddings=False,
        torch_dtype="float16",
    ),
    "llama3_2_1b": dict(
        **SIZES, num_hidden_layers=2, architectures=["LlamaForCausalLM"], model_type="llama", attention_bias=False, attention_dropout=0.0,
        head_dim=16, hidden_act="silu", max_position_embeddings=131072, mlp_bias=False, pretraining_tp=1, rms_norm_eps=1e-05,
        rope_scaling=LLAMA3_ROPE, rope_theta=500000.0, tie_word_embeddings=True, torch_dtype="bfloat16",
    ),
    "mistral_7b_v0_1": dict(
        **SIZES, num_hidden_layers=2, architectures=["MistralForCausalLM"], model_type="mistral", hidden_act="silu",
        max_position_embeddings=32768, rms_norm_eps=1e-05, rope_theta=10000.0, sliding_window=4, tie_word_embeddings=False,
    ),
    "mistral_7b_v0_3": dict(
        **SIZES, num_hidden_layers=2, architectures=["MistralForCausalLM"], model_type="mistral", hidden_act="silu",
        max_position_embeddings=32768, rms_norm_eps=1e-05, rope_theta=1000000.0, sliding_window=None, tie_word_embeddings=False,
    ),
    "qwen2_5_0_5b": dict(
        **SIZES, **QWEN, num_hidden_layers=2, architectures=["Qwen2ForCausalLM"], model_type="qwen2", max_position_embeddings=32768,
        max_window_layers=21, rope_theta=1000000.0, sliding_window=32768, tie_word_embeddings=True,
    ),
    "qwen2_5_7b_yarn": dict(
        **SIZES, **QWEN, num_hidden_layers=2, architectures=["Qwen2ForCausalLM"], model_type="qwen2", max_position_embeddings=32768,
        max_window_layers=28, rope_theta=1000000.0, sliding_window=131072, tie_word_embeddings=False,
        rope_scaling={"factor": 4.0, "original_max_position_embeddings": 8, "type": "yarn"},
    ),
    "qwen2_windows": dict(
        **SIZES, **QWEN | dict(use_sliding_window=True), num_hidden_layers=4, architectures=["Qwen2ForCausalLM"], model_type="qwen2",
        max_position_embeddings=32768, max_window_layers=3, rope_theta=1000000.0, sliding_window=4, tie_word_embeddings=False,
    ),
    "qwen3_4b": dict(
        **SIZES, **QWEN, num_hidden_layers=2, architectures=["Qwen3ForCausalLM"], model_type="qwen3", attention_bias=False, head_dim=12,
        max_position_embeddings=40960, max_window_layers=36, rope_scaling=None, rope_theta=1000000, sliding_window=None,
        tie_word_embeddings=True,
    ),
    "gemma2_2b": dict(
        **SIZES, **GEMMA, num_hidden_layers=3, architectures=["Gemma2ForCausalLM"], model_type="gemma2", attn_logit_softcapping=50.0,
        final_logit_softcapping=30.0, hidden_act="gelu_pytorch_tanh", max_position_embeddings=8192, query_pre_attn_scalar=256,
        rope_theta=10000.0, sliding_window=4,
    ),
    "gemma3_1b": dict(
        **SIZES | dict(num_key_value_heads=1), **GEMMA, num_hidden_layers=8, architectures=["Gemma3ForCausalLM"], model_type="gemma3_text",
        attn_logit_softcapping=None, final_logit_softcapping=None, cache_implementation="hybrid", max_position_embeddings=32768,
        query_pre_attn_scalar=256, rope_local_base_freq=10000, rope_scaling=None, rope_theta=1000000, sliding_window=4,
        sliding_window_pattern=6,
    ),
    "gemma3_scaled": dict(
        **SIZES | dict(num_key_value_heads=1), **GEMMA, num_hidden_layers=7, architectures=["Gemma3ForCausalLM"], model_type="gemma3_text",
        max_position_embeddings=131072, query_pre_attn_scalar=16, rope_local_base_freq=10000.0,
        rope_scaling={"factor": 8.0, "rope_type": "linear"}, rope_theta=1000000.0, sliding_window=4,
    ),
}  # fmt: skip
