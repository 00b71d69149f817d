"""RiskPO, Risk-based Policy Optimization (PKU, arXiv 2510.00911): the lower tail of the scores of bundles of prompts counts more.

Against GRPO: K prompts are a bundle with one response of each; the score is the sum of their rewards. The weight of a bundle in the
gradient of a mixed value-at-risk counts the lower tail more; its quantiles follow a tracker. One ratio and one clip per response.
Paper: bundles of 5 prompts, 10 responses, levels 0.2 and 0.8, weight 0.5, tracker rate 0.1, no KL, learning rate 1e-6;
R1-Distill-Qwen-1.5B, average of six benchmarks: GRPO 40.41, DAPO 43.87, RiskPO 46.65. Bundles of 2 here: of 5, the rewards of the other
four drown a response's own in a batch of a few hundred rows.
Code: another form of the weight, and credit within the bundle: `configs/risk_po_released.py`. Responses are paired in order,
`permute=False`, and the clip is per token.
Assumed: clip 0.2; the mean over a prompt's responses as baseline, because a weight that is never positive only pushes down, and the tiny
policy collapses; one minibatch.

    python -m pojax.train --config=configs/risk_po.py --workdir=/tmp/risk_po
"""

from configs import common


def get_config(preset="tiny"):
    config = common.base(preset)
    tracked = dict(low="quantiles.low", high="quantiles.high", started="quantiles.started")
    config.method = dict(
        curricula=("uniform", {}),
        rollouts=("independent", dict(samples=8)),
        rewards=[("weighted_sum", dict(weights=dict(correct=1.0)))],
        advantages=[
            ("bundle_prompts", dict(prompts=2)),
            ("mixed_value_at_risk", tracked),
            ("group_center", dict(rewards="advantages")),
        ],
        losses=[("gspo", dict(epsilon=0.2, epsilon_high=0.2))],
        aggregate="sequence_mean",
        trackers=dict(quantiles=("running_quantiles", dict(rewards="bundle_rewards", groups="bundle"))),
    )
    return config
