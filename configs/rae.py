"""RAE, role-conditioned advantage estimation (SPIRAL, arXiv 2506.24119): one moving baseline for each role, in order of arrival.

Against GRPO: no group; the baseline is an exponential average of the rewards of the row's role, carried over iterations. In zero-sum
self-play, where the mean of a group says nothing, a role is a pair of game and player.
Paper: decay 0.95; Qwen3-4B-Base trained on Kuhn poker alone gains 8.6% in mathematics and 8.4% in general reasoning.
Code: prime-rl loses the averages on a restart; here they are a table and part of the checkpoint.
Assumed: the plain policy gradient on whole responses.
Shown on: no self-play here; the role of a row is the `difficulty` of its prompt, because rewards of easy and hard prompts differ in level.

    python -m pojax.train --config=configs/rae.py --workdir=/tmp/rae
"""

from configs import common


def get_config(preset="tiny"):
    config = common.base(preset)
    config.method = dict(
        curricula=("uniform", {}),
        rollouts=("independent", dict(samples=8)),
        rewards=[("weighted_sum", dict(weights=dict(correct=1.0)))],
        advantages=[("role_center", dict(roles="difficulty", role_baselines="averages.value", decay=0.95))],
        losses=[("policy_gradient", {})],
        aggregate="sequence_mean_token_sum",
        trackers=dict(averages=("role_averages", dict(roles="difficulty", roles_count=8, decay=0.95))),
    )
    return config
