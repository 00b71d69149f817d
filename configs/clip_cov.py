"""Clip-Cov, Covariance-based clipping (Cui et al., arXiv 2505.22617): a few tokens through which the entropy falls get no gradient.

Against GRPO: of the tokens whose covariance of advantage and log-probability lies in (1, 5), a few are drawn at random in every optimiser
batch and have no gradient. Everything else is PPO-clip.
Paper: share 2e-4 of the tokens, bounds 1 and 5, clip 0.2; Qwen2.5-7B, mean of 7: GRPO 38.6, Clip-Cov 40.4; 32B 45.8 and 50.3.
With the 500 tokens of an optimiser batch here 2e-4 is less than one token, which is the least that is drawn; the share is 0.01, 5 tokens.
Code: verl sets the loss of the drawn tokens to 0, the paper detaches them: the same gradient; the value is the code's.

    python -m pojax.train --config=configs/clip_cov.py --workdir=/tmp/clip_cov
"""

from configs import common


def get_config(preset="tiny"):
    config = common.base(preset)
    config.method = dict(
        curricula=("uniform", {}),
        rollouts=("independent", dict(samples=8)),
        rewards=[("weighted_sum", dict(weights=dict(correct=1.0)))],
        advantages=[("group_normalize", {})],
        per_minibatch=[("drop_covariant_tokens", dict(share=0.01, low=1.0, high=5.0, epsilon=0.2))],
        losses=[("ppo_clip", dict(epsilon=0.2, scale="covariance_keep"))],
        aggregate="token_mean",
        minibatches=4,
    )
    return config
