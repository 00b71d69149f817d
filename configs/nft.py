"""NFT, Negative-aware Fine-Tuning (NVIDIA, arXiv 2505.18116): the likelihood of right answers, and of the policy that wrong answers imply.

Against GRPO: no advantages; wrong answers are learned from by supervised likelihood of the implicit negative policy (old - q * current) /
(1 - q), q the prompt's success rate. On policy the gradient is that of Dr. GRPO (normalize=1), off policy it is not.
Paper: 512 prompts x 16, minibatches of 32, learning rate 1e-6, normalize 1, clamp 1, negative weight 1, groups of one verdict left out;
Qwen2.5-Math-7B, mean: GRPO 49.5, Dr. GRPO 49.8, DAPO 51.2, RFT 48.3, NFT 51.7; Qwen2.5-32B: DAPO 59.9, RFT 52.8, NFT 59.2.
Code: the sum over tokens / 1000 as here; the text averages over the tokens of a prompt. `nft_sequence` takes the ratio of whole responses.

    python -m pojax.train --config=configs/nft.py --workdir=/tmp/nft
"""

from configs import common


def get_config(preset="tiny"):
    config = common.base(preset)
    config.method = dict(
        curricula=("uniform", {}),
        rollouts=("independent", dict(samples=8)),
        rewards=[("weighted_sum", dict(weights=dict(correct=1.0)))],
        advantages=[("drop_uniform_groups", {})],
        losses=[("nft", dict(normalize=1, scale=1e-3))],
        aggregate="token_sum",
        minibatches=4,
    )
    return config
