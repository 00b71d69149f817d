"""Hierarchical GRPO (prime-rl, no paper; after GRPO, arXiv 2402.03300): responses are compared with peers of their role only.

Against GRPO: a solver's baseline is the mean of the solvers of the same proposed problem, a proposer's that of the proposers of the whole
group; nothing is divided by a standard deviation.
Paper: none; prime-rl's `hierarchical_grpo`.
Code: solvers are the roles that are compared inside an episode.
Assumed: clip 0.2, token mean, no KL.
Shown on: the default task has one kind of response, so a rule declares every fourth response a proposer and the next three its solvers.

    python -m pojax.train --config=configs/hierarchical_grpo.py --workdir=/tmp/hierarchical_grpo
"""

from configs import common


def get_config(preset="tiny"):
    config = common.base(preset)
    config.method = dict(
        curricula=("uniform", {}),
        rollouts=("independent", dict(samples=8)),
        rewards=[("weighted_sum", dict(weights=dict(correct=1.0)))],
        advantages=[("proposer_solver_episodes", dict(size=4)), ("peer_groups", {}), ("group_center", dict(groups="peers"))],
        losses=[("ppo_clip", dict(epsilon=0.2))],
        aggregate="token_mean",
        minibatches=4,
    )
    return config
