"""GFPO, Group Filtered Policy Optimization (arXiv 2508.09726): learn from the k shortest or most efficient responses of a group.

Against GRPO: advantages are taken among the k responses that score best for their length; the others are out of the loss and its divisor.
So short answers are learned without a length term in the reward.
Paper: up to 24 responses of which 8 are kept, by length or by reward per token. Here 4 of 8, by length.
Code: EasyDeL ranks by a mix of both over the whole batch (metric="mixed").
Assumed: clip 0.2, token mean, no KL. The adaptive variant gives `k` as a field of rows.

    python -m pojax.train --config=configs/gfpo.py --workdir=/tmp/gfpo
"""

from configs import common


def get_config(preset="tiny"):
    config = common.base(preset)
    config.method = dict(
        curricula=("uniform", {}),
        rollouts=("independent", dict(samples=8)),
        rewards=[("weighted_sum", dict(weights=dict(correct=1.0)))],
        advantages=[
            ("brevity_score", dict(metric="length")),
            ("keep_best", dict(k=4)),
            ("group_normalize", dict(groups="kept_groups", epsilon=1e-4)),
        ],
        losses=[("ppo_clip", dict(epsilon=0.2))],
        aggregate="token_mean",
        minibatches=4,
    )
    return config
