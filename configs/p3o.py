"""P3O, Pairwise Proximal Policy Optimization (Berkeley, arXiv 2310.00212): policy gradient on the difference of two rewards of one prompt.

Against PPO: no critic; what is added to the rewards of a prompt, which a reward model learned from comparisons leaves open, changes
nothing. Ratios are those of whole responses. The reward holds the penalty on the log-ratio to the reference.
Paper: HH with GPT-4 as judge: 57.0% wins over PPO, 69.3% over supervised fine-tuning.
Assumed: epsilon 0.2, the forms of the separate clip (version="v1") and of the joint clip (version="v2"), the penalty of 0.01; pairs are
consecutive rows of a group of eight.

    python -m pojax.train --config=configs/p3o.py --workdir=/tmp/p3o
"""

from configs import common


def get_config(preset="tiny"):
    config = common.base(preset)
    config.method = dict(
        curricula=("uniform", {}),
        rollouts=("independent", dict(samples=8)),
        rewards=[("weighted_sum", dict(weights=dict(correct=1.0))), ("sequence_kl_penalty", dict(coefficient=0.01))],
        advantages=[("paired_rows", {})],
        losses=[("p3o", dict(epsilon=0.2, version="v2", where="paired"))],
        aggregate="sequence_mean",
        minibatches=4,
    )
    return config
