"""AEPO, Arbitrary Entropy Policy Optimization (arXiv 2510.08141): entropy held at a target by right responses of another temperature.

Against GRPO: the first quarter of the prompts is sampled again, hotter where the last batch's entropy was below the target and colder
otherwise; of these rows the good ones take the place of fresh ones, with advantage 1, and are learned from as if sampled at temperature 1.
Paper: temperatures 0.8 and 1.2, target 0.25 to 1 (0.75 best), clip 0.2; Qwen2.5-Math-7B, mean of 7 benchmarks: GRPO 57.96, entropy bonus
57.39, AEPO 61.36.
Code: this is the released form; the paper adds the rows with a coefficient alpha that the code does not have: form="paper", the surrogate
where="sampled" and ("policy_gradient", dict(where="retempered", scale=alpha)). A dual clip of 3. At most 60 rows, halved above the target.
Assumed: entropy is measured on the fresh rows. The target is the released script's, 0.5 nats per token.
Names: not the asymmetric or the actor-expert methods of that abbreviation.

    python -m pojax.train --config=configs/aepo.py --workdir=/tmp/aepo
"""

from configs import common


def get_config(preset="tiny"):
    config = common.base(preset)
    config.method = dict(
        curricula=("uniform", {}),
        rollouts=("retempered", dict(inner=("independent", dict(samples=8)), temperature="entropy_control.temperature", parts=4)),
        rewards=[("weighted_sum", dict(weights=dict(correct=1.0)))],
        advantages=[("group_normalize", {}), ("swap_in_retempered", dict(above="entropy_control.above", most=60, form="code"))],
        losses=[("ppo_clip", dict(epsilon=0.2, dual_clip=3.0))],
        aggregate="token_mean",
        trackers=dict(entropy_control=("entropy_target", dict(target=0.5, low=0.8, high=1.2))),
        minibatches=4,
    )
    return config
