"""Dr. GRPO (arXiv 2503.20783): GRPO without its two biases, the division by the length and by the standard deviation of the group.

The sum of a response's token losses is divided by a constant, the generation budget. No KL.
Paper: 8 responses, clip 0.2, budget 3000 tokens, learning rate 1e-6.

    python -m pojax.train --config=configs/dr_grpo.py --workdir=/tmp/dr_grpo
"""

from configs import common


def get_config(preset="tiny"):
    config = common.base(preset)
    config.method = dict(
        curricula=("uniform", {}),
        rollouts=("independent", dict(samples=8)),
        rewards=[("weighted_sum", dict(weights=dict(correct=1.0)))],
        advantages=[("group_center", {})],
        losses=[("ppo_clip", dict(epsilon=0.2))],
        aggregate=("constant", dict(length=config.response_tokens)),
    )
    return config
