"""RPG, Regularized Policy Gradient (arXiv 2505.17508): losses whose gradient is that of reward minus beta KL, clipped (algorithm 1).

Against GRPO: the divergence, from the old policy, is in the advantage with its own importance weight; GRPO's k3 lacks that weight off
policy (`importance_k3` has it). Group mean as baseline, no standard deviation.
Paper: beta 1e-4, clip 0.2 and 0.28, dual clip 10, 512 prompts x 16, minibatches of 32, learning rate 1e-6, 400 steps; Qwen3-4B, AIME24
and AIME25, best: GRPO 0.4396, 0.4063; DAPO 0.5740, 0.4740; RPG-UFKL 0.6177, 0.4865; RPG-URKL 0.5260, 0.4938.
Code: kl="ufkl" here needs its penalty as a term, ("k3", dict(logprobs="old_logprobs", ref_logprobs="logprobs", scale=1e-4)); penalties are
bounded by 10 (`rpg`, kl_bound). detach=False reads the algorithm literally, which adds beta times the ratio to the gradient.

    python -m pojax.train --config=configs/rpg.py --workdir=/tmp/rpg
"""

from configs import common


def get_config(preset="tiny"):
    config = common.base(preset)
    config.method = dict(
        curricula=("uniform", {}),
        rollouts=("independent", dict(samples=8)),
        rewards=[("weighted_sum", dict(weights=dict(correct=1.0)))],
        advantages=[("group_center", {})],
        losses=[("rpg_clip", dict(kl="urkl", beta=1e-4, epsilon=0.2, epsilon_high=0.28, dual_clip=10.0))],
        aggregate="token_mean",
        minibatches=4,
    )
    return config
