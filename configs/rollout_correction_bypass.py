"""BYPASS, rollout correction without the learner's old log-probabilities (verl 2025, after Li et al. 2025): the sampler is the anchor.

Against GRPO: no clip. REINFORCE with the truncated ratio of the current policy and the sampler as a constant weight, taken anew at every
optimiser step, so that one number corrects for the sampler and for the updates made since; tokens beyond the bounds are rejected.
Paper: truncation at 2; one forward pass less, for the learner's log-probabilities at the start are not needed.
Code: verl's bypass_mode has two losses. This one is "reinforce"; "ppo_clip" is `ppo_clip` with old_logprobs="rollout_logprobs", the
rejection alone and no weight, because its ratio holds the correction already.
Assumed: group-normalised advantages, bounds 0.5 and 2 for the rejection.
Shown on: a sampler with 8-bit logits (the processor `float8_logits`); four updates for each rollout move the ratio as well.

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
            ("truncated_importance", dict(start_logprobs="logprobs", cap=2.0)),
        ],
        losses=[("policy_gradient", dict(scale="importance"))],
        aggregate="token_mean",
        minibatches=4,
    )
    return config
