"""GEO-RS, geometric rejection of responses (Li et al. 2025, "When Speed Kills Stability"): a response stays if its mean ratio is near 1.

Against GRPO: responses whose geometric mean of the ratios of learner and sampler is out of bounds are cleared, from the divisor of the loss
too, and so are those whose mean k3 divergence is above 0.01; what stays has the truncated ratio of its tokens as a weight.
Paper: bounds 0.999 and 1.001, which do not get tighter with the length as those of a product would; truncation of weights at 2.
Code: ms-swift ("sequence_mask") and OpenRLHF ("seq-mask-tis") set the weights of rejected rows to 0 and leave them in the divisor:
`masked_importance` with decide="geometric". verl bounds sampler / learner (ratio="sampler").
Assumed: clip 0.2 and 0.28 and a mean over tokens. Bounds 0.8 and 1.25 on this task: means of five tokens scatter more than those of 1000,
and the paper's would clear nearly all responses; the k3 bound is 0.05 for the same reason.
Shown on: a sampler with 8-bit logits (the processor `float8_logits`); without it nothing is rejected.

    python -m pojax.train --config=configs/rollout_correction_geometric.py --workdir=/tmp/rollout_correction_geometric
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
            ("reject_divergent", dict(start_logprobs="old_logprobs", criterion="k1", level="mean", low=0.8, high=1.25)),
            ("reject_divergent", dict(start_logprobs="old_logprobs", criterion="k3", level="mean", high=0.05)),
            ("truncated_importance", dict(start_logprobs="old_logprobs", cap=2.0)),
        ],
        losses=[("ppo_clip", dict(epsilon=0.2, epsilon_high=0.28, scale="importance"))],
        aggregate="token_mean",
        minibatches=4,
    )
    return config
