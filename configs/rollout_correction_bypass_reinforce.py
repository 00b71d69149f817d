"""BYPASS-REINFORCE, rollout correction by a weight alone (verl 2025, after Li et al. 2025): REINFORCE with the sampler as the anchor.

Against GRPO: no clip. REINFORCE with the truncated ratio of the current policy and the sampler as a constant weight, taken anew at every
optimiser step, so that one number corrects for the sampler and for the updates made since; tokens beyond the bounds are rejected.
Paper: truncation at 2; one forward pass less, for the learner's log-probabilities at the start are not needed.
Code: verl's bypass_mode with loss "reinforce"; configs/rollout_correction_bypass.py is its "ppo_clip".
Assumed: group-normalised advantages, bounds 0.5 and 2 for the rejection. One update for each rollout: without a clip, several on parts of
this small batch go too far.
Shown on: a sampler with 8-bit logits (the processor `float8_logits`); with one set of numbers for sampling and learning all weights are 1.

    python -m pojax.train --config=configs/rollout_correction_bypass_reinforce.py --workdir=/tmp/rollout_correction_bypass_reinforce
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
    )
    return config
