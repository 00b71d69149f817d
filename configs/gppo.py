"""GPPO, Gradient-Preserving Clipping PO (Klear-Reasoner, Kuaishou, arXiv 2508.07629): clipped tokens keep a gradient of the bound's size.

Against GRPO: the value is that of PPO-clip, but a token beyond the clip passes (1 - epsilon) A or (1 + epsilon) A to its log-probability;
and responses with a reward are imitated a little (the second term, on rows whose reward is not 0).
Paper: clip 0.2 and 0.2 or 0.28, likelihood 0.1, no KL; Klear-Reasoner-8B from 75.6/70.1 to 83.2/75.6 on AIME 2024/2025.
Code: dual clip 10; only_high=True keeps PPO's zero gradient below.

    python -m pojax.train --config=configs/gppo.py --workdir=/tmp/gppo
"""

from configs import common


def get_config(preset="tiny"):
    config = common.base(preset)
    config.method = dict(
        curricula=("uniform", {}),
        rollouts=("independent", dict(samples=8)),
        rewards=[("weighted_sum", dict(weights=dict(correct=1.0)))],
        advantages=[("group_normalize", {})],
        losses=[
            ("gppo", dict(epsilon=0.2, epsilon_high=0.28, dual_clip=10.0)),
            ("negative_log_likelihood", dict(scale=0.1, where="rewards")),
        ],
        aggregate="token_mean",
        minibatches=4,
    )
    return config
