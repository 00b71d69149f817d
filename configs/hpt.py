"""HPT, Hybrid Post-Training (Tsinghua, arXiv 2509.04419): each prompt is learned by its solution or by samples, whichever helps.

Against GRPO: where no sampled response to a prompt is right, its samples are dropped and its worked solution is learned by likelihood; else
the solution is dropped. Both ends are instances of one estimator (`unified_policy_gradient`). Advantages without the standard deviation.
Paper: 8 responses, gate 0 (Qwen) or 2 of 8 (Llama), no clip, entropy 0.001, 128 prompts, learning rate 5e-6; Qwen2.5-Math-7B: SFT 44.5,
GRPO 43.1, SFT then GRPO 46.5, LUFFY 49.8, HPT 52.7.
Code: the gate compares the number of right responses (form="code"), and the sum over all tokens of the sampled rows is divided by the
padded length alone, so that its scale grows with the batch: aggregate="token_sum" and scale 1 / length on the first term.
Assumed: the sampled part is divided by rows and length (Dr. GRPO's constant).

    python -m pojax.train --config=configs/hpt.py --workdir=/tmp/hpt
"""

from configs import common


def get_config(preset="tiny"):
    config = common.base(preset)
    length = ("constant", dict(length=config.response_tokens))
    config.method = dict(
        curricula=("uniform", {}),
        rollouts=("experts", dict(inner=("independent", dict(samples=8)), anchor="one")),
        rewards=[("weighted_sum", dict(weights=dict(correct=1.0)))],
        advantages=[("group_center", dict(groups="pools")), ("demonstration_gate", dict(gate=0.0))],
        losses=[
            ("unified_policy_gradient", dict(reference_logprobs="old_logprobs", where="sampled", aggregate=length)),
            ("negative_log_likelihood", dict(where="expert")),
            ("entropy_bonus", dict(scale=0.001, where="sampled")),
        ],
        aggregate="token_mean",
        minibatches=4,
    )
    return config
