"""SPO, Single-stream Policy Optimization (Tencent, arXiv 2509.13232): one response per prompt, its success rate as the baseline.

A table holds a Beta law for every prompt of the data set. It forgets the faster, the more the policy has moved on the prompt's previous
response (the view `previous`), is the baseline before the update and is written after it; uncertain prompts are drawn more often.
Paper: 1024 prompts, clip 0.2 and 0.28, dual clip 10, no KL, minibatches of 128, learning rate 1e-6.
Names: SPO is also Simple Policy Optimization (arXiv 2401.16025) and Segment Policy Optimization (arXiv 2505.23564).

    python -m pojax.train --config=configs/spo_single_stream.py --workdir=/tmp/spo_single_stream
"""

from configs import common


def get_config(preset="tiny"):
    config = common.base(preset)
    config.batch_prompts *= 8
    config.method = dict(
        curricula=("bernoulli_uncertainty", dict(success="prompts.value")),
        rollouts=("independent", dict(samples=1)),
        rewards=[("weighted_sum", dict(weights=dict(correct=1.0)))],
        advantages=[
            ("lookup", dict(column="prompts.value", writes="baseline")),
            ("lookup", dict(column="prompts.tokens", writes="previous_tokens")),
            ("lookup", dict(column="prompts.temperature", writes="previous_temperature")),
            ("subtract_baseline", {}),
            ("batch_normalize", {}),
        ],
        losses=[("ppo_clip", dict(epsilon=0.2, epsilon_high=0.28, dual_clip=10.0))],
        aggregate="token_mean",
        views=dict(previous=dict(tokens="previous_tokens", temperature="previous_temperature")),
        trackers=dict(prompts=("single_stream", {})),
        minibatches=4,
    )
    return config
