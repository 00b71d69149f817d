"""GRPO on episodes (DeepSeekMath, arXiv 2402.03300): the same credit for every turn of an episode, what methods for turns are measured by.

Against GRPO: rows are episodes of several turns, and what the world writes in them has no loss.
Paper: no episodes; group size, KL and clip are those of configs/grpo.py.
Shown on: the preset world, key and door.

    python -m pojax.train --config=configs/grpo_world.py --workdir=/tmp/grpo_world
"""

from configs import grpo


def get_config(preset="world"):
    config = grpo.get_config(preset)
    config.method.rollouts = ("turns", dict(samples=8, turns=8, action_tokens=1))
    config.method.rewards = [("weighted_sum", dict(weights=dict(episode_return=1.0)))]
    config.method.minibatches = 4
    return config
