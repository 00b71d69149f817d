"""UniVG-R1 (Bai et al., arXiv 2505.14231): prompts on which the policy does badly weigh more in the policy term.

Against GRPO: the clipped term of a prompt is multiplied by exp(1 - mean reward), between 1 (all perfect) and e (all fail); the KL term is
not. The reward whose mean decides is the IoU of a grounding task.
Paper: 8 responses, weight exp; up to 9.1% above the previous best on MIG-Bench. The KL weight is the trainer's default.
Code: takes the mean over the device's whole batch (over="batch"); forms "power" and "log" are its alternatives.
Assumed: KL 0.04, and here the mean of `correct` in the role of the mean IoU.

    python -m pojax.train --config=configs/univg_r1.py --workdir=/tmp/univg_r1
"""

from configs import common


def get_config(preset="tiny"):
    config = common.base(preset)
    config.method = dict(
        curricula=("uniform", {}),
        rollouts=("independent", dict(samples=8)),
        rewards=[("weighted_sum", dict(weights=dict(correct=1.0, format=1.0)))],
        advantages=[("group_normalize", dict(epsilon=1e-4)), ("hard_prompt_weight", dict(rewards="correct"))],
        losses=[("ppo_clip", dict(epsilon=0.2, scale="prompt_weight")), ("k3", dict(scale=0.04))],
        aggregate="sequence_mean",
        minibatches=4,
    )
    return config
