"""DAPPO, Delay-Adapted Policy Optimization (arXiv 2305.07911): importance weights use the larger of the old and the present probability.

Against PPO: feedback arrives late, when the policy has moved on; the denominator of the ratio is the larger of the probability at
sampling and at the arrival of the feedback (the learner at the start of the iteration), so weights never start above 1. Without delay it
is PPO.
Paper: tabular, with a bonus and regret bounds; deep version on MuJoCo with a fixed delay (figures only).
Assumed: the form with PPO's clip.
Names: the paper's own short name is DAPO: not Decoupled Clip and Dynamic Sampling (dapo), not Direct Advantage Policy Optimization.
Shown on: stale rollouts (a replay arrangement); on the default task the sampler is never behind, and it equals PPO.

    python -m pojax.train --config=configs/delay_adapted.py --workdir=/tmp/delay_adapted
"""

from configs import common


def get_config(preset="tiny"):
    config = common.base(preset)
    config.method = dict(
        curricula=("uniform", {}),
        rollouts=("independent", dict(samples=8)),
        rewards=[("weighted_sum", dict(weights=dict(correct=1.0)))],
        advantages=[("group_normalize", {})],
        losses=[("delay_adapted_clip", dict(arrival_logprobs="start_logprobs", epsilon=0.2))],
        aggregate="token_mean",
        minibatches=4,
    )
    return config
