"""D-PPO, PPO with a dropout strategy (arXiv 2310.20380): tokens that add most to the variance of the surrogate are left out.

Against PPO: in every optimiser batch the products of a token's surrogate with the sum of all bound the variance; of the positive and of
the other products, the largest are kept and PPO-clip is applied to them.
Paper: Atari with a critic; lower variance of the surrogate and higher return (no numbers seen).
Assumed: the score, the split by its sign and the dropped share of 0.2: only the abstract was read; the move to responses of a language
model.
Names: not DPPO (divergence proximal: dppo_tv, dppo_kl; diffusion policies).

    python -m pojax.train --config=configs/d_ppo.py --workdir=/tmp/d_ppo
"""

from configs import common


def get_config(preset="tiny"):
    config = common.base(preset)
    config.method = dict(
        curricula=("uniform", {}),
        rollouts=("independent", dict(samples=8)),
        rewards=[("weighted_sum", dict(weights=dict(correct=1.0)))],
        advantages=[("group_normalize", {})],
        per_minibatch=[("drop_high_variance", dict(drop=0.2))],
        losses=[("ppo_clip", dict(epsilon=0.2))],
        aggregate="token_mean",
        minibatches=4,
    )
    return config
