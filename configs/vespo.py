"""VESPO, Variational Sequence-level Soft PO (arXiv 2602.10693): a smooth Gamma-shaped weight of the response's whole ratio, no clip.

Against GRPO: the weight W^k exp(lambda (1 - W)) of the product of all token ratios is a constant of the gradient; it fades towards both
ends, at another rate for each sign of the advantage, and needs no normalisation by length.
Paper: k 2, lambda 3 for positive and k 3, lambda 2 for negative advantages, no KL; stable up to 64 updates per rollout and fully
asynchronous.
Code: TRL floors lambda at 1e-4; weights against the sampler enter the product (data `importance`), not the loss.

    python -m pojax.train --config=configs/vespo.py --workdir=/tmp/vespo
"""

from configs import common


def get_config(preset="tiny"):
    config = common.base(preset)
    config.method = dict(
        curricula=("uniform", {}),
        rollouts=("independent", dict(samples=8)),
        rewards=[("weighted_sum", dict(weights=dict(correct=1.0)))],
        advantages=[("group_normalize", {})],
        losses=[("vespo", dict(k=2.0, lam=3.0, k_negative=3.0, lam_negative=2.0))],
        aggregate="token_mean",
        minibatches=4,
    )
    return config
