"""SPO-chain, Segment Policy Optimization (Guo et al., arXiv 2505.23564): segments between the tokens that the policy was unsure of.

Against GRPO: segments begin at every interval-th token of probability below 0.9, the value before each is the mean reward of responses
continued from there, and a segment's credit is what it changes in the value. Tokens of probability 0.9 or more have no credit, and
neither whitening nor the mean of the loss counts them; the KL term counts all tokens.
Paper: interval 5, 9 continuations, batch 64, two epochs, KL 1e-4, learning rate 1e-6, Rho-1.1B on GSM8K: 6 to 12 points over PPO and GRPO.
Here interval 2 and 4 continuations, as answers have five tokens.
Code: where no token is below the threshold all of them count, otherwise="all"; log-ratios are clamped to 10, here to 20.
Names: SPO is also Single-stream Policy Optimization (configs/spo_single_stream.py) and Simple Policy Optimization (configs/spo_simple.py).

    python -m pojax.train --config=configs/spo_chain.py --workdir=/tmp/spo_chain
"""

from configs import common


def get_config(preset="tiny"):
    config = common.base(preset)
    config.method = dict(
        curricula=("uniform", {}),
        rollouts=(
            "vine",
            dict(boundaries=("low_probability", dict(threshold=0.9, interval=2)), samples=8, continuations=4, max_cuts=3),
        ),
        rewards=[("weighted_sum", dict(weights=dict(correct=1.0)))],
        advantages=[("segment_advantages", {}), ("low_probability", dict(threshold=0.9)), ("token_whiten", dict(mask="keep"))],
        losses=[("ppo_clip", dict(epsilon=0.2)), ("k3", dict(scale=1e-4, where="mask"))],
        aggregate="token_mean",
        minibatches=4,
    )
    return config
