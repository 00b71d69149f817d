"""CE-GPPO, Coordinating Entropy via Gradient-Preserving PO (Kuaishou, arXiv 2509.20712): clipped tokens keep a bounded, scaled gradient.

Against GRPO: beyond the clip the gradient is not 0 but beta times that of the bound; the two betas, one for each side, steer the entropy.
Paper: beta 0.5 (below) and 1 (above) for 1.5B, 0.75 and 1 for 7B, clip 0.2, group 8, 128 prompts, minibatches of 16, learning rate 1e-6,
groups of equal rewards filtered; mean of five benchmarks with DS-R1-Distill-Qwen-1.5B 54.9 (GRPO 49.1, DAPO 52.4), 7B 67.5 (60.5, 64.5).
Code: adds 0.1 times the negative log-likelihood of rewarded rows, which the paper's loss does not show: append
("negative_log_likelihood", dict(scale=0.1, where="rewards")); the dual clip of 10 is from the code too.

    python -m pojax.train --config=configs/ce_gppo.py --workdir=/tmp/ce_gppo
"""

from configs import common


def get_config(preset="tiny"):
    config = common.base(preset)
    config.method = dict(
        curricula=("uniform", {}),
        rollouts=("independent", dict(samples=8)),
        rewards=[("weighted_sum", dict(weights=dict(correct=1.0)))],
        advantages=[("group_normalize", {}), ("drop_uniform_groups", {})],
        losses=[("ce_gppo", dict(epsilon=0.2, beta_low=0.5, beta_high=1.0, dual_clip=10.0))],
        aggregate="token_mean",
        minibatches=4,
    )
    return config
