"""HAEPO, History-Aggregated Exploratory Policy Optimization (Trivedi et al., arXiv 2508.18884): a softmax over whole responses of a batch.

Against GRPO: no ratio and no clip. The log-likelihoods of all responses of the optimiser batch, not divided by length, go through one
softmax; weight moves towards high rewards, held by an entropy bonus and a KL of the softmax to the reference's.
Paper: bandits, control tasks and a small language-model task; as fast as or faster than PPO, GRPO and DPO. No hyper-parameters were found.
Assumed: the exact form beyond the softmax (standardised rewards, KL 0.1, entropy 0.01), and one softmax per prompt. Over the whole batch
(lists="batch", the paper's trajectories of one task) responses to easy prompts take all the weight, and five of five seeds fell to 0.
Short and likely responses dominate the softmax; right ones that are unlikely hardly move, so it learns slowly.

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
        per_minibatch=[("listwise_slopes", dict(kl=0.1, entropy=0.01, lists="group"))],
        losses=[("listwise_likelihood", {})],
        aggregate="token_sum",
        minibatches=4,
    )
    return config
