"""COPO, Consistency-Aware Policy Optimization (arXiv 2508.04138): a comparison between prompts beside the one in the group.

Against GRPO: a second, global advantage compares prompts by their success rate times the consistency of their answers; the entropy of a
group's answers says how much of each counts, and groups without a local signal learn from the global one alone.
Paper: 512 prompts, 6 responses, minibatches of 32, clip 0.2, dual clip 3, no KL, learning rate 1e-6, blend with slope 5 and center 1 bit.
Code: the terms can be switched: `form="soft"`, "forced", "local" (GRPO), "global"; `discount_entropy=False` leaves the consistency out.
Assumed: the answer is the whole response, `identical_responses`; the paper compares extracted final answers, which here is the same.

    python -m pojax.train --config=configs/copo.py --workdir=/tmp/copo
"""

from configs import common


def get_config(preset="tiny"):
    config = common.base(preset)
    clip = dict(epsilon=0.2, dual_clip=3.0)
    config.method = dict(
        curricula=("uniform", {}),
        rollouts=("independent", dict(samples=8)),
        rewards=[("weighted_sum", dict(weights=dict(correct=1.0)))],
        advantages=[
            ("identical_responses", dict(writes="answers")),
            ("answer_entropy", {}),
            ("group_normalize", {}),
            ("consistency_advantages", {}),
            ("consistency_weights", {}),
        ],
        losses=[
            ("ppo_clip", dict(clip, scale="local_weight")),
            ("ppo_clip", dict(clip, scale="global_weight", advantages="global_advantages")),
        ],
        aggregate="sequence_mean",
        minibatches=4,
    )
    return config
