"""PSPO, Probability Smoothing Policy Optimisation (arXiv 2509.21282): the policy is smoothed towards the one that sampled, no clip.

Against GRPO: the ratio is (1 - alpha) r + alpha, so the gradient never stops but is 1 - alpha of the unclipped one. That is the gradient
of importance-weighted REINFORCE with another learning rate, which is the objection to test.
Paper: alpha 0.1, two updates per rollout, no KL, learning rate 5e-7 (0.5B); GSM8K 39.7 against 17.6 for clipped GRPO with Qwen2.5-0.5B.
Names: some re-implementations smooth towards the reference model; here, as in the paper, it is the policy that sampled.

    python -m pojax.train --config=configs/pspo.py --workdir=/tmp/pspo
"""

from configs import common


def get_config(preset="tiny"):
    config = common.base(preset)
    config.method = dict(
        curricula=("uniform", {}),
        rollouts=("independent", dict(samples=8)),
        rewards=[("weighted_sum", dict(weights=dict(correct=1.0)))],
        advantages=[("group_normalize", {})],
        losses=[("pspo", dict(alpha=0.1))],
        aggregate="sequence_mean",
        epochs=2,
        minibatches=2,
    )
    return config
