"""OPO, On-Policy RL with Optimal Reward Baseline (arXiv 2505.23585): the length-weighted mean of the group as baseline, exactly on-policy.

Against GRPO: the baseline of least variance for gradients whose squared norm grows with the length; no division by the standard deviation,
no ratio, no KL, one update per rollout.
Paper: one minibatch per rollout, no KL, no entropy term.
Code: verl keeps the raw reward of a group of one, `singles="reward"`.
Names: DeepSeek's and others' "optimal baselines" weigh by gradient norms per token; this one weighs by length.
Shown on: lengths hardly differ on the default task (answers of two or three digits), so it is close to Dr. GRPO there.

    python -m pojax.train --config=configs/opo.py --workdir=/tmp/opo
"""

from configs import common


def get_config(preset="tiny"):
    config = common.base(preset)
    config.method = dict(
        curricula=("uniform", {}),
        rollouts=("independent", dict(samples=8)),
        rewards=[("weighted_sum", dict(weights=dict(correct=1.0)))],
        advantages=[("length_weighted_center", {})],
        losses=[("policy_gradient", {})],
        aggregate="token_mean",
    )
    return config
