"""TBRM, Trajectory Bellman Residual Minimization (arXiv 2505.15311): logits as soft Q-values, the squared sum of residuals of a response.

Against GRPO: no advantage, no group, no ratio, no clip: one response per prompt will do. The value of the prompt is the log partition of
the raw logits of the first token. Temperature 1.
Paper: beta 0.002, 1 or 4 responses to 128 prompts, one update per batch, learning rate 2.5e-6; AIME24 and MATH500, Qwen2.5-Math-7B: PPO
25.4, 78.4; GRPO 28.9, 79.8; TBRM 24.1, 78.6 with one response, 30.5, 79.8 with four. Squaring each residual by itself collapses.
Assumed: beta 0.1 here: with 0.002 the logits would have to rise by 500, which a small model does not in a few hundred steps.
Names: ref_log_partition="ref_log_partition" subtracts the reference's value (a follow-up's calibration, not in the paper).

    python -m pojax.train --config=configs/tbrm.py --workdir=/tmp/tbrm
"""

from configs import common


def get_config(preset="tiny"):
    config = common.base(preset)
    config.method = dict(
        curricula=("uniform", {}),
        rollouts=("independent", dict(samples=8)),
        rewards=[("weighted_sum", dict(weights=dict(correct=1.0)))],
        advantages=[],
        losses=[("tbrm", dict(beta=0.1))],
        aggregate="sequence_mean",
    )
    return config
