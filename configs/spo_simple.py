"""SPO, Simple Policy Optimization (arXiv 2401.16025): a quadratic penalty of the ratio, scaled by the advantage, in place of the clip.

Against PPO: the optimum of every token lies on the edge of the interval and the gradient beyond points back, so the ratio stays bounded
where PPO-clip only stops pushing. Advantages are standardised in every optimiser batch.
Paper: epsilon 0.2, control tasks with a critic (10 epochs, 4 minibatches); here the advantage is that of the group.
Assumed: the move to responses of a language model; the log-ratio is clamped at 20.
Names: also SPO: Single-stream Policy Optimization (spo_single_stream), Segment Policy Optimization.

    python -m pojax.train --config=configs/spo_simple.py --workdir=/tmp/spo_simple
"""

from configs import common


def get_config(preset="tiny"):
    config = common.base(preset)
    config.method = dict(
        curricula=("uniform", {}),
        rollouts=("independent", dict(samples=8)),
        rewards=[("weighted_sum", dict(weights=dict(correct=1.0)))],
        advantages=[("group_center", {})],
        per_minibatch=[("batch_normalize", {})],
        losses=[("spo_simple", dict(epsilon=0.2))],
        aggregate="token_mean",
        minibatches=4,
    )
    return config
