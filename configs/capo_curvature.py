"""CAPO, Curvature-Aware Policy Optimization (arXiv 2510.00819): tokens whose own step would leave a trust region are dropped beforehand.

Against GRPO: two heads predict, from a second-order model of the last layer, how far a step along the token's gradient moves objective and
policy; the loss is GRPO's over the tokens within the limits. That allows a larger learning rate.
Paper: limits 1e-4 (policy) and 0.01 (objective), learning rate 1.5e-5 against 3e-6, group 8, MATH, Qwen2.5-Math-7B: the baselines collapse
there, CAPO does not; less than 8% of tokens dropped. Limits here are for hidden states of width 64 to 128.
Code: Adam's direction, with moments of the last layer that a run would carry (`adam_direction` computes it); here the direction is the
token's gradient itself, exactly. pi over the top k tokens: top_k. form="asymmetric": objectives may not fall either.
Names: CAPO is also credit assignment and a curriculum.

    python -m pojax.train --config=configs/capo_curvature.py --workdir=/tmp/capo_curvature
"""

from configs import common


def get_config(preset="tiny"):
    config = common.base(preset)
    config.method = dict(
        curricula=("uniform", {}),
        rollouts=("independent", dict(samples=8)),
        rewards=[("weighted_sum", dict(weights=dict(correct=1.0)))],
        advantages=[("group_normalize", {})],
        heads=dict(gradient_gain=("gradient_gain", {}), gradient_curvature=("gradient_curvature", {})),
        per_minibatch=[("curvature_trust", dict(learning_rate=4e-4, objective_limit=0.1, policy_limit=1e-2))],
        losses=[("ppo_clip", dict(epsilon=0.2, scale="trust"))],
        aggregate="sequence_mean_token_sum",
        minibatches=4,
    )
    return config
