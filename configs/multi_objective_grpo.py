"""Multi-objective GRPO (Li et al., arXiv 2503.21819): the reward is the sum of several scores of one model, standardised as a sum.

Against GRPO: several labels in place of one verdict, added before the group's mean and standard deviation are taken, so the label of the
largest spread decides most.
Paper: politeness, meaningfulness, actionability and safety from one regression model, Qwen2.5 0.5B to 14B; all four scores rise. Here the
labels are correct and format. A third one, conciseness at 0.2, took one of five seeds to 0% correct: in a group that is all wrong it alone
has a spread, is standardised to the size of a verdict, and the shortest answer of this task is never right.
Assumed: weights 1 where the paper's are not known, KL 0.04. Labels standardised one by one: `decoupled_normalize` (configs/gdpo_nvidia.py).

    python -m pojax.train --config=configs/multi_objective_grpo.py --workdir=/tmp/multi_objective_grpo
"""

from configs import common


def get_config(preset="tiny"):
    config = common.base(preset)
    config.method = dict(
        curricula=("uniform", {}),
        rollouts=("independent", dict(samples=8)),
        rewards=[("weighted_sum", dict(weights=dict(correct=1.0, format=1.0)))],
        advantages=[("group_normalize", {})],
        losses=[("ppo_clip", dict(epsilon=0.2)), ("k3", dict(scale=0.04))],
        aggregate="sequence_mean",
        minibatches=4,
    )
    return config
