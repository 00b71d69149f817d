"""Dynamic reward weighting by hypervolume (Lu et al., arXiv 2509.11452): rewards scaled by how far the last step pushed the Pareto front.

Against GRPO: a multiplier between 0.5 and 2 on the sum of several rewards, from the volume that the last iteration's results add to those
before it. Advantages are leave-one-out, because a standard deviation would cancel the multiplier.
Paper: accuracy, conciseness and format at fixed weights, Qwen3-8B on MATH500, 8 responses, learning rate 1e-6, KL 1e-3. Here correct 0.8,
format 0.1 and conciseness 0.1, because the shortest answers of this task are wrong.
Code: validates after every step; here the vector is the batch mean. Its volume may count the last coordinate negative (clamp=False).
Assumed: the front's two objectives and their units (a tenth of format counts as one of correct), 16 places.

    python -m pojax.train --config=configs/dynamic_weights_hypervolume.py --workdir=/tmp/dynamic_weights_hypervolume
"""

from configs import common


def get_config(preset="tiny"):
    config = common.base(preset)
    config.method = dict(
        curricula=("uniform", {}),
        rollouts=("independent", dict(samples=8)),
        rewards=[
            ("conciseness", {}),
            ("weighted_sum", dict(weights=dict(correct=0.8, format=0.1, conciseness=0.1))),
            ("scale_reward", dict(multiplier="pareto.multiplier")),
        ],
        advantages=[("leave_one_out", {})],
        losses=[("ppo_clip", dict(epsilon=0.2)), ("k3", dict(scale=1e-3))],
        aggregate="token_mean",
        trackers=dict(pareto=("pareto_front", dict(directions=dict(correct=1.0, format=10.0), objectives=2))),
        minibatches=4,
    )
    return config
