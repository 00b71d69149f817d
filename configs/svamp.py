"""BNPO on SVAMP (arXiv 2103.07191): English word problems, answered by an equation that a parser checks.

Warm start on the worked equations of the training split, reinforcement learning on whether the equation, parsed and never evaluated as
code, has the right value. There is no official split, and half of a random test split shares its sentence with a training row up to the
numbers: problems whose sentence is equal with its numbers masked stay in one split. A sentencepiece tokenizer is trained on the training
split.

    python -m pojax.train --config=configs/svamp.py --config.task.path=SVAMP.json --workdir=/tmp/svamp   # held-out pass@1 1.5% -> 4.5%
"""

from configs import bnpo


def get_config(preset="tiny"):
    config = bnpo.get_config(preset)
    config.task = ("svamp", dict(path=None, vocabulary=1024))
    config.model = ("qwen2", dict(hidden=128, layers=3, heads=4, kv_heads=2, mlp=384, tie_embeddings=True))
    config.prompt_tokens, config.response_tokens = 128, 20
    config.batch_prompts = 16
    config.warm_start = dict(config.warm_start) | dict(steps=400, batch_prompts=32)
    config.evaluation = dict(problems=201, samples=4, validation_problems=100)
    config.run.steps = 100
    config.optimizer = ("adamw", dict(learning_rate=2e-4))
    return config
