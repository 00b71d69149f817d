"""IPO, INTELLECT PO (Prime Intellect 2026; squared term of Kimi K2.5, arXiv 2602.02276): a gate on moved probability, for both signs.

Against prime-rl's earlier default: a token is left out when its probability moved by more than the threshold in either direction,
whatever the sign of its advantage.
Paper: none, the loss is documented in the project; square 1e-3.
Code: threshold 0.1 in the code that was read, 0.3 in later documentation, where this loss is the default.
Assumed: advantages are those of the group, not standardised.
Names: also IPO: Identity Preference Optimization.

    python -m pojax.train --config=configs/ipo_intellect.py --workdir=/tmp/ipo_intellect
"""

from configs import common


def get_config(preset="tiny"):
    config = common.base(preset)
    config.method = dict(
        curricula=("uniform", {}),
        rollouts=("independent", dict(samples=8)),
        rewards=[("weighted_sum", dict(weights=dict(correct=1.0)))],
        advantages=[("group_center", {})],
        losses=[("ipo_intellect", dict(threshold=0.1)), ("k2", dict(ref_logprobs="rollout_logprobs", scale=2e-3))],
        aggregate="token_mean",
        minibatches=4,
    )
    return config
