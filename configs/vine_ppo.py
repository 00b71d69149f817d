"""VinePPO (Kazemnejad et al., arXiv 2410.01679): the value before every step is the mean reward of responses continued from there.

Against GRPO: the advantage of a step is what it changes in this Monte Carlo value, the last step's the reward less the last value; whitened
over all tokens of the batch, loss per token, KL as a loss term. There is no critic, and no group: the prompt's own value is the baseline.
Paper: 9 continuations of every step, 8 responses to each of 64 prompts, clip 0.2, KL 1e-4, two epochs, learning rate 1e-6, Rho-1.1B and
DeepSeekMath-7B; MATH (recalled): DeepSeekMath 42.8 with PPO, 46.0 with VinePPO. Here 4 continuations, and a step is two tokens.
Code: steps behind the last estimate (25 in the GSM8K configs) are filled in from the end and have advantage 0: beyond="missing".

    python -m pojax.train --config=configs/vine_ppo.py --workdir=/tmp/vine_ppo
"""

from configs import common


def get_config(preset="tiny"):
    config = common.base(preset)
    config.method = dict(
        curricula=("uniform", {}),
        rollouts=("vine", dict(boundaries=("every", dict(tokens=2)), samples=8, continuations=4, max_cuts=3)),
        rewards=[("weighted_sum", dict(weights=dict(correct=1.0)))],
        advantages=[("segment_advantages", {}), ("token_whiten", {})],
        losses=[("ppo_clip", dict(epsilon=0.2)), ("k3", dict(scale=1e-4))],
        aggregate="token_mean",
        minibatches=4,
    )
    return config
