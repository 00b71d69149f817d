"""GSPO-token (Qwen, arXiv 2507.18071): GSPO whose ratio carries the gradient of its token, so that advantages may differ by token.

Against GSPO: value and gradient are the same while an advantage holds for the whole response, as it does here; replace `advantages` by a
rule per token to use it.
Paper: clip 3e-4 and 4e-4, four minibatches per rollout, no KL; Qwen3-30B-A3B learns without routing replay, and about 15% of the tokens
are clipped (GRPO: 0.13%). Those bounds belong to responses of thousands of tokens, whose mean log-ratio is tiny; here, with up to five
tokens, they are 0.03 and 0.04.

    python -m pojax.train --config=configs/gspo_token.py --workdir=/tmp/gspo_token
"""

from configs import common


def get_config(preset="tiny"):
    config = common.base(preset)
    config.method = dict(
        curricula=("uniform", {}),
        rollouts=("independent", dict(samples=8)),
        rewards=[("weighted_sum", dict(weights=dict(correct=1.0)))],
        advantages=[("group_normalize", {})],
        losses=[("gspo_token", dict(epsilon=0.03, epsilon_high=0.04))],
        aggregate="sequence_mean",
        minibatches=4,
    )
    return config
