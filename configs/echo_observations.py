"""ECHO, learning from environment tokens (prime-rl 2026; no paper was found): the policy learns to predict what its moves lead to.

Against GRPO: the tokens that the environment wrote between actions, which no surrogate counts, have a likelihood term of their own, with
its own number of tokens. The first prompt is never learned.
Code: weight 0.1 for tool output, other roles off. A role is a span of its own in the weights.
Assumed: group-normalised advantages, clip 0.2, a mean over action tokens, and the KL term of configs/grpo.py: without it three of five
seeds fell to 0 (actions and observations share the embedding table).
Names: other methods are called ECHO.
Shown on: the preset world, key and door, whose observations follow from the state and the move.

    python -m pojax.train --config=configs/echo_observations.py --workdir=/tmp/echo_observations
"""

from configs import common


def get_config(preset="world"):
    config = common.base(preset)
    config.method = dict(
        curricula=("uniform", {}),
        rollouts=("turns", dict(samples=8, turns=8, action_tokens=1)),
        rewards=[("weighted_sum", dict(weights=dict(episode_return=1.0)))],
        advantages=[
            ("group_normalize", {}),
            ("observation_spans", {}),
            ("observation_weights", dict(weights=dict(observation=0.1))),
        ],
        losses=[
            ("ppo_clip", dict(epsilon=0.2)),
            ("k3", dict(scale=0.04)),
            ("negative_log_likelihood", dict(where="observation_weights", scale="observation_weights")),
        ],
        aggregate="token_mean",
        minibatches=4,
    )
    return config
