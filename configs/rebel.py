"""REBEL, REgression to RElative REward Based RL (arXiv 2404.16767): differences of log-ratios fitted to differences of rewards.

Against GRPO: pairs of responses and least squares in place of a baseline and a clip; the square itself limits the step.
Paper: two responses to each prompt, eta 1 (1e6 in the large-batch scripts), 4 epochs, KL 0.05 in the reward, learning rate 3e-6, batch
512, temperature 0.7; Llama-3-8B-Instruct, AlpacaEval length-controlled 30.1. Here the 8 responses of a prompt are 4 pairs (pairs="all"
takes all 28), and the epochs are of full batches: of 16 large steps on one rollout a small model falls apart.
Code: form="code" moves eta to the rewards: eta^2 times the paper's loss, which matters when a learning rate is copied. A response without
end token has reward -1 there.

    python -m pojax.train --config=configs/rebel.py --workdir=/tmp/rebel
"""

from configs import common


def get_config(preset="tiny"):
    config = common.base(preset)
    config.method = dict(
        curricula=("uniform", {}),
        rollouts=("independent", dict(samples=8)),
        rewards=[
            ("weighted_sum", dict(weights=dict(correct=1.0))),
            ("sequence_kl_penalty", dict(coefficient=0.05)),
        ],
        advantages=[],
        losses=[("rebel", dict(eta=1.0))],
        aggregate="group_mean",
        epochs=4,
    )
    return config
