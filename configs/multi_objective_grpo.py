"""Multi-objective GRPO (Li et al., arXiv 2503.21819): the reward is the sum of several scores of one model, standardised as a sum.

Against GRPO: several labels in place of one verdict, added before the group's mean and standard deviation are taken, so the label of the
largest spread decides most.
Paper: politeness, meaningfulness, actionability and safety from one regression model, Qwen2.5 0.5B to 14B; all four scores rise. Here the
labels are correct, format and conciseness, the last one at 0.2 because the shortest answers of this task are wrong.
Assumed: weights 1 where the paper's are not known, KL 0.04. Labels standardised one by one: `decoupled_normalize` (configs/gdpo_nvidia.py).

    python -m pojax.train --config=configs/multi_objective_grpo.py --workdir=/tmp/multi_objective_grpo
"""

from configs import common


def get_config(preset="tiny"):
    config = common.base(preset)
    config.method = dict(
        curricula=("uniform", {}),
        rollouts=("independent", dict(samples=8)),
        rewards=[("conciseness", {}), ("weighted_sum", dict(weights=dict(correct=1.0, format=1.0, conciseness=0.2)))],
        advantages=[("group_normalize", {})],
        losses=[("ppo_clip", dict(epsilon=0.2)), ("k3", dict(scale=0.04))],
        aggregate="sequence_mean",
        minibatches=4,
    )
    return config
