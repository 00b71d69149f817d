"""CoPG, Contrastive Policy Gradient (Cohere, arXiv 2406.19185): squared differences of KL-regularised rewards, off policy without a ratio.

Against GRPO: the regularised reward, log-ratio to the reference included, of each response against the others of its prompt; its gradient
is RLOO's with KL in the reward, whoever wrote the responses. No old policy, no clip.
Paper: on a bandit and on summarisation it reaches the optimum off policy where a policy gradient without the right baseline does not;
with rewards of two constants it is IPO. Over k samples as in Command A (arXiv 2504.00698).
Assumed: beta 0.1 (the paper's was not read).
Names: not the pairwise P3O, whose baseline it shares.

    python -m pojax.train --config=configs/copg.py --workdir=/tmp/copg
"""

from configs import common


def get_config(preset="tiny"):
    config = common.base(preset)
    config.method = dict(
        curricula=("uniform", {}),
        rollouts=("independent", dict(samples=8)),
        rewards=[("weighted_sum", dict(weights=dict(correct=1.0)))],
        advantages=[],
        losses=[("copg", dict(beta=0.1))],
        aggregate="group_mean",
        minibatches=4,
    )
    return config
