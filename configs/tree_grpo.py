"""Tree-GRPO, Tree Search for LLM Agent RL (Ji et al., arXiv 2509.21240): episodes that branch at turns, compared within and across trees.

Against GRPO: a prompt has a few trees, and in a tree new episodes go on from a random turn of an old one; the advantage is standardised
among all episodes of the prompt and among those of the tree, and the two are added. A shared turn has the credit of all episodes below it.
Paper: 2 trees of 3 leaves (2 expansions, 1 round), 3 turns, KL 0.001, learning rate 1e-6, 512 prompts; mean of four multi-hop question
sets with Qwen2.5-3B: GRPO 31.8, Tree-GRPO 36.8.
Code: a leaf alone in its tree has the credit r / (1 + 1e-6) there, here 0.
Shown on: the preset world, key and door, with 8 turns.

    python -m pojax.train --config=configs/tree_grpo.py --workdir=/tmp/tree_grpo
"""

from configs import common


def get_config(preset="world"):
    config = common.base(preset)
    config.method = dict(
        curricula=("uniform", {}),
        rollouts=("turn_tree", dict(trees=2, expansions=2, rounds=1, turns=8, action_tokens=1)),
        rewards=[("weighted_sum", dict(weights=dict(episode_return=1.0)))],
        advantages=[("tree_and_group_normalize", {})],
        losses=[("ppo_clip", dict(epsilon=0.2)), ("k3", dict(scale=0.001))],
        aggregate="token_mean",
        minibatches=4,
    )
    return config
