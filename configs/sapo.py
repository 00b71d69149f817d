"""SAPO, Soft Adaptive Policy Optimization (Qwen, arXiv 2511.20347): a sigmoid gate around ratio 1 in place of the clip.

Against GRPO: the gradient of a token fades smoothly with its distance from the policy that sampled, and faster for negative advantages,
whose gradients raise many unsampled tokens at once. The value at ratio 1 is 2 / tau times PPO's; the gradient there is the same.
Paper: tau 1.0 and 1.05, no KL; tau for negative advantages of 1.05 trains stably where 0.95 does not.
Assumed: four minibatches per rollout.

    python -m pojax.train --config=configs/sapo.py --workdir=/tmp/sapo
"""

from configs import common


def get_config(preset="tiny"):
    config = common.base(preset)
    config.method = dict(
        curricula=("uniform", {}),
        rollouts=("independent", dict(samples=8)),
        rewards=[("weighted_sum", dict(weights=dict(correct=1.0)))],
        advantages=[("group_normalize", {})],
        losses=[("sapo", dict(tau=1.0, tau_negative=1.05))],
        aggregate="sequence_mean",
        minibatches=4,
    )
    return config
