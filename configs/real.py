"""REAL, Rewards as Labels (arXiv 2602.05630): the responses of a group are classified by reward, with their mean log-ratio as the logit.

Against GRPO: the advantage's sign alone is used, as a label; the weight of a response in the gradient is that of a classifier and never
above 1 / tau, where GRPO's grows with the ratio and with the rarity of the verdict.
Paper: tau 0.5, no KL (k3 as a further term where wanted).
Code: the label is advantage > 0, so above the mean of the group, as here; rows without a token count as negatives there, not here.
Names: REAL is a common word; this one is `loss_type="real"` of ms-swift.

    python -m pojax.train --config=configs/real.py --workdir=/tmp/real
"""

from configs import common


def get_config(preset="tiny"):
    config = common.base(preset)
    config.method = dict(
        curricula=("uniform", {}),
        rollouts=("independent", dict(samples=8)),
        rewards=[("weighted_sum", dict(weights=dict(correct=1.0)))],
        advantages=[("group_normalize", {})],
        losses=[("real", dict(tau=0.5))],
        aggregate="group_mean",
        minibatches=4,
    )
    return config
