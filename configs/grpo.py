"""GRPO (DeepSeekMath, arXiv 2402.03300): rewards standardised in the group of a prompt, PPO-clip, KL to the reference in the loss.

Against REINFORCE: the advantage (group mean and standard deviation in place of a learned value), the clip, the k3 term, one weight per
sequence.
Paper: 64 responses, KL 0.04, learning rate 1e-6, 1024 tokens, batch 1024, one update per rollout.
Code: every library divides by the standard deviation with ddof 1; the formula read literally is `ddof=0`.
DeepSeek-R1 (arXiv 2501.12948) refreshes the reference every 400 iterations: `copies=dict(ref=("refreshed", dict(every=400)))`.

    python -m pojax.train --config=configs/grpo.py --workdir=/tmp/grpo
"""

from configs import common


def get_config(preset="tiny"):
    config = common.base(preset)
    config.method = dict(
        curricula=("uniform", {}),
        rollouts=("independent", dict(samples=8)),
        rewards=[("weighted_sum", dict(weights=dict(correct=1.0)))],
        advantages=[("group_normalize", {})],
        losses=[("ppo_clip", dict(epsilon=0.2)), ("k3", dict(scale=0.04))],
        aggregate="sequence_mean",
    )
    return config
