"""DAPO-direct, Direct Advantage Policy Optimization (arXiv 2412.18279): the log-ratio of every reasoning step is fitted to its advantage.

Against GRPO: credit per step, from values of the states between steps; a regression without ratio to the old policy or clip.
Paper: values from a critic trained on completions and frozen, steps of a generator, offline; about +7.6 on MATH and +9.2 on MBPP+ at best.
Here the values are Monte Carlo estimates (`vine`), on line; a step is two tokens.
Assumed: the constants of the square, beta 0.5, one step per batch.
Names: not the ByteDance DAPO, `dapo`.

    python -m pojax.train --config=configs/dapo_direct.py --workdir=/tmp/dapo_direct
"""

from configs import common


def get_config(preset="tiny"):
    config = common.base(preset)
    config.method = dict(
        curricula=("uniform", {}),
        rollouts=("vine", dict(boundaries=("every", dict(tokens=2)), samples=8, continuations=4, max_cuts=3)),
        rewards=[("weighted_sum", dict(weights=dict(correct=1.0)))],
        advantages=[("segment_advantages", {}), ("step_starts", {})],
        losses=[("step_regression", dict(beta=0.5, where="step_start"))],
        aggregate="token_mean",
    )
    return config
