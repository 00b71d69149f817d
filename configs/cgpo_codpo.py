"""CGPO-CODPO, Constrained Online Direct Preference Optimization (Meta, arXiv 2409.20370): judges make the pairs.

Against GRPO: of each group the accepted response of highest reward and the rejected one of lowest are a pair of DPO, plus the likelihood of
the first one; the other responses are not used.
Paper: Llama 3 70B; a prompt without an accepted response is skipped, and without a rejected one the lowest reward of all takes its place.
Assumed: beta 0.1 and likelihood weight 1, which the paper does not print. Here the judge is the format.

    python -m pojax.train --config=configs/cgpo_codpo.py --workdir=/tmp/cgpo_codpo
"""

from configs import common


def get_config(preset="tiny"):
    config = common.base(preset)
    config.method = dict(
        curricula=("uniform", {}),
        rollouts=("independent", dict(samples=8)),
        rewards=[("weighted_sum", dict(weights=dict(correct=1.0)))],
        advantages=[("judges_satisfied", dict(thresholds=dict(format=0.5))), ("constrained_pairs", {})],
        losses=[("codpo", dict(beta=0.1, likelihood=1.0, where="chosen"))],
        aggregate="sequence_mean",
        minibatches=4,
    )
    return config
