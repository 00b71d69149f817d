"""CHORD, Controllable Harmonization of On- and Off-Policy RL (arXiv 2508.11408): GRPO and the likelihood of solutions in one loss.

Against GRPO: a second term, the likelihood of solutions to other prompts, with weight mu, and 1 - mu on the surrogate. mu rises to 0.5 and
falls to 0.02, and phi = p (1 - p) weighs each token of a solution, so that what is known already and what is hopelessly unlikely are left
out.
Paper: 256 sampled rows and 64 of the expert, clip 0.2, learning rate 1e-6; mu from 0.9 to 0.05 in 200 steps without phi (CHORD-mu:
weight="none"), or mu = 0.1 with phi (CHORD-phi). Here the released example: 200 steps up to 0.5, 400 down to 0.02, with phi.
Code: the class of Trinity-RFT has mu = 0.1 and phi; weight="probability" is its "sft_is", cutoff its cutoff_prob.
Assumed: one solution for every 8 sampled rows. The schedule of mu is ten times shorter than the example's, for a run of hundreds of steps.

    python -m pojax.train --config=configs/chord.py --workdir=/tmp/chord
"""

from configs import common

STEPS = dict(warmup=20, decay=40)


def get_config(preset="tiny"):
    config = common.base(preset)
    mu = ("warmup_ramp_cosine", dict(start=0.0, peak=0.5, end=0.02, **STEPS))
    rest = ("warmup_ramp_cosine", dict(start=1.0, peak=0.5, end=0.98, **STEPS))
    config.method = dict(
        curricula=("uniform", {}),
        rollouts=("experts", dict(inner=("independent", dict(samples=8)), own=True, anchor="one")),
        rewards=[("weighted_sum", dict(weights=dict(correct=1.0)))],
        advantages=[("group_normalize", {})],
        losses=[
            ("ppo_clip", dict(epsilon=0.2, scale=rest, where="sampled")),
            ("weighted_likelihood", dict(weight="phi", scale=mu, where="expert")),
        ],
        aggregate="token_mean",
        minibatches=4,
    )
    return config
