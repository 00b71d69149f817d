"""REINFORCE, moving (Back to Basics, arXiv 2402.14740): the baseline is the mean reward of all earlier iterations.

The arm between vanilla REINFORCE and RLOO. The mean is a table that one tracker writes after the update; 0 before the first.
Paper: learning rate 1e-6, batch 512.

    python -m pojax.train --config=configs/reinforce_moving.py --workdir=/tmp/reinforce_moving
"""

from configs import common


def get_config(preset="tiny"):
    config = common.base(preset)
    config.batch_prompts *= 8
    config.method = dict(
        curricula=("uniform", {}),
        rollouts=("independent", dict(samples=1)),
        rewards=[("weighted_sum", dict(weights=dict(correct=1.0)))],
        advantages=[("subtract_baseline", dict(baseline="reward_mean.value"))],
        losses=[("policy_gradient", {})],
        aggregate="sequence_mean_token_sum",
        trackers=dict(reward_mean=("running_mean", {})),
    )
    return config
