"""FIPO, Future-KL Influenced Policy Optimization (arXiv 2603.19835): a token weighs by whether its continuation is being reinforced.

Against DAPO: the loss of every token is multiplied by exp of the discounted sum of the log-ratios from it on, clipped to [1, 1.2]; bad
tokens whose ratio is above 4 are clipped to [0.8, 1]. In the first minibatch all weights are 1.
Paper: decay 32 tokens, width 0.2, safety 4, clip of DAPO; Qwen2.5-32B, AIME24 pass@1 50.0 (DAPO) -> peak 58.0, mean length 4k -> over 10k.
Code: ships high_only=True; the documented formula is [1 - epsilon, 1 + epsilon], high_only=False. The 32B script has delta=10 (here with
dual_clip=10 of the surrogate).

    python -m pojax.train --config=configs/fipo.py --workdir=/tmp/fipo
"""

from configs import common


def get_config(preset="tiny"):
    config = common.base(preset)
    config.method = dict(
        curricula=("uniform", {}),
        rollouts=("independent", dict(samples=8)),
        rewards=[("weighted_sum", dict(weights=dict(correct=1.0)))],
        advantages=[("group_normalize", {})],
        per_minibatch=[("future_kl_weight", dict(decay=32.0, epsilon=0.2, safety=4.0))],
        losses=[("ppo_clip", dict(epsilon=0.2, epsilon_high=0.28, scale="future_weight"))],
        aggregate="token_mean",
        minibatches=4,
    )
    return config
