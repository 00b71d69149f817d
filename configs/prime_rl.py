"""prime-rl's default loss (Prime Intellect 2026; squared term of Kimi K2.5, arXiv 2602.02276): gated ratio, squared log-ratio.

Against GRPO: no clip; tokens whose probability moved by more than 0.2 in the advantage's direction are left out, and every token pays
1e-3 times the square of its log-ratio to the sampler.
Paper: none, the loss is documented in the project; thresholds 0.2 and 0.2, square 1e-3.
Code: the documentation bounds the ratio, the code does not.
Its loss for distillation is `prime_rl_ref_kl`.
Assumed: advantages are those of the group, not standardised.

    python -m pojax.train --config=configs/prime_rl.py --workdir=/tmp/prime_rl
"""

from configs import common


def get_config(preset="tiny"):
    config = common.base(preset)
    config.method = dict(
        curricula=("uniform", {}),
        rollouts=("independent", dict(samples=8)),
        rewards=[("weighted_sum", dict(weights=dict(correct=1.0)))],
        advantages=[("group_center", {})],
        losses=[("prime_rl", dict(threshold=0.2)), ("k2", dict(ref_logprobs="rollout_logprobs", scale=2e-3))],
        aggregate="token_mean",
        minibatches=4,
    )
    return config
