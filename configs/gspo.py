"""GSPO, Group Sequence Policy Optimization (Qwen, arXiv 2507.18071): ratio and clip of the whole response, normalised by its length.

Against GRPO: the reward is given to a response, so the importance weight is that of the response, the geometric mean of its token ratios,
and it is clipped once. No token of a response is treated in another way than the others.
Paper: clip 3e-4 and 4e-4, four minibatches per rollout, no KL; Qwen3-30B-A3B learns without routing replay, and about 15% of the tokens
are clipped (GRPO: 0.13%). Those bounds belong to responses of thousands of tokens, whose mean log-ratio is tiny; here, with up to five
tokens, they are 0.03 and 0.04.
Code: verl caps the mean log-ratio at 10, here 20; TRL and ms-swift count empty rows in the mean.

    python -m pojax.train --config=configs/gspo.py --workdir=/tmp/gspo
"""

from configs import common


def get_config(preset="tiny"):
    config = common.base(preset)
    config.method = dict(
        curricula=("uniform", {}),
        rollouts=("independent", dict(samples=8)),
        rewards=[("weighted_sum", dict(weights=dict(correct=1.0)))],
        advantages=[("group_normalize", {})],
        losses=[("gspo", dict(epsilon=0.03, epsilon_high=0.04))],
        aggregate="sequence_mean",
        minibatches=4,
    )
    return config
