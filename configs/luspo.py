"""LUSPO, Length-Unbiased Sequence PO (arXiv 2602.05261): GSPO with the loss of a response multiplied by its length.

Against GSPO: there every token's gradient is divided by the length of its response, so long responses learn slower token by token; here
the length cancels.
Paper: clip 2e-3 and 2.5e-3 (GSPO: 3e-4 and 4e-4), no KL. Those bounds belong to long responses; here, with up to five tokens, they are
0.03 and 0.04.
Code: TRL counts empty rows in the mean over responses, and allows ratios per token, which is PPO-clip with sequence_mean_token_sum.

    python -m pojax.train --config=configs/luspo.py --workdir=/tmp/luspo
"""

from configs import common


def get_config(preset="tiny"):
    config = common.base(preset)
    config.method = dict(
        curricula=("uniform", {}),
        rollouts=("independent", dict(samples=8)),
        rewards=[("weighted_sum", dict(weights=dict(correct=1.0)))],
        advantages=[("group_normalize", {})],
        losses=[("luspo", dict(epsilon=0.03, epsilon_high=0.04))],
        aggregate="sequence_mean",
        minibatches=4,
    )
    return config
