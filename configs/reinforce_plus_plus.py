"""REINFORCE++ (Hu, arXiv 2501.03262): no group; returns per token with the KL in the reward, whitened over all tokens of the batch.

Against GRPO: one response to each prompt, so nothing is compared with siblings; every token's return holds the KL penalties from it on, and
mean and standard deviation are those of all tokens of the batch, to which long responses contribute more.
Paper: PPO-clip with 0.2 on tokens, discount 1.
Code: verl whitens with the unbiased variance; OpenRLHF with the population's, `token_whiten` with `variance="population"`.
Assumed: KL coefficient 0.01, as is usual in OpenRLHF.
Names: what TRL and ms-swift call REINFORCE++ standardises rows, not tokens: `("batch_center", {}), ("batch_normalize",
dict(epsilon=1e-4))`.

    python -m pojax.train --config=configs/reinforce_plus_plus.py --workdir=/tmp/reinforce_plus_plus
"""

from configs import common


def get_config(preset="tiny"):
    config = common.base(preset)
    config.batch_prompts *= 8
    config.method = dict(
        curricula=("uniform", {}),
        rollouts=("independent", dict(samples=1)),
        rewards=[("weighted_sum", dict(weights=dict(correct=1.0))), ("token_kl_penalty", dict(coefficient=0.01))],
        advantages=[("token_returns", dict(gamma=1.0)), ("token_whiten", {})],
        losses=[("ppo_clip", dict(epsilon=0.2))],
        aggregate="token_mean",
        minibatches=4,
    )
    return config
