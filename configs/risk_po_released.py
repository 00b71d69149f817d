"""RiskPO as released (PKU, arXiv 2510.00911): quantiles of each K prompts' own bundles, and credit for each response within its bundle.

Against GRPO: as `configs/risk_po.py`, but the parts of the weight are divided by their widths and by the standard deviation of the bundles'
scores, and a response gets the share of its bundle's weight that its reward's distance from its prompt's mean has in the sum of these
distances.
Paper: none of this; levels 0.2 and 0.8, weight 0.5, bundles of 5 prompts. Bundles of 2 here, as in `configs/risk_po.py`.
Code: the script for DAPO-Math has this credit, the one for GSM8K and MATH `credit="std"` with levels 0.2 and 0.9. Quantiles are tracked
there too, but never reach the advantage.
Assumed: the sequence clip of the paper with 0.2 where the code clips tokens; one minibatch.

    python -m pojax.train --config=configs/risk_po_released.py --workdir=/tmp/risk_po_released
"""

from configs import common


def get_config(preset="tiny"):
    config = common.base(preset)
    config.method = dict(
        curricula=("uniform", {}),
        rollouts=("independent", dict(samples=8)),
        rewards=[("weighted_sum", dict(weights=dict(correct=1.0)))],
        advantages=[
            ("bundle_prompts", dict(prompts=2, permute=False)),
            ("mixed_value_at_risk_by_bundle", dict(prompts=2, credit="sum_mean")),
        ],
        losses=[("gspo", dict(epsilon=0.2, epsilon_high=0.2))],
        aggregate="sequence_mean",
    )
    return config
