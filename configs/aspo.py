"""ASPO, Advantage Shaping Policy Optimization (Lin and Xu, arXiv 2508.19201): correct responses that call the tool early gain more.

Against DAPO: among a group's responses that are correct and contain the marker, the advantage gains a bias in proportion to how much
earlier than their mean the marker stands, bounded to a part of the advantage, so that no sign flips and an all-correct group stays at 0.
Paper: delta -2.0 and cap 0.7 (conservative) or -2.5 and 0.9, marker = the first code call; 96 prompts x 8, DAPO; the accuracy stays and the
first call moves from token 4000 to 1000. The legends of its figures say 1.5 and 0.7, 2 and 0.9.
Assumed: where no tool is called, the marker is a token: here the first "+" (id 12 of the numeric alphabet). A task that knows gives the
components marker_position and has_marker itself.
Names: ASPO is also Asymmetric Importance Sampling Policy Optimization (arXiv 2510.06062), another method.
Shown on: the preset reach, where several orders of the summands are right and the first "+" comes early behind a short number.

    python -m pojax.train --config=configs/aspo.py --workdir=/tmp/aspo
"""

from configs import common


def get_config(preset="reach"):
    config = common.base(preset)
    config.method = dict(
        curricula=("uniform", {}),
        rollouts=("independent", dict(samples=8)),
        rewards=[("weighted_sum", dict(weights=dict(correct=1.0)))],
        advantages=[
            ("group_normalize", {}),
            ("first_marker", dict(token=12)),
            ("shape_by_position", dict(delta=-2.0, cap=0.7)),
        ],
        losses=[("ppo_clip", dict(epsilon=0.2, epsilon_high=0.28))],
        aggregate="token_mean",
        minibatches=4,
    )
    return config
