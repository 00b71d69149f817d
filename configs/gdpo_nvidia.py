"""GDPO, Group reward-Decoupled Normalization Policy Optimization (NVIDIA, arXiv 2601.05242): each reward standardised before the sum.

Against GRPO: the sum of several rewards is not standardised, each of them is in its group, and their weighted sum is standardised over the
batch. So combinations of rewards keep advantages of their own, and a reward of small spread is not drowned.
Paper: the batch step over responses; the epsilons 1e-4 are TRL's.
Code: verl whitens over tokens in the batch step (level="token", epsilon=1e-6); ms-swift has 1e-8 for both epsilons.
Assumed: clip 0.2, token mean, no KL.
Names: group diffusion policy optimisation is called GDPO too.

    python -m pojax.train --config=configs/gdpo_nvidia.py --workdir=/tmp/gdpo_nvidia
"""

from configs import common


def get_config(preset="tiny"):
    config = common.base(preset)
    weights = dict(correct=1.0, format=1.0)
    config.method = dict(
        curricula=("uniform", {}),
        rollouts=("independent", dict(samples=8)),
        rewards=[("weighted_sum", dict(weights=weights))],
        advantages=[("decoupled_normalize", dict(weights=weights))],
        losses=[("ppo_clip", dict(epsilon=0.2))],
        aggregate="token_mean",
        minibatches=4,
    )
    return config
