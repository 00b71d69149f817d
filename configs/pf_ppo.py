"""PF-PPO, Policy Filtration for PPO (arXiv 2409.06957): responses are resampled by the rank of their reward before they are learned from.

Against GRPO: of each prompt's responses only the best and the worst are drawn (BW), with replacement, as many as there were; reward models
are most reliable at the ends. How often a response was drawn multiplies its loss.
Paper: 5 responses, HumanEval / MBPP / LeetCode with PPO: 80.2 / 75.0 / 29.8, best-random 82.9 / 75.9 / 33.0, best-worst 82.4 / 76.2 / 30.4.
Code: BoN, BR, BW and pow are `filtration_weights` with rule best, best_random, best_worst, power; verl ranks the whole batch (form="verl");
`filter_extremes` is the hard filter without drawing.
Assumed: the paper's critic and GAE are replaced by group-normalised advantages, with the statistics of what was drawn, from which a critic
would have learned; those of all responses would push up prompts that are mostly wrong and push down those that are mostly right. One update
for each rollout and twice the prompts: of each prompt two responses are left, and a part of this batch is too noisy.

    python -m pojax.train --config=configs/pf_ppo.py --workdir=/tmp/pf_ppo
"""

from configs import common


def get_config(preset="tiny"):
    config = common.base(preset)
    config.batch_prompts *= 2
    config.method = dict(
        curricula=("uniform", {}),
        rollouts=("independent", dict(samples=5)),
        rewards=[("weighted_sum", dict(weights=dict(correct=1.0)))],
        advantages=[("filtration_weights", dict(rule="best_worst")), ("resample", {}), ("resampled_normalize", {})],
        losses=[("ppo_clip", dict(epsilon=0.2, scale="multiplicity"))],
        aggregate="sequence_mean",
    )
    return config
