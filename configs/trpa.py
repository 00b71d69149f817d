"""TRPA, Trust Region Preference Approximation (arXiv 2504.04524): rule checks as preference levels, a DPO loss on all pairs of a group.

Against GRPO: no reward scale: a response is only better or worse than another of its prompt. Log-ratios to the reference are means over
tokens, pairs that hold a best response weigh 2.5 times, k3 to the old policy holds the step.
Paper: beta 0.1, anisotropy 2.5, trust region 1e-3, four levels, 4 prompts x 16, learning rate 4e-7; Knights and Knaves with 2 to 8
people: 0.96, 0.99, 0.98, 0.95, 0.92, 0.91, 0.86 (Logic-RL 0.99, 0.99, 0.94, 0.92, 0.91, 0.80, 0.67).
Here the trust region weighs 0.05, as the learning rate is 1000 times as large, and a batch is seen twice: at the first step of a rollout
the term has no gradient.
Code: where a batch has no pair it falls back to single responses: a term `trpa_unpaired` with scale="unpaired_share". The root of the
trust region: the rule `kl_root`, and scale=[1e-3, "root_slope"] at k3.

    python -m pojax.train --config=configs/trpa.py --workdir=/tmp/trpa
"""

from configs import common


def get_config(preset="tiny"):
    config = common.base(preset)
    config.method = dict(
        curricula=("uniform", {}),
        rollouts=("independent", dict(samples=8)),
        rewards=[("weighted_sum", dict(weights=dict(correct=1.0)))],
        advantages=[("preference_levels", {})],
        per_minibatch=[("pair_share", {})],
        losses=[
            ("trpa", dict(beta=0.1, anisotropy=2.5, scale="pair_share", aggregate="token_sum")),
            ("k3", dict(ref_logprobs="old_logprobs", scale=0.05, aggregate="token_mean")),
        ],
        epochs=2,
    )
    return config
