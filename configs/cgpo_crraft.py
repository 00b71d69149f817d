"""CGPO-CRRAFT, Constrained Regularized Reward-Ranked Fine-Tuning (Meta, arXiv 2409.20370): imitate the best accepted.

Against GRPO: of each group the response of highest reward that the judges accept, and that has not drifted beyond a KL budget, is imitated,
weighted by its calibrated reward; nothing is pushed down.
Paper: Llama 3 70B; where no response is left, the base response is taken if it is accepted.
Assumed: the budget of 20 nats per response. Here the judge is the format, the base response is the greedy one and never imitated.

    python -m pojax.train --config=configs/cgpo_crraft.py --workdir=/tmp/cgpo_crraft
"""

from configs import common


def get_config(preset="tiny"):
    config = common.base(preset)
    config.method = dict(
        curricula=("uniform", {}),
        rollouts=("greedy_baseline", dict(samples=8)),
        rewards=[("weighted_sum", dict(weights=dict(correct=1.0)))],
        advantages=[("judges_satisfied", dict(thresholds=dict(format=0.5))), ("calibrated_reward", dict(baseline="greedy_rewards"))],
        per_minibatch=[("constrained_best", dict(kl_max=20.0))],
        losses=[("negative_log_likelihood", dict(where="selected", scale="calibrated"))],
        aggregate="sequence_mean_token_sum",
        minibatches=4,
    )
    return config
