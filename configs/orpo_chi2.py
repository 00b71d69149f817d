"""ORPO-chi2, Occupancy-Regularized Policy Optimization (arXiv 2403.03185): reward traded against the root of a chi2 divergence.

Against GRPO: the regulariser is the square root of the chi2 divergence of whole responses from the reference, on samples of the policy; it
bounds the harm of a reward that only correlates with the true one. PPO underneath.
Paper: coefficients in units of the base policy's deviation of rewards, 2e-4 to 0.08; 8e-4 for the language model.
Code: the language-model form as here. The root couples all responses: its slope is taken once per minibatch (`chi2_root`), exactly; what
is logged of the term is half its value. With a discriminator of states: `occupancy_discriminator` and `occupancy_penalty`.
Names: not the preference method ORPO.

    python -m pojax.train --config=configs/orpo_chi2.py --workdir=/tmp/orpo_chi2
"""

from configs import common


def get_config(preset="tiny"):
    config = common.base(preset)
    config.method = dict(
        curricula=("uniform", {}),
        rollouts=("independent", dict(samples=8)),
        rewards=[("weighted_sum", dict(weights=dict(correct=1.0)))],
        advantages=[("group_normalize", {})],
        per_minibatch=[("chi2_root", {})],
        losses=[
            ("ppo_clip", dict(epsilon=0.2)),
            ("response_divergence", dict(scale=[8e-4, "chi2_slope"], aggregate="sequence_mean")),
        ],
        aggregate="token_mean",
        minibatches=4,
    )
    return config
