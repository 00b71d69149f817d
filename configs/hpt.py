"""HPT, Hybrid Post-Training (Tsinghua, arXiv 2509.04419): each prompt is learned by its solution or by samples, whichever helps.

Against GRPO: where no sampled response to a prompt is right, its samples are dropped and its worked solution is learned by likelihood; else
the solution is dropped. Both are one loss, `unified_policy_gradient`, with a reference and an advantage for each kind of row, so that every
prompt weighs the same whichever way it is learned. Advantages without the standard deviation, no clip.
Paper: 8 responses, gate 0 (Qwen) or 2 of 8 (Llama), no clip, entropy 0.001, 128 prompts, learning rate 5e-6; Qwen2.5-Math-7B: SFT 44.5,
GRPO 43.1, SFT then GRPO 46.5, LUFFY 49.8, HPT 52.7.
Code: the gate compares the number of right responses (form="code"). Two terms: the sum over all tokens of the sampled rows divided by the
padded length alone, so that its scale grows with the batch, and the mean over the tokens of the solutions: unified_policy_gradient with
reference_logprobs="old_logprobs", where="sampled", aggregate="token_sum", scale 1 / length; negative_log_likelihood with where="expert".
The other rows of the paper's table are fields for the same loss: `capped_reference` (CISPO), `sequence_reference` (GSPO), `clip_stability`
(PPO), `shaping_stability` and the loss `shaped_policy` (LUFFY).
Assumed: within a prompt all tokens weigh the same. One update for each rollout: parts of this small batch have too few prompts for an
unclipped ratio (the paper's minibatches have 64).

    python -m pojax.train --config=configs/hpt.py --workdir=/tmp/hpt
"""

from configs import common


def get_config(preset="tiny"):
    config = common.base(preset)
    config.method = dict(
        curricula=("uniform", {}),
        rollouts=("experts", dict(inner=("independent", dict(samples=8)), anchor="one")),
        rewards=[("weighted_sum", dict(weights=dict(correct=1.0)))],
        advantages=[("group_center", dict(groups="pools")), ("expert_advantages", dict(value=1.0)), ("demonstration_gate", dict(gate=0.0))],
        per_minibatch=[("expert_reference", {})],
        losses=[("unified_policy_gradient", {}), ("entropy_bonus", dict(scale=0.001, where="sampled"))],
        aggregate="group_mean",
    )
    return config
