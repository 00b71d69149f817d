"""CISPO, Clipped IS-weight PO (MiniMax-M1, arXiv 2506.13585): the clipped ratio is a constant weight of the log-probability.

Against GRPO: PPO-clip drops the gradient of tokens that moved far, often the rare ones at which reasoning forks; here every token keeps
its gradient and only the importance weight is bounded. No KL, every token counts the same.
Paper: group-standardised advantages, no lower bound, the upper bound tuned but not printed.
Code: verl clips to [0.8, 1.2] by default (epsilon=0.2, epsilon_high=0.2); TRL and ms-swift write the cap itself, epsilon_high=5.0, which
is 4.0 here.
Assumed: the cap of 5 on the ratio, that of ScaleRL (arXiv 2510.13786).

    python -m pojax.train --config=configs/cispo.py --workdir=/tmp/cispo
"""

from configs import common


def get_config(preset="tiny"):
    config = common.base(preset)
    config.method = dict(
        curricula=("uniform", {}),
        rollouts=("independent", dict(samples=8)),
        rewards=[("weighted_sum", dict(weights=dict(correct=1.0)))],
        advantages=[("group_normalize", {})],
        losses=[("cispo", dict(epsilon_high=4.0))],
        aggregate="token_mean",
        minibatches=4,
    )
    return config
