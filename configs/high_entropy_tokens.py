"""80/20, High-entropy token training (Wang et al., arXiv 2506.01939): only the fifth of the tokens of highest entropy has a gradient.

Against GRPO: a rule of every optimiser batch marks the tokens whose entropy is above the 80% quantile of the batch; the others have
weight 0 in the surrogate and stay in its divisor. The clip is DAPO's. A KL term would stay on all tokens.
Paper: share 0.2 with the settings of DAPO (clip 0.2 and 0.28, token mean, no KL).
Code: TRL top_entropy_quantile takes the quantile in float32 as here; share=1.0 turns it off.

    python -m pojax.train --config=configs/high_entropy_tokens.py --workdir=/tmp/high_entropy_tokens
"""

from configs import common


def get_config(preset="tiny"):
    config = common.base(preset)
    config.method = dict(
        curricula=("uniform", {}),
        rollouts=("independent", dict(samples=8)),
        rewards=[("weighted_sum", dict(weights=dict(correct=1.0)))],
        advantages=[("group_normalize", {})],
        per_minibatch=[("high_entropy_tokens", dict(share=0.2))],
        losses=[("ppo_clip", dict(epsilon=0.2, epsilon_high=0.28, scale="high_entropy"))],
        aggregate="token_mean",
        minibatches=4,
    )
    return config
