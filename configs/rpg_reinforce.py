"""RPG-REINFORCE (arXiv 2505.17508): the regularised policy gradient as a weighted log-likelihood, clipped by the sign of the whole weight.

Against GRPO: the weight w R + beta c is a constant, the gradient goes through the log-probability alone; a token loses it only where the
ratio has left the interval in the direction of its weight (algorithm 2). Group mean as baseline.
Paper: as `rpg`; Qwen3-4B, AIME24 and AIME25, best: RF-UFKL 0.6031, 0.5031; RF-URKL 0.5781, 0.5208; DAPO 0.5740, 0.4740.
Code: the released actor does not call its REINFORCE loss; that one switches on the sign of the reward. Its hard variant clips the weight
and drops nothing: `rpg_reinforce_hard`. Without any clip: `rpg_reinforce`.

    python -m pojax.train --config=configs/rpg_reinforce.py --workdir=/tmp/rpg_reinforce
"""

from configs import common


def get_config(preset="tiny"):
    config = common.base(preset)
    config.method = dict(
        curricula=("uniform", {}),
        rollouts=("independent", dict(samples=8)),
        rewards=[("weighted_sum", dict(weights=dict(correct=1.0)))],
        advantages=[("group_center", {})],
        losses=[("rpg_reinforce_clip", dict(kl="ufkl", beta=1e-4, epsilon=0.2, epsilon_high=0.28, dual_clip=10.0))],
        aggregate="token_mean",
        minibatches=4,
    )
    return config
