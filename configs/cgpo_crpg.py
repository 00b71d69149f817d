"""CGPO-CRPG, Constrained Generative Policy Optimization by policy gradient (Meta, arXiv 2409.20370): judges gate the reward.

Against GRPO: rewards are calibrated against a base response, 0 where a judge objects, and fade as the response drifts from the reference;
the baseline is the mean over the batch, and there is no clip.
Paper: Llama 3 70B, tasks with their own judges and KL budgets; AlpacaEval-2 +7.4, Arena-Hard +12.5 over PPO and DPO, and no reward hacking.
Assumed: the budget of 20 nats per response. Here the judge is the format, and the base response the greedy one of the current policy.

    python -m pojax.train --config=configs/cgpo_crpg.py --workdir=/tmp/cgpo_crpg
"""

from configs import common


def get_config(preset="tiny"):
    config = common.base(preset)
    config.method = dict(
        curricula=("uniform", {}),
        rollouts=("greedy_baseline", dict(samples=8)),
        rewards=[("weighted_sum", dict(weights=dict(correct=1.0)))],
        advantages=[("judges_satisfied", dict(thresholds=dict(format=0.5))), ("calibrated_reward", dict(baseline="greedy_rewards"))],
        per_minibatch=[("constrained_reward", dict(kl_max=20.0)), ("batch_center", dict(rewards="constrained"))],
        losses=[("policy_gradient", {})],
        aggregate="sequence_mean_token_sum",
    )
    return config
