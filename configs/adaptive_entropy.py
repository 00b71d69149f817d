"""Adaptive entropy, Entropy bonus with adaptive coefficient (Skywork-OR1, arXiv 2505.22312): it grows while the entropy is too low.

Against GRPO: an entropy bonus over the trained tokens. Its coefficient rises by 0.005 after an iteration whose mean entropy was at or
below the target and falls otherwise; the bonus is on only in the iteration after the first case.
Paper: target 0.2 nats, change 0.005, coefficient in [0, 1] from 0 (TRL's numbers).
Code: TRL changes the coefficient after every optimiser step; here it is once per iteration, from the entropy of the policy that sampled.
Assumed: in the first iteration, when no entropy is known, the bonus is on.

    python -m pojax.train --config=configs/adaptive_entropy.py --workdir=/tmp/adaptive_entropy
"""

from configs import common


def get_config(preset="tiny"):
    config = common.base(preset)
    config.method = dict(
        curricula=("uniform", {}),
        rollouts=("independent", dict(samples=8)),
        rewards=[("weighted_sum", dict(weights=dict(correct=1.0)))],
        advantages=[("group_normalize", {})],
        losses=[("ppo_clip", dict(epsilon=0.2)), ("entropy_bonus", dict(scale="bonus.applied", aggregate="token_mean"))],
        aggregate="sequence_mean",
        trackers=dict(bonus=("adaptive_entropy", dict(entropy="old_entropy", target=0.2, change=0.005, high=1.0))),
        minibatches=4,
    )
    return config
