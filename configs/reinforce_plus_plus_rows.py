"""REINFORCE++ by rows, the ms-swift estimator (REINFORCE++, arXiv 2501.03262): centred in the group, over the batch's spread of the result.

Against GRPO: the divisor is the standard deviation of all centred rewards of the batch, so that a prompt whose responses hardly differ is
not blown up; no sorting into easy and hard prompts.
Paper: whitens over tokens, not rows.
Code: ms-swift advantage_estimator "reinforce_plus_plus" with scale_rewards "batch"; its other estimators and scales are keywords here.
Assumed: clip 0.2, token mean, no KL.
Names: REINFORCE++ whitens tokens in the paper, verl and OpenRLHF, rows in ms-swift and TRL.

    python -m pojax.train --config=configs/reinforce_plus_plus_rows.py --workdir=/tmp/reinforce_plus_plus_rows
"""

from configs import common


def get_config(preset="tiny"):
    config = common.base(preset)
    config.method = dict(
        curricula=("uniform", {}),
        rollouts=("independent", dict(samples=8)),
        rewards=[("weighted_sum", dict(weights=dict(correct=1.0)))],
        advantages=[("centred_advantages", dict(estimator="reinforce_plus_plus", scale="batch"))],
        losses=[("ppo_clip", dict(epsilon=0.2))],
        aggregate="token_mean",
        minibatches=4,
    )
    return config
