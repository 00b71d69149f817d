"""OTB, Optimal Token Baseline (Li et al., ICML 2026, in verl): a baseline for every time step, weighted by gradient energy.

Against GRPO: in place of the group's mean reward each step has the mean of the returns weighted by the squared gradient norms that the
responses have accumulated up to it, which forward probabilities give: 1 - 2 pi + sum_v pi_v^2. No standard deviation, no KL.
Paper: N = 4 responses match the group mean with N = 32, with over 65% fewer tokens.
Code: a group of one keeps its return (singles="reward"); the tail of the longest response begins at a column, which is wrong where the
mask has holes: packed=True (TIR-OTB) counts the response's own tokens.

    python -m pojax.train --config=configs/otb.py --workdir=/tmp/otb
"""

from configs import common


def get_config(preset="tiny"):
    config = common.base(preset)
    config.method = dict(
        curricula=("uniform", {}),
        rollouts=("independent", dict(samples=8)),
        rewards=[("weighted_sum", dict(weights=dict(correct=1.0)))],
        heads=dict(collision_probability=("collision_probability", {})),
        advantages=[("optimal_token_baseline", {})],
        losses=[("ppo_clip", dict(epsilon=0.2))],
        aggregate="token_mean",
        minibatches=4,
    )
    return config
