"""TayPO, Taylor Expansion Policy Optimization (arXiv 2003.06259): the off-policy objective expanded in the ratio minus 1, to second order.

Against GRPO: the first order is the surrogate without clip; the second adds products of the ratios of two tokens, which the surrogate
leaves out when the policy has moved.
Paper: order 2 at least as good as order 1 in distributed Atari agents with stale actors. Trained by a critic there; here advantages of the
group, so the terminal form: one advantage for the whole response, no discount.
Assumed: order 2, gamma 1; two epochs of full batches: nothing is clipped, and far from the old policy (sum of ratios minus 1 below
-1) the second order turns the gradient round.

    python -m pojax.train --config=configs/taypo.py --workdir=/tmp/taypo
"""

from configs import common


def get_config(preset="tiny"):
    config = common.base(preset)
    config.method = dict(
        curricula=("uniform", {}),
        rollouts=("independent", dict(samples=8)),
        rewards=[("weighted_sum", dict(weights=dict(correct=1.0)))],
        advantages=[("group_normalize", {})],
        losses=[("taypo", dict(order=2))],
        aggregate="sequence_mean_token_sum",
        epochs=2,
    )
    return config
