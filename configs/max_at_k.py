"""Max@k, The Best of N Worlds (JetBrains, arXiv 2510.23393): GRPO on rewards that make it ascend the expected best of k responses.

Against GRPO: a response's reward is its share in the maximum over all subsets of k of its group, recomputed in every minibatch with
first-order weights for how far the policy has moved since sampling; centred and divided by the group's standard deviation as in GRPO.
Paper: 8 responses, learning rate 5e-6, KL 0.01, clip 0.2, 3 updates per rollout. CodeContests with rewards that are shares of passed tests:
max@128 0.718, of the base model 0.710; binary rewards collapse there. k is 2 here: the tiny task has rewards of 0 and 1, and with a large k
only groups that are almost all wrong teach anything.
Assumed: the loss. The derivation has the ratios in the reward and none beside it; the term is PPO-clip, as in the paper's GRPO objective.
Names: `max_at_k` is the on-policy estimator, also known from Pass@K Policy Optimization (PKPO, arXiv 2505.15201): `advantages=[("max_at_k",
dict(k=2)), ("group_normalize", dict(rewards="rewards_at_k"))]`.

    python -m pojax.train --config=configs/max_at_k.py --workdir=/tmp/max_at_k
"""

from configs import common


def get_config(preset="tiny"):
    config = common.base(preset)
    config.method = dict(
        curricula=("uniform", {}),
        rollouts=("independent", dict(samples=8)),
        rewards=[("weighted_sum", dict(weights=dict(correct=1.0)))],
        per_minibatch=[("max_at_k_off_policy", dict(k=2)), ("group_normalize", dict(rewards="rewards_at_k"))],
        losses=[("ppo_clip", dict(epsilon=0.2)), ("k3", dict(scale=0.01))],
        aggregate="sequence_mean",
        minibatches=4,
    )
    return config
