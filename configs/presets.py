"""Presets of published models: true sizes, real data, and numbers from recipes of their class.

    python -m pojax.train --config=configs/grpo.py:qwen2_5_0_5b_gsm8k --workdir=... --config.model.folder=... --config.task.path=...

`model.folder` is a folder of Hugging Face: architecture, sizes, weights and tokenizer are taken from it, and the sizes below are those of
the published model, for `explain` and for what is checked before a folder is at hand. Fine-tuned and base models of a size share a preset.
Rows are cut into micro-batches of at most `micro_rows`, which changes memory and no number; weights are kept in float32, because the
steps of these learning rates vanish in bfloat16, and multiplied in bfloat16. There is no warm start: these models answer already.
"""

from ml_collections import ConfigDict

RUNNING = dict(folder=None, dtype="bfloat16", param_dtype="float32", remat=True)


def _language_model(model, task, *, batch_prompts, prompt_tokens, response_tokens, micro_rows):
    """What presets of pretrained models share. The learning rate is that of GRPO (arXiv 2402.03300), Dr. GRPO and DAPO: 1e-6, constant."""
    config = ConfigDict()
    config.seed = 0
    config.task = task
    config.model = model
    config.batch_prompts = batch_prompts
    config.prompt_tokens = prompt_tokens
    config.response_tokens = response_tokens
    config.micro_rows = micro_rows
    config.drop_long_prompts = True
    config.sampling = dict(top_k=0, top_p=1.0, min_p=0.0, processor=None)
    config.optimizer = ("adamw", dict(learning_rate=1e-6))
    config.warm_start = None
    config.evaluation = dict(problems=1319, samples=1, validation_problems=256)
    config.mesh = dict(data=1, fsdp=-1, tensor=1)
    config.init_from = None
    config.run = dict(
        steps=200, checkpoint_every=20, keep=2, eval_every=20, log_samples_every=20, diagnostics=True, tensorboard=True, wandb=None
    )
    return config


def _gsm8k(model):
    """Grade-school problems (arXiv 2110.14168). Instruction, prompts of 512 and responses of 256 tokens: those of verl's GSM8K example.

    Chosen here: 64 prompts an iteration (512 rows with 8 samples), micro-batches of 32 rows. Models that were tuned to chat are asked in
    their template by `--config.task.chat={}`.
    """
    asked = '{question} Let\'s think step by step and output the final answer after "####".\n'
    task = ("gsm8k", dict(path=None, template=asked))
    return _language_model(model, task, batch_prompts=64, prompt_tokens=512, response_tokens=256, micro_rows=32)


def _math(model, micro_rows):
    """Competition problems (arXiv 2103.03874). 128 prompts of 1024 and responses of 3072 tokens, in all the context of 4096 of Dr. GRPO.

    Dr. GRPO (arXiv 2503.20783) samples 8 responses: 1024 rows with `samples=8`. The instruction is that of Qwen2.5-Math (arXiv
    2409.12122). The micro-batches are chosen here.
    """
    asked = "{problem}\nPlease reason step by step, and put your final answer within \\boxed{{}}.\n"
    return _language_model(
        model, ("math", dict(path=None, template=asked)), batch_prompts=128, prompt_tokens=1024, response_tokens=3072, micro_rows=micro_rows
    )


def qwen2_5_0_5b_gsm8k():
    """Qwen2.5-0.5B (arXiv 2412.15115), 494 million parameters, on GSM8K; one accelerator."""
    sizes = dict(vocab_size=151936, hidden=896, layers=24, heads=14, kv_heads=2, mlp=4864, tie_embeddings=True)
    return _gsm8k(("qwen2", sizes | RUNNING))


def qwen2_5_1_5b_math():
    """Qwen2.5-1.5B, 1.54 billion parameters, on MATH; one accelerator of 80 GB, or several."""
    sizes = dict(vocab_size=151936, hidden=1536, layers=28, heads=12, kv_heads=2, mlp=8960, tie_embeddings=True)
    return _math(("qwen2", sizes | RUNNING), micro_rows=16)


def qwen2_5_7b_math():
    """Qwen2.5-7B, 7.6 billion parameters, on MATH; eight accelerators of 80 GB."""
    sizes = dict(vocab_size=152064, hidden=3584, layers=28, heads=28, kv_heads=4, mlp=18944, tie_embeddings=False)
    return _math(("qwen2", sizes | RUNNING), micro_rows=32)


def qwen3_4b_math():
    """Qwen3-4B (arXiv 2505.09388), 4.0 billion parameters, on MATH; four accelerators of 80 GB, or more."""
    sizes = dict(vocab_size=151936, hidden=2560, layers=36, heads=32, kv_heads=8, head_dim=128, mlp=9728, tie_embeddings=True)
    return _math(("qwen3", sizes | RUNNING), micro_rows=32)


def llama3_2_1b_gsm8k():
    """Llama-3.2-1B (arXiv 2407.21783), 1.24 billion parameters, on GSM8K; one accelerator."""
    scaling = dict(kind="llama3", factor=32.0, low_frequency_factor=1.0, high_frequency_factor=4.0, original_context=8192)
    sizes = dict(vocab_size=128256, hidden=2048, layers=16, heads=32, kv_heads=8, mlp=8192, tie_embeddings=True)
    return _gsm8k(("llama3", sizes | dict(rope_scaling=scaling) | RUNNING))


def gemma3_1b_gsm8k():
    """Gemma 3 1B (arXiv 2503.19786), 1.0 billion parameters, on GSM8K; one accelerator."""
    sizes = dict(vocab_size=262144, hidden=1152, layers=26, heads=4, kv_heads=1, head_dim=256, mlp=6912)
    return _gsm8k(("gemma3", sizes | RUNNING))


PRESETS = {
    f.__name__: f for f in (qwen2_5_0_5b_gsm8k, qwen2_5_1_5b_math, qwen2_5_7b_math, qwen3_4b_math, llama3_2_1b_gsm8k, gemma3_1b_gsm8k)
}
