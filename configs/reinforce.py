"""REINFORCE (Williams 1992; Back to Basics, arXiv 2402.14740): a response is one action, its baseline the mean reward of the batch.

The reference arm: no ratio and no clip.
One response to each prompt, so a batch has as many prompts as others have rows.
Paper: learning rate 1e-6, batch 512.

    python -m pojax.train --config=configs/reinforce.py --workdir=/tmp/reinforce
"""

from configs import common


def get_config(preset="tiny"):
    config = common.base(preset)
    config.batch_prompts *= 8
    config.method = dict(
        curricula=("uniform", {}),
        rollouts=("independent", dict(samples=1)),
        rewards=[("weighted_sum", dict(weights=dict(correct=1.0)))],
        advantages=[("batch_center", {})],
        losses=[("policy_gradient", {})],
        aggregate="sequence_mean_token_sum",
    )
    return config
