"""Polychromic objectives (Hamid et al., arXiv 2509.25424): sets of episodes are rewarded for success times diversity.

Against GRPO: a set of n episodes of a prompt scores the mean of their rewards times the share of different ones among them, and every
action of its members has the set's score less the mean of the prompt's sets. What all do the same way is worth less than what they do in
several ways, and a set that fails scores nothing.
Paper: 8 continuations, 4 sets of 4, from 2 states of a seed episode; the set's credit for the 6 actions behind such a state, elsewhere
generalised advantages of a critic, which also trains; KL to the last policy. Pass@k on MiniGrid and BabyAI clearly higher up to k = 80.
Assumed: no critic: the states are the starts alone, all actions have the set's credit (`first_tokens` limits it), the KL is to the start
policy; a row in several sets has the mean of their credits (several="sum" adds them). Two episodes are the same if all actions are.
Shown on: the preset world, key and door, where many ways lead to the door.

    python -m pojax.train --config=configs/polychromic.py --workdir=/tmp/polychromic
"""

from configs import common


def get_config(preset="world"):
    config = common.base(preset)
    config.method = dict(
        curricula=("uniform", {}),
        rollouts=("turns", dict(samples=8, turns=8, action_tokens=1)),
        rewards=[("weighted_sum", dict(weights=dict(episode_return=1.0)))],
        advantages=[("identical_responses", {}), ("random_sets", dict(set_size=4, sets_per_group=4)), ("set_advantages", {})],
        losses=[("ppo_clip", dict(epsilon=0.2)), ("k3", dict(scale=0.01))],
        aggregate="token_mean",
        minibatches=4,
    )
    return config
