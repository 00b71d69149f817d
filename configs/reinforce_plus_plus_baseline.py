"""REINFORCE++-baseline (Hu, arXiv 2501.03262): the group's mean as baseline, whitened over all tokens of the batch, KL in the loss.

Against GRPO: the scale is one number for the batch, the standard deviation over all tokens, in place of each group's own; every token
counts the same, and the KL to the reference is the k2 term.
Paper: PPO-clip with 0.2 on tokens.
Code: verl whitens with the unbiased variance and keeps the raw reward of a group of one, `group_center` with `singles="reward"`; OpenRLHF
takes the population's variance, `token_whiten` with `variance="population"`.
Assumed: KL coefficient 0.01, as is usual in OpenRLHF.

    python -m pojax.train --config=configs/reinforce_plus_plus_baseline.py --workdir=/tmp/reinforce_plus_plus_baseline
"""

from configs import common


def get_config(preset="tiny"):
    config = common.base(preset)
    config.method = dict(
        curricula=("uniform", {}),
        rollouts=("independent", dict(samples=8)),
        rewards=[("weighted_sum", dict(weights=dict(correct=1.0)))],
        advantages=[("group_center", {}), ("token_whiten", {})],
        losses=[("ppo_clip", dict(epsilon=0.2)), ("k2", dict(scale=0.01))],
        aggregate="token_mean",
        minibatches=4,
    )
    return config
