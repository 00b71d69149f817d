"""GRAPE, Generalized Relative Advantage Policy Evolution (Patel, arXiv 2509.04501): a rubric whose unsure items count less.

Against GRPO: the reward is a mean of several scores, each weighted by how sure its critic was on average over the group, and the advantage
is that reward minus the group's mean, without division.
Paper: a proposal without experiments and without numbers; one item gives GRPO without the standard deviation.
Assumed: the division by the sum of weights, confidences averaged over the group, clip 0.2. Here correctness is checked (confidence 1) and
the policy's own token probability stands for a critic's confidence in the format.

    python -m pojax.train --config=configs/grape.py --workdir=/tmp/grape
"""

from configs import common


def get_config(preset="tiny"):
    config = common.base(preset)
    rubric = dict(weights=dict(correct=1.0, format=1.0), confidences=dict(format_confidence=1.0))
    config.method = dict(
        curricula=("uniform", {}),
        rollouts=("independent", dict(samples=8)),
        rewards=[("mean_probability", dict(writes="format_confidence")), ("confidence_weighted_rubric", rubric)],
        advantages=[("group_center", {})],
        losses=[("ppo_clip", dict(epsilon=0.2))],
        aggregate="token_mean",
        minibatches=4,
    )
    return config
