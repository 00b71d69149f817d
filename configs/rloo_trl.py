"""RLOO as TRL trains it (Back to Basics, arXiv 2402.14740): leave-one-out advantages standardised over the batch, one ratio per response.

Against RLOO: the advantages are standardised over all rows, and the likelihood ratio of the whole response (a product over its tokens) is
clipped, so that several updates per batch are safe. The KL to the reference stays in the reward.
Paper: 2 or 4 responses, KL 0.03, learning rate 1e-6; it has neither the clip nor the standardisation.
Code: TRL's normalize_advantages; ms-swift's options are `centred_advantages` with its estimators and scales.
Assumed: minibatches of a quarter of the batch.

    python -m pojax.train --config=configs/rloo_trl.py --workdir=/tmp/rloo_trl
"""

from configs import common


def get_config(preset="tiny"):
    config = common.base(preset)
    config.method = dict(
        curricula=("uniform", {}),
        rollouts=("independent", dict(samples=8)),
        rewards=[("weighted_sum", dict(weights=dict(correct=1.0))), ("sequence_kl_penalty", dict(coefficient=0.03))],
        advantages=[("leave_one_out", {}), ("batch_normalize", dict(epsilon=1e-4))],
        losses=[("sequence_ppo_clip", dict(epsilon=0.2))],
        aggregate="sequence_mean",
        minibatches=4,
    )
    return config
