"""FlashREINFORCE (OpenRLHF 0.11, no paper; after REINFORCE++, arXiv 2501.03262): one response per prompt, with a divergence gate.

Against GRPO: many prompts with one response each, the batch's mean reward as the baseline, nothing divided by a standard deviation, the KL
in the return of the tokens before it; tokens on which trainer and sampler disagree by more than delta have weight 0.
Paper: none; OpenRLHF's `flash_reinforce` with its `is_correction_gating`.
Code: the gate may also be the total variation (divergence="tv"), or decide for whole responses (level="sequence"); it is off by default.
Assumed: KL 1e-3, delta 0.02, clip 0.2, token mean. Here trainer and sampler agree to rounding, so the gate stays open.

    python -m pojax.train --config=configs/flash_reinforce.py --workdir=/tmp/flash_reinforce
"""

from configs import common


def get_config(preset="tiny"):
    config = common.base(preset)
    config.batch_prompts *= 8
    config.method = dict(
        curricula=("uniform", {}),
        rollouts=("independent", dict(samples=1)),
        rewards=[("weighted_sum", dict(weights=dict(correct=1.0))), ("token_kl_penalty", dict(coefficient=1e-3))],
        advantages=[("batch_center", {}), ("token_returns", dict(rewards="advantages")), ("divergence_gate", dict(delta=0.02))],
        losses=[("ppo_clip", dict(epsilon=0.2, scale="importance"))],
        aggregate="token_mean",
        minibatches=4,
    )
    return config
