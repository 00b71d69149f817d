"""ReMax (arXiv 2310.10505): the baseline of a response is the reward of the greedy response to the same prompt.

One more rollout for each prompt and no critic. Token weights are discounted from the end and carry the KL to the reference of their own
token; the loss is the plain log-likelihood, no ratio and no clip.
Paper: KL 0.05, gamma 0.99, one response per prompt, learning rate 1e-6.

    python -m pojax.train --config=configs/remax.py --workdir=/tmp/remax
"""

from configs import common


def get_config(preset="tiny"):
    config = common.base(preset)
    config.batch_prompts *= 8
    config.method = dict(
        curricula=("uniform", {}),
        rollouts=("greedy_baseline", dict(samples=1)),
        rewards=[("weighted_sum", dict(weights=dict(correct=1.0))), ("token_kl_penalty", dict(coefficient=0.05))],
        advantages=[("remax", dict(gamma=0.99))],
        losses=[("policy_gradient", {})],
        aggregate="token_mean",
    )
    return config
