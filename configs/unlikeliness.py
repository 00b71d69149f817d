"""Unlikeliness reward, Rewarding the Unlikely (CMU, arXiv 2506.02355): right answers that the policy finds likely are rewarded less.

Against GRPO: a right answer loses up to `coefficient` of its reward, by its rank in likelihood among the group's responses, so rare
solutions are reinforced more than frequent ones; groups without a wrong or without a right answer are left out, because ranks would give
them a signal.
Paper: 32 responses, 16 problems a step, two epochs per batch, coefficient 0.25, KL 0.1, clip 0.2, learning rate 1e-6.
Code: the least likely answer keeps its whole reward, `form="code"`; the KL term is averaged over tokens and the policy term over sequences,
and an update whose gradient has a norm above 20 is skipped.

    python -m pojax.train --config=configs/unlikeliness.py --workdir=/tmp/unlikeliness
"""

from configs import common


def get_config(preset="tiny"):
    config = common.base(preset)
    config.method = dict(
        curricula=("uniform", {}),
        rollouts=("independent", dict(samples=8)),
        rewards=[("weighted_sum", dict(weights=dict(correct=1.0))), ("unlikeliness", dict(coefficient=0.25))],
        advantages=[("drop_uniform_groups", dict(rewards="correct")), ("group_normalize", {})],
        losses=[("ppo_clip", dict(epsilon=0.2)), ("k3", dict(scale=0.1, aggregate="token_mean"))],
        aggregate="sequence_mean",
        epochs=2,
        minibatches=2,
    )
    return config
