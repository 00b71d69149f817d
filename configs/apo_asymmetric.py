"""APO, Asymmetric Policy Optimization (View-R1, arXiv 2506.21655): positives of hard prompts drift freely, long failures are pushed harder.

Against GRPO: the KL weight of a response with positive advantage falls with the difficulty of its prompt (DADS), and the advantage of a
wrong response grows with its length beyond the correct ones (STCR), up to twice.
Paper: 8 responses, KL 1e-3, learning rate 1e-6, batch 64 of 128 prompts, reward accuracy + half for format; +7% mean over the base model.
Code: "positive" goes by the sign of the advantage, as here; by correctness: difficulty_kl_weight with positive="correct". STCR has base
1.00001 per token (rate 1e-5), 1% for 1000 tokens.
Names: anchored preference optimisation and adaptive policy optimisation are called APO too.

    python -m pojax.train --config=configs/apo_asymmetric.py --workdir=/tmp/apo_asymmetric
"""

from configs import common


def get_config(preset="tiny"):
    config = common.base(preset)
    config.method = dict(
        curricula=("uniform", {}),
        rollouts=("independent", dict(samples=8)),
        rewards=[("weighted_sum", dict(weights=dict(correct=1.0, format=0.5)))],
        advantages=[("group_normalize", dict(epsilon=1e-9)), ("push_long_failures", {}), ("difficulty_kl_weight", {})],
        losses=[("ppo_clip", dict(epsilon=0.2)), ("k3", dict(scale=[1e-3, "kl_weight"], aggregate="sequence_mean"))],
        aggregate="token_mean",
        minibatches=4,
    )
    return config
