"""Lite PPO, Tricks or Traps (Alibaba and others, arXiv 2508.08221): the group's mean, the batch's standard deviation.

Against GRPO: rewards are divided by the standard deviation of the whole batch, so a group of almost equal rewards is not blown up; every
token counts the same. No KL.
Paper: clip 0.2, 8 responses, temperature 0.99, top-p 0.99, top-k 100; above GRPO and DAPO on Qwen3-4B and 8B base models (curves only).
Clip-higher and the filter of truncated responses are separate arms of the paper, not parts of the method: `epsilon_high=0.28`,
`("drop_truncated", {})`.
Assumed: epsilon 1e-4 and ddof 1, those of TRL; the formulas have neither.

    python -m pojax.train --config=configs/lite_ppo.py --workdir=/tmp/lite_ppo
"""

from configs import common


def get_config(preset="tiny"):
    config = common.base(preset)
    config.method = dict(
        curricula=("uniform", {}),
        rollouts=("independent", dict(samples=8)),
        rewards=[("weighted_sum", dict(weights=dict(correct=1.0)))],
        advantages=[("group_center_batch_std", {})],
        losses=[("ppo_clip", dict(epsilon=0.2))],
        aggregate="token_mean",
        minibatches=4,
    )
    return config
