"""SEQUENCE-MIS, masked importance sampling (Li et al. 2025, "When Speed Kills Stability"): the ratio of the whole response decides.

Against GRPO: the surrogate is multiplied by the ratio of learner and sampler of the whole response, a product over its tokens, and by 0
where that is above 2; a token that the learner finds all but impossible rejects its response.
Paper: the sequence level has the right expectation for responses where a correction per token is biased; truncation or masking.
Code: verl truncates at 2 (`truncated_importance` with level="sequence"), TRL masks above 3; ms-swift and OpenRLHF call the geometric mean
of the ratios the sequence level (`level="geometric"`). The veto at 1e-4 is that of verl before 0.9.
Assumed: clip 0.2 and 0.28 and a mean over tokens.
Shown on: a sampler with 8-bit logits (the processor `float8_logits`); with one set of numbers for sampling and learning all weights are 1.

    python -m pojax.train --config=configs/rollout_correction_sequence.py --workdir=/tmp/rollout_correction_sequence
"""

from configs import common


def get_config(preset="tiny"):
    config = common.base(preset)
    config.sampling.processor = "float8_logits"
    config.method = dict(
        curricula=("uniform", {}),
        rollouts=("independent", dict(samples=8)),
        rewards=[("weighted_sum", dict(weights=dict(correct=1.0)))],
        advantages=[
            ("group_normalize", {}),
            ("masked_importance", dict(start_logprobs="old_logprobs", low=0.0, high=2.0, level="sequence")),
            ("veto_improbable", dict(start_logprobs="old_logprobs", threshold=1e-4)),
        ],
        losses=[("ppo_clip", dict(epsilon=0.2, epsilon_high=0.28, scale="importance"))],
        aggregate="token_mean",
        minibatches=4,
    )
    return config
