"""MDPO, Mirror Descent Policy Optimization (arXiv 2005.09814): the surrogate without clip, plus the divergence from the old policy.

Against GRPO: several steps on one batch solve a proximal problem, advantage minus KL(policy || old) / t, with t annealed from 1 to 0;
nothing is clipped.
Paper: exact KL, 10 full-batch steps, advantages standardised over the batch, gamma 0.99 and lambda 0.95 with a critic; on MuJoCo at least
as good as TRPO and PPO. With one step per batch the divergence has no gradient.
Code: the inverse step is called kl_coef; q gives the Tsallis form (`tsallis_log`). Exact divergences go in as kl=... (`gaussian_kl`); the
off-policy form on reparameterised actions, SAC at one setting, is `mdpo_off_policy`.
Assumed: the divergence is estimated from the sampled tokens; group mean as baseline; t is annealed over 500 iterations.
Names: MDPO is also a multimodal preference method.

    python -m pojax.train --config=configs/mdpo.py --workdir=/tmp/mdpo
"""

from configs import common


def get_config(preset="tiny"):
    config = common.base(preset)
    config.method = dict(
        curricula=("uniform", {}),
        rollouts=("independent", dict(samples=8)),
        rewards=[("weighted_sum", dict(weights=dict(correct=1.0)))],
        advantages=[("group_center", {}), ("batch_normalize", {})],
        losses=[("mdpo", dict(step_size=("linear", dict(start=1.0, end=1 / 500, steps=499))))],
        aggregate="token_mean",
        epochs=4,
    )
    return config
