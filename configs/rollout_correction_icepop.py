"""ICEPOP, rollout correction per token (Ring-1T, arXiv 2510.18855): tokens on which learner and sampler disagree do not count.

Against GRPO: the surrogate of every token is multiplied by the ratio of learner and sampler, and by 0 where it is outside [0.5, 5].
The ratio of the surrogate itself stays that of learner now and learner then. The masked tokens stay in the divisor.
Paper: bounds 0.5 and 5 between the training and the inference engine of a mixture of experts; group-normalised advantages.
Code: truncation instead of the mask (verl, cap 2) is `truncated_importance`; verl and others take rejected tokens out of the divisor too,
which is the filter `reject_divergent`.
`normalized_importance` divides the weights by their mean.
Assumed: clip 0.2 and 0.28 and a mean over tokens.
Shown on: a sampler with 8-bit logits (the processor `float8_logits`); with one set of numbers for sampling and learning all weights are 1.

    python -m pojax.train --config=configs/rollout_correction_icepop.py --workdir=/tmp/rollout_correction_icepop
"""

from configs import common


def get_config(preset="tiny"):
    config = common.base(preset)
    config.sampling.processor = "float8_logits"
    config.method = dict(
        curricula=("uniform", {}),
        rollouts=("independent", dict(samples=8)),
        rewards=[("weighted_sum", dict(weights=dict(correct=1.0)))],
        advantages=[("group_normalize", {}), ("masked_importance", dict(start_logprobs="old_logprobs", low=0.5, high=5.0))],
        losses=[("ppo_clip", dict(epsilon=0.2, epsilon_high=0.28, scale="importance"))],
        aggregate="token_mean",
        minibatches=4,
    )
    return config
