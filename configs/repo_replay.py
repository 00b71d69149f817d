"""REPO, Replay-Enhanced Policy Optimization (arXiv 2506.09340): earlier responses to a prompt are learned from beside the fresh ones.

Against GRPO: a table keeps each prompt's last 16 responses with the log-probabilities of when they were sampled, which are the anchor of
their ratio; 8 of them join the fresh ones once it is full. Fresh and replayed rewards are normalised separately ("split").
Paper: 8 fresh and 8 replayed responses, weight 1 on the replayed part, clip 0.2, 3 epochs, 1024 problems, learning rate 1e-6, no KL;
18.4 points above GRPO for Qwen2.5-Math-1.5B, 4.1 for Qwen3-1.7B; strategies recent, highest, random, max_variance.
Code: both parts are divided by the number of all rows: one ppo_clip term without `where`. "mixed" advantages are group_normalize without
groups="pools".
Assumed: which strategy is the default ("recent").
Names: RePO is also regularised and referential policy optimisation elsewhere.
Shown on: a curriculum of 256 prompts, so that a prompt comes back within four iterations.

    python -m pojax.train --config=configs/repo_replay.py --workdir=/tmp/repo_replay
"""

from configs import common


def get_config(preset="tiny"):
    config = common.base(preset)
    config.method = dict(
        curricula=("uniform_subset", dict(size=4 * config.batch_prompts)),
        rollouts=("replay", dict(inner=("independent", dict(samples=8)), rows=8, strategy="recent", minimum=16)),
        rewards=[("weighted_sum", dict(weights=dict(correct=1.0)))],
        advantages=[("group_normalize", dict(groups="pools", epsilon=1e-4))],
        losses=[
            ("ppo_clip", dict(epsilon=0.2, where="sampled")),
            ("ppo_clip", dict(epsilon=0.2, where="replayed", scale=1.0)),
        ],
        aggregate="sequence_mean",
        trackers=dict(buffer=("replay_buffer", dict(size=16))),
        epochs=3,
        minibatches=4,
    )
    return config
