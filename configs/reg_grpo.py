"""Reg-GRPO, Regressive GRPO (DeepVideo-R1, arXiv 2506.07464): the group's standardised log-ratio is fitted to its standardised reward.

Against GRPO: a regression in place of the clipped surrogate; the statistics of the log-ratio carry gradient, so only its correlation with
the reward matters. KL to the reference as a term.
Paper: group 8, KL 0.1, Qwen2.5-VL-3B; SEED-Bench-R1 levels 1, 2, 3: GRPO 39.6, 41.0, 35.4; Reg-GRPO 44.2, 44.2, 39.5. With inputs made
easier or harder by how hard the prompt is relative to recent ones (`relative_difficulty`, tracker `reward_history`): 48.1, 51.1, 44.0;
that changes prompts (hints, noise on frames) and is not part of this config.
Assumed: population deviations, epsilon 1e-2 nats: on policy the gradient goes as 1 / epsilon. Two epochs of full batches:
nothing is clipped.

    python -m pojax.train --config=configs/reg_grpo.py --workdir=/tmp/reg_grpo
"""

from configs import common


def get_config(preset="tiny"):
    config = common.base(preset)
    config.method = dict(
        curricula=("uniform", {}),
        rollouts=("independent", dict(samples=8)),
        rewards=[("weighted_sum", dict(weights=dict(correct=1.0)))],
        advantages=[("group_normalize", dict(ddof=0, epsilon=1e-8))],
        losses=[("reg_grpo", dict(epsilon=1e-2)), ("k3", dict(scale=0.1, aggregate="sequence_mean"))],
        aggregate="sequence_mean",
        epochs=2,
    )
    return config
