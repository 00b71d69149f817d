"""DRO, Direct Reward Optimisation, token form (arXiv 2405.19107; form of verl and Tinker): policy gradient and a squared log-ratio.

Against GRPO: no ratio and no clip; what keeps the policy near the one that sampled is beta / 2 times the squared log-ratio of every
token.
Paper: the regression of configs/dro_v.py; this form is the libraries'.
Code: Tinker beta 0.05 and a sum over tokens, here divided by the rows; verl has no default for beta. The old policy stands in for the
reference.
Assumed: the advantage, which both libraries leave to the caller, is reward minus the mean of its group.
Names: also DRO: distributionally robust optimisation.

    python -m pojax.train --config=configs/dro.py --workdir=/tmp/dro
"""

from configs import common


def get_config(preset="tiny"):
    config = common.base(preset)
    config.method = dict(
        curricula=("uniform", {}),
        rollouts=("independent", dict(samples=8)),
        rewards=[("weighted_sum", dict(weights=dict(correct=1.0)))],
        advantages=[("group_center", {})],
        losses=[("policy_gradient", {}), ("k2", dict(ref_logprobs="old_logprobs", scale=0.05))],
        aggregate="sequence_mean_token_sum",
        minibatches=4,
    )
    return config
