"""BYPASS, rollout correction without the learner's old log-probabilities (verl 2025, after Li et al. 2025): the sampler is the anchor.

Against GRPO: the ratio of the surrogate is that of the current policy and the sampler, so that one number corrects for the sampler and for
the updates made since; tokens whose ratio is beyond bounds are rejected, and leave the divisor too. There is no other weight: the ratio
holds the correction already.
Paper: one forward pass less, for the learner's log-probabilities at the start are not needed.
Code: verl's bypass_mode with loss "ppo_clip"; configs/rollout_correction_bypass_reinforce.py is its "reinforce".
Assumed: group-normalised advantages, clip 0.2 and 0.28, bounds 0.5 and 2 for the rejection.
Shown on: a sampler with 8-bit logits (the processor `float8_logits`); with one set of numbers for sampling and learning it is GRPO.

    python -m pojax.train --config=configs/rollout_correction_bypass.py --workdir=/tmp/rollout_correction_bypass
"""

from configs import common


def get_config(preset="tiny"):
    config = common.base(preset)
    config.sampling.processor = "float8_logits"
    config.method = dict(
        curricula=("uniform", {}),
        rollouts=("independent", dict(samples=8)),
        rewards=[("weighted_sum", dict(weights=dict(correct=1.0)))],
        advantages=[("group_normalize", {})],
        per_minibatch=[
            ("reject_divergent", dict(start_logprobs="logprobs", criterion="k1", low=0.5, high=2.0)),
        ],
        losses=[("ppo_clip", dict(old_logprobs="rollout_logprobs", epsilon=0.2, epsilon_high=0.28))],
        aggregate="token_mean",
        minibatches=4,
    )
    return config
