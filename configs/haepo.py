"""HAEPO, History-Aggregated Exploratory Policy Optimization (Trivedi et al., arXiv 2508.18884): a softmax over whole responses of a batch.

Against GRPO: no ratio and no clip. The log-likelihoods of all responses of the optimiser batch, not divided by length, go through one
softmax; weight moves towards high rewards, held by an entropy bonus and a KL of the softmax to the reference's.
Paper: bandits, control tasks and a small language-model task; as fast as or faster than PPO, GRPO and DPO. No hyper-parameters were found.
Assumed: the exact form beyond the softmax (standardised rewards, KL 0.1, entropy 0.01). Short responses dominate the softmax.
lists="group" takes one softmax per prompt.

    python -m pojax.train --config=configs/haepo.py --workdir=/tmp/haepo
"""

from configs import common


def get_config(preset="tiny"):
    config = common.base(preset)
    config.method = dict(
        curricula=("uniform", {}),
        rollouts=("independent", dict(samples=8)),
        rewards=[("weighted_sum", dict(weights=dict(correct=1.0)))],
        advantages=[],
        per_minibatch=[("listwise_slopes", dict(kl=0.1, entropy=0.01))],
        losses=[("listwise_likelihood", {})],
        aggregate="token_sum",
        minibatches=4,
    )
    return config
