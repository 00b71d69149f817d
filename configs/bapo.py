"""BAPO, Balanced PO with Adaptive Clipping (Fudan, arXiv 2510.18927): clip bounds searched so that positive tokens count enough.

Against GRPO: before every update the upper bound is raised, then the lower one, until tokens with positive advantage make up the target
share of the loss; negative ones dominate otherwise, the more the staler the data are.
Paper: lower bound 0.6 to 0.9 in steps of 0.02, upper 1.2 to 3.0 in steps of 0.05; 7B on AIME 2024/2025 70.8/62.5 (GRPO 69.2/59.2), 32B
87.1/80.0.
Code: raises the lower bound first, compares positive with negative instead of with all, and does not weigh tokens by the sampler's
probability: order="low_first", measure="quotient", weighted=False, with target 1, bounds to 0.8 and 2.0 in 4 and 16 steps; its README
says 0.5 for the share.
Assumed: the target of 0.4 is from a review of the paper; the dual clip of 3 is from the code.

    python -m pojax.train --config=configs/bapo.py --workdir=/tmp/bapo
"""

from configs import common


def get_config(preset="tiny"):
    config = common.base(preset)
    config.method = dict(
        curricula=("uniform", {}),
        rollouts=("independent", dict(samples=8)),
        rewards=[("weighted_sum", dict(weights=dict(correct=1.0)))],
        advantages=[("group_normalize", {})],
        per_minibatch=[("bapo_bounds", dict(low=0.6, low_end=0.9, low_steps=15, high=1.2, high_end=3.0, high_steps=36, target=0.4))],
        losses=[("ppo_clip", dict(epsilon="epsilon_low", epsilon_high="epsilon_high", dual_clip=3.0))],
        aggregate="token_mean",
        minibatches=4,
    )
    return config
