"""Off-policy mask, Sequence masking and unbiased KL (DeepSeek-V3.2, arXiv 2512.02556): bad responses far from the sampler are dropped.

Against GRPO: responses with a negative advantage whose mean log-probability has fallen by more than delta since they were sampled have
no surrogate, in every optimiser batch anew; good ones always have. The KL term is k3 times the ratio, whose gradient is unbiased.
Paper: no delta given.
Code: TRL suggests delta 0.5 and keeps the row in the divisor (scale="off_policy_keep", as here); ms-swift takes it out of the mask and its
KL with it (where="off_policy_keep" on both terms).
Assumed: delta 0.05, which the four optimiser steps of an iteration can reach here, and 0.04 for the KL, as in GRPO.

    python -m pojax.train --config=configs/off_policy_mask.py --workdir=/tmp/off_policy_mask
"""

from configs import common


def get_config(preset="tiny"):
    config = common.base(preset)
    config.method = dict(
        curricula=("uniform", {}),
        rollouts=("independent", dict(samples=8)),
        rewards=[("weighted_sum", dict(weights=dict(correct=1.0)))],
        advantages=[("group_normalize", {})],
        per_minibatch=[("off_policy_keep", dict(delta=0.05))],
        losses=[("ppo_clip", dict(epsilon=0.2, scale="off_policy_keep")), ("importance_k3", dict(scale=0.04))],
        aggregate="sequence_mean",
        minibatches=4,
    )
    return config
