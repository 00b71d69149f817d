"""PF-PPO, Policy Filtration for PPO (arXiv 2409.06957): responses are resampled by the rank of their reward before they are learned from.

Against GRPO: of each prompt's responses only the best and the worst are drawn (BW), with replacement, as many as there were; reward models
are most reliable at the ends. How often a response was drawn multiplies its loss.
Paper: 5 responses, HumanEval / MBPP / LeetCode with PPO: 80.2 / 75.0 / 29.8, best-random 82.9 / 75.9 / 33.0, best-worst 82.4 / 76.2 / 30.4.
Code: BoN, BR, BW and pow are `filtration_weights` with rule best, best_random, best_worst, power; verl ranks the whole batch (form="verl");
`filter_extremes` is the hard filter without drawing.
Assumed: the paper's critic and GAE are replaced by group-normalised advantages, of all responses before the filter.

    python -m pojax.train --config=configs/pf_ppo.py --workdir=/tmp/pf_ppo
"""

from configs import common


def get_config(preset="tiny"):
    config = common.base(preset)
    config.method = dict(
        curricula=("uniform", {}),
        rollouts=("independent", dict(samples=8)),
        rewards=[("weighted_sum", dict(weights=dict(correct=1.0)))],
        advantages=[("group_normalize", {}), ("filtration_weights", dict(rule="best_worst")), ("resample", {})],
        losses=[("ppo_clip", dict(epsilon=0.2, scale="multiplicity"))],
        aggregate="sequence_mean",
        minibatches=4,
    )
    return config
