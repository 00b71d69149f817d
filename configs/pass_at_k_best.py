"""Pass@k by best-minus-second, Optimizing LMs for Inference Time Objectives (Meta, arXiv 2503.19595): only the best response has credit.

Against GRPO: the objective is the expected maximum of the group, so the best response gets its lead over the second best and all others 0;
two right answers in a group teach nothing, and no response is pushed down.
Paper: k is the size of the group; 2 here, because with 8 responses a group with exactly one right answer is rare on the tiny task.
Code: verl's `grpo_passk` divides by the group's standard deviation, `normalize=True`, and refuses groups of one, which have 0 here.
Assumed: without that division, as the estimator is derived.
Names: `max_at_k` is another estimator, for k below the size of the group, with credit for all rows.

    python -m pojax.train --config=configs/pass_at_k_best.py --workdir=/tmp/pass_at_k_best
"""

from configs import common


def get_config(preset="tiny"):
    config = common.base(preset)
    config.batch_prompts *= 4
    config.method = dict(
        curricula=("uniform", {}),
        rollouts=("independent", dict(samples=2)),
        rewards=[("weighted_sum", dict(weights=dict(correct=1.0)))],
        advantages=[("best_minus_second", {})],
        losses=[("ppo_clip", dict(epsilon=0.2))],
        aggregate="sequence_mean",
        minibatches=4,
    )
    return config
