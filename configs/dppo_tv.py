"""DPPO-TV, Divergence Proximal Policy Optimization (arXiv 2602.04879): a trust region on the change of a token's probability.

Against GRPO: the clip on the ratio stops rare tokens early and lets frequent ones move far; here a token stops when the total variation
between "this token" and "another" has grown too much. The old policy is the sampler itself; the ratio is a constant, capped at 20.
Paper: threshold 0.15, cap 20, group-standardised advantages.
Code: verl's default cap is 3, so 20 must be set there; prime-rl's default loss has the same gate (configs/prime_rl.py).
`divergence_gated` takes a divergence over the sampler's most likely tokens (`top_k_tv`) instead.
Names: not Diffusion Policy Policy Optimization, nor D-PPO (d_ppo), nor the delay-adapted DAPPO.

    python -m pojax.train --config=configs/dppo_tv.py --workdir=/tmp/dppo_tv
"""

from configs import common


def get_config(preset="tiny"):
    config = common.base(preset)
    config.method = dict(
        curricula=("uniform", {}),
        rollouts=("independent", dict(samples=8)),
        rewards=[("weighted_sum", dict(weights=dict(correct=1.0)))],
        advantages=[("group_normalize", {})],
        losses=[("dppo_tv", dict(threshold=0.15, cap=20.0))],
        aggregate="token_mean",
        minibatches=4,
    )
    return config
