"""RLOO, REINFORCE Leave-One-Out (Kool et al. 2019; arXiv 2402.14740): the baseline is the mean reward of the other responses.

The reward carries the KL to the reference of the
whole sequence.
Paper: 2 or 4 responses, KL 0.03, learning rate 1e-6, batch 512, 2 updates per batch of rollouts.

    python -m pojax.train --config=configs/rloo.py --workdir=/tmp/rloo
"""

from configs import common


def get_config(preset="tiny"):
    config = common.base(preset)
    config.method = dict(
        curricula=("uniform", {}),
        rollouts=("independent", dict(samples=8)),
        rewards=[("weighted_sum", dict(weights=dict(correct=1.0))), ("sequence_kl_penalty", dict(coefficient=0.03))],
        advantages=[("leave_one_out", {})],
        losses=[("policy_gradient", {})],
        aggregate="sequence_mean_token_sum",
    )
    return config
