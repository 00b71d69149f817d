"""Stop-properly penalty (OpenRLHF, after ProRL, arXiv 2505.24864): a response that the length limit cut gets a fixed low reward.

Against GRPO: truncated responses have the reward -0.5, whatever they earned, so that ending in time is learned on its own.
Paper: one part of a longer recipe; the number is not given there.
Code: a coefficient between 0 and 1 scales the reward of truncated responses instead, which makes negative rewards smaller.
Assumed: the coefficient -0.5.

    python -m pojax.train --config=configs/stop_properly.py --workdir=/tmp/stop_properly
"""

from configs import common


def get_config(preset="tiny"):
    config = common.base(preset)
    config.method = dict(
        curricula=("uniform", {}),
        rollouts=("independent", dict(samples=8)),
        rewards=[("weighted_sum", dict(weights=dict(correct=1.0))), ("stop_properly_penalty", dict(coefficient=-0.5))],
        advantages=[("group_normalize", {})],
        losses=[("ppo_clip", dict(epsilon=0.2))],
        aggregate="token_mean",
        minibatches=4,
    )
    return config
