"""DAPO (ByteDance, arXiv 2503.14476): GRPO with clip-higher, dynamic sampling, one weight per token, an overlong penalty.

Groups that are all right or all wrong are replaced by fresh prompts until the batch is full. The penalty falls linearly over the last
`cache` tokens before the limit. No KL.
Paper: 16 responses, 512 prompts, 16 updates per rollout, clip 0.2 and 0.28, limit 20480 with a
cache of 4096 tokens, rewards +1 and -1, learning rate 1e-6.
Code: adds a dual clip of 10: `dual_clip=10.0`.
Names: three others: DAPO-direct (arXiv 2412.18279), delay-adapted policy optimisation (arXiv 2305.07911), and this one.

    python -m pojax.train --config=configs/dapo.py --workdir=/tmp/dapo
"""

from configs import common


def get_config(preset="tiny"):
    config = common.base(preset)
    config.method = dict(
        curricula=("uniform", {}),
        rollouts=("refill", dict(inner=("independent", dict(samples=8)), rounds=3, metric="correct")),
        rewards=[("weighted_sum", dict(weights=dict(correct=1.0))), ("overlong_penalty", dict(cache=1.0))],
        advantages=[("group_normalize", {})],
        losses=[("ppo_clip", dict(epsilon=0.2, epsilon_high=0.28))],
        aggregate="token_mean",
        minibatches=4,
    )
    return config
