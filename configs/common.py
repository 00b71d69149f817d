"""What every config shares: a preset sets model, task and sizes, never the method.

config = common.base("tiny")
config.method = dict(...)
"""

from ml_collections import ConfigDict

from configs import presets


def sft(aggregate="token_mean"):
    """The supervised method of the warm start: the likelihood of worked solutions."""
    return dict(
        family="supervised",
        curricula=("uniform", {}),
        rollouts=("demonstrations", {}),
        losses=[("negative_log_likelihood", {})],
        aggregate=aggregate,
    )


def base(preset="tiny"):
    """Everything but the method; `preset` is the name of a function of PRESETS."""
    if preset not in PRESETS:
        raise ValueError(f"preset: found {preset!r}, allowed: {', '.join(PRESETS)}")
    return PRESETS[preset]()


def tiny():
    """For a laptop's CPU: a 2-layer decoder adds two-digit numbers and writes the sum from its lowest digit on."""
    config = ConfigDict()
    config.seed = 0
    config.task = ("arithmetic", dict(operations="+", digits=2, reverse=True, padded=True))
    config.model = ("qwen2", dict(hidden=128, layers=2, heads=4, kv_heads=2, mlp=384, tie_embeddings=True))
    config.batch_prompts = 64
    config.prompt_tokens = 6
    config.response_tokens = 5
    config.drop_long_prompts = False
    config.sampling = dict(top_k=0, top_p=1.0, min_p=0.0, processor=None)
    config.optimizer = ("adamw", dict(learning_rate=("linear", dict(start=4e-4, end=4e-5, steps=500))))
    config.warm_start = dict(method=sft(), steps=340, batch_prompts=128, optimizer=("adamw", dict(learning_rate=1e-3)))
    config.evaluation = dict(problems=512, samples=4, validation_problems=128)
    config.mesh = dict(data=-1, fsdp=1, tensor=1)
    config.init_from = None
    config.run = dict(
        steps=500, checkpoint_every=100, keep=3, eval_every=50, log_samples_every=100, diagnostics=True, tensorboard=True, wandb=None
    )
    return config


def micro():
    """For comparing many methods over seeds: a 2-layer decoder of width 64 sorts three or four digits; a run takes seconds."""
    config = tiny()
    config.task = ("sorting", dict(shortest=3, longest=4, validation=64, held_out=256))
    config.model = ("qwen2", dict(hidden=64, layers=2, heads=2, kv_heads=1, mlp=192, tie_embeddings=True))
    config.batch_prompts = 32
    config.prompt_tokens = 5
    config.response_tokens = 6  # the longest answer ends one token before the limit
    config.optimizer = ("adamw", dict(learning_rate=("warmup_cosine", dict(peak=5e-4, warmup=20, steps=250, end=5e-5))))
    config.evaluation = dict(problems=256, samples=8, validation_problems=64)
    config.warm_start = dict(config.warm_start) | dict(steps=100)
    config.run.steps = 250
    return config


def world():
    """For methods of several turns: a 2-layer decoder of width 64 walks a grid of 4 x 4 to a key and a door; the world answers each move.

    The shortest way has 2 to 6 moves; an episode has 8. Arrangements: `turns` with turns=8, action_tokens=1.
    """
    config = micro()
    config.task = ("key_and_door", dict(width=4, height=4, longest=6))
    config.prompt_tokens = 3
    config.response_tokens = 15  # 8 moves and 7 answers
    config.warm_start = dict(config.warm_start) | dict(steps=70)
    config.evaluation = dict(config.evaluation) | dict(turns=8, action_tokens=1)
    return config


def reach():
    """For methods that need several right answers: a 2-layer decoder of width 64 writes numbers as a sum, `3,18,5=26:` -> `5+3+18`."""
    config = micro()
    config.task = ("countdown", dict(operations="+", numbers=3, largest=20, target=60, validation=64, held_out=256))
    config.prompt_tokens = 12
    config.response_tokens = 10
    config.warm_start = dict(config.warm_start) | dict(steps=300)
    return config


PRESETS = {"tiny": tiny, "micro": micro, "world": world, "reach": reach} | presets.PRESETS
