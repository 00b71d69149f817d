"""MaxRL, Maximum-likelihood RL (arXiv 2602.02710): the group's mean as divisor, so that hard prompts weigh about 1 / p.

Against GRPO: the divisor is the group's mean in place of its standard deviation; with rewards of 0 and 1 the gradient is that of the
maximum likelihood of a success, truncated at the order of the group's size, where plain policy gradients are of order 1.
Code: the authors' analysis adds an epsilon to the mean, `epsilon=1e-6`; the estimator has none.
Assumed: on-policy policy gradient, one update per rollout, every token the same weight.

    python -m pojax.train --config=configs/maxrl.py --workdir=/tmp/maxrl
"""

from configs import common


def get_config(preset="tiny"):
    config = common.base(preset)
    config.method = dict(
        curricula=("uniform", {}),
        rollouts=("independent", dict(samples=8)),
        rewards=[("weighted_sum", dict(weights=dict(correct=1.0)))],
        advantages=[("group_mean_normalize", {})],
        losses=[("policy_gradient", {})],
        aggregate="token_mean",
    )
    return config
