"""GiGPO, Group-in-Group Policy Optimization (Feng et al., arXiv 2505.10978): turns that begin in the same state form groups of their own.

Against GRPO: the advantage of a turn is that of its episode among the prompt's episodes, plus that of its discounted return among all turns
of these episodes that were taken in the same state (`anchor`); no standard deviation; loss per token.
Paper: 8 episodes to a prompt, omega 1, discount 0.95, KL 0.01, learning rate 1e-6, Qwen2.5 1.5B and 7B, at most 50 turns (ALFWorld) or 15
(WebShop); more than 12 points over GRPO on ALFWorld and 9 on WebShop. The discount, the KL and the learning rate are recalled, not read.
Code: the episode's statistics count an episode once per turn, episodes="per_step"; form="mean_std" divides by the standard deviation.
Assumed: states are compared exactly, by the world's own ids (the paper also groups similar observations); a single episode has no credit.
Shown on: the preset world, key and door, where a policy passes the same cells again and again.

    python -m pojax.train --config=configs/gigpo.py --workdir=/tmp/gigpo
"""

from configs import common


def get_config(preset="world"):
    config = common.base(preset)
    config.method = dict(
        curricula=("uniform", {}),
        rollouts=("turns", dict(samples=8, turns=8, action_tokens=1)),
        rewards=[("weighted_sum", dict(weights=dict(episode_return=1.0)))],
        advantages=[("episode_and_step_advantages", dict(omega=1.0, gamma=0.95))],
        losses=[("ppo_clip", dict(epsilon=0.2)), ("k3", dict(scale=0.01))],
        aggregate="token_mean",
        minibatches=4,
    )
    return config
