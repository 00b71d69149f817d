"""GUI-G1 (Zhou et al., arXiv 2505.15810): no standard deviation, a constant divisor, and a weight per prompt by how hard its target is.

Against GRPO: advantages are centred only, token losses are divided by a constant budget, and small targets weigh more. The reward of its
task is `box_reward`: hit, a quarter of the IoU, an eighth of the agreement of the edges.
`box_hit`, `box_iou` and `box_edges` are its parts.
Paper: 8 responses, temperature 0.9, learning rate 1e-6, budget 64 tokens, no KL; ScreenSpot 90.3. Here the budget is the
preset's, and the column `difficulty` stands for the target's size.
Code: reads the weight from a column of the data set (scale="<column>"); an overlap of one pixel counts as none (min_overlap=1).
Assumed: the weight's formula, inverse size with mean 1 (`size_weight`); here 1 + difficulty with mean 1.

    python -m pojax.train --config=configs/gui_g1.py --workdir=/tmp/gui_g1
"""

from configs import common


def get_config(preset="tiny"):
    config = common.base(preset)
    config.method = dict(
        curricula=("uniform", {}),
        rollouts=("independent", dict(samples=8, temperature=0.9)),
        rewards=[("weighted_sum", dict(weights=dict(correct=1.0)))],
        advantages=[("group_center", {}), ("size_weight", dict(sizes="difficulty", offset=1.0, power=1.0))],
        losses=[("ppo_clip", dict(epsilon=0.2, scale="prompt_weight"))],
        aggregate=("constant", dict(length=config.response_tokens)),
        minibatches=4,
    )
    return config
