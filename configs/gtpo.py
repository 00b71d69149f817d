"""GTPO, Group-relative Trajectory-based PO (Simoni et al., arXiv 2508.03772): tokens that good and bad answers share are not pushed down.

Against GRPO: no standard deviation, no KL, no ratio. Leading and trailing tokens that a good and a bad response of a group have in
common weigh 2 in the good one and 0 in the bad one; the response's entropy is subtracted from its advantage, and responses with an
entropy above ln 2 are dropped unless the initial policy was already above it.
Paper: gamma 0.1, weight 2, groups of 8 or 12, learning rate 1e-6, rewards of up to 10 for the format and 10 for the answer.
Code: drops above 0.7 nats always (penalize_entropy, form="code"), sums over the group instead of its mean and divides each row by its
number of tokens in conflict (conflict_weights, form="code").
Assumed: the initial entropy is the mean over responses in the first iteration; positions count the response's own tokens.
Names: GTPO is also Group Token Policy Optimization (entropy-weighted rewards, arXiv 2508.04349), another method.

    python -m pojax.train --config=configs/gtpo.py --workdir=/tmp/gtpo
"""

from configs import common


def get_config(preset="tiny"):
    config = common.base(preset)
    config.method = dict(
        curricula=("uniform", {}),
        rollouts=("independent", dict(samples=8)),
        rewards=[("weighted_sum", dict(weights=dict(correct=10.0, format=10.0)))],
        advantages=[
            ("group_center", {}),
            ("conflict_weights", {}),
            ("penalize_entropy", dict(entropy="old_entropy", initial_entropy="initial.value", gamma=0.1)),
        ],
        losses=[("policy_gradient", dict(scale="conflict_weights"))],
        aggregate="sequence_mean",
        trackers=dict(initial=("initial_entropy", dict(entropy="old_entropy"))),
    )
    return config
