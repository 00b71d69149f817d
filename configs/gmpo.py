"""GMPO, Geometric-Mean Policy Optimisation (arXiv 2507.20673): the geometric mean of the token ratios, each clipped before the mean.

Against GRPO: an outlier among the token ratios moves a geometric mean less than an arithmetic one, so the clip may be wider. GSPO clips
after the mean, here each token is clipped in log space before it.
Paper: clip at log-ratios of -0.4 and 0.4, no KL.

    python -m pojax.train --config=configs/gmpo.py --workdir=/tmp/gmpo
"""

from configs import common


def get_config(preset="tiny"):
    config = common.base(preset)
    config.method = dict(
        curricula=("uniform", {}),
        rollouts=("independent", dict(samples=8)),
        rewards=[("weighted_sum", dict(weights=dict(correct=1.0)))],
        advantages=[("group_normalize", {})],
        losses=[("gmpo", dict(epsilon=0.4, epsilon_high=0.4))],
        aggregate="sequence_mean",
        minibatches=4,
    )
    return config
