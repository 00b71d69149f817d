"""RFT, rejection-sampling fine-tuning (Yuan et al., arXiv 2308.01825): the likelihood of the policy's own right responses.

Against GRPO: no advantages, no baseline, no ratio: rows that are not right are cleared and the others are learned from as demonstrations
are. The floor arm of methods that learn from wrong responses too.
Paper: k responses for each prompt from the start model, right ones kept, duplicates removed, then plain fine-tuning (learning rate 1e-5).
Code: this is the online form, which samples anew at every iteration, as the arm without negatives of NFT. Divided by the kept tokens; by
all tokens (scale="correct" in place of the filter) it is REINFORCE with reward 0 or 1 and no baseline.
Assumed: duplicates stay; `drop_duplicates` after the filter removes them.
Names: RFT is also reinforcement fine-tuning elsewhere.

    python -m pojax.train --config=configs/rft.py --workdir=/tmp/rft
"""

from configs import common


def get_config(preset="tiny"):
    config = common.base(preset)
    config.method = dict(
        curricula=("uniform", {}),
        rollouts=("independent", dict(samples=8)),
        rewards=[("weighted_sum", dict(weights=dict(correct=1.0)))],
        advantages=[("drop_failures", {})],
        losses=[("negative_log_likelihood", {})],
        aggregate="token_mean",
        minibatches=4,
    )
    return config
