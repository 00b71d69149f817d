"""BNPO."""

from configs import common


def get_config(preset="tiny"):
    config = common.base(preset)
    config.method = dict(
        curricula=("uniform", {}),
        rollouts=("independent", dict(samples=8)),
        rewards=[("weighted_sum", dict(weights=dict(correct=1.0)))],
        advantages=[("beta_normalize", {})],
        losses=[("ppo_clip", dict(epsilon=0.2, epsilon_high=0.28, dual_clip=10.0))],
        aggregate="sequence_mean_token_sum",
        epochs=1,
        minibatches=1,
    )
    return config
