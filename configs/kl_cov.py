"""KL-Cov, Covariance-based KL penalty (Cui et al., arXiv 2505.22617): only the tokens of largest covariance are held back.

Against GRPO: no clip anywhere. The tokens with the largest covariance of advantage and log-probability in the optimiser batch pay for
the distance |logprob - old_logprob| from the policy that sampled; the others pay nothing.
Paper: share 2e-3 (7B) and 2e-4 (32B), coefficient 1; Qwen2.5-7B, mean of 7: GRPO 38.6, KL-Cov 40.6; 32B 45.8 and 52.2.
With the 500 tokens of an optimiser batch here the paper's share is one token; it is 0.01, 5 tokens.
Code: verl's config has the coefficient 0.1, its docstring 1. The log-ratio is clamped to [-20, 20] here, which verl does not.

    python -m pojax.train --config=configs/kl_cov.py --workdir=/tmp/kl_cov
"""

from configs import common


def get_config(preset="tiny"):
    config = common.base(preset)
    config.method = dict(
        curricula=("uniform", {}),
        rollouts=("independent", dict(samples=8)),
        rewards=[("weighted_sum", dict(weights=dict(correct=1.0)))],
        advantages=[("group_normalize", {})],
        per_minibatch=[("most_covariant_tokens", dict(share=0.01))],
        losses=[("ppo_clip", dict(epsilon=1e9)), ("absolute_log_ratio", dict(scale=[1.0, "covariant"]))],
        aggregate="token_mean",
        minibatches=4,
    )
    return config
