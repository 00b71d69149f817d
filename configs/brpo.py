"""BRPO, Budget Relative Policy Optimization (AnytimeReasoner, Qi et al., arXiv 2505.13438): thinking is cut at budgets and scored at each.

Against GRPO: a response is cut at a few budgets, short summaries of every cut are scored, and the tokens between two budgets have the later
scores as their return, with the response's own earlier scores and the group's mean as baseline. Summaries are rows too, each compared with
the summaries of its own cut. No standard deviation; the loss is divided by the padded size.
Paper: 4 budgets of 2000 to 8000 tokens, 4 summaries of at most 128 tokens, 8 responses, decay 0.5, prior base, uniform or linear, clip 0.2,
no KL, batch 64, minibatches of 32, learning rate 1e-6, R1-Distill-Qwen-1.5B: above GRPO at every budget; the uniform prior is best at small
ones. Here 2 budgets and 2 summaries of 3 tokens, which go on with the answer: there is no thinking to close.
Code: decay 0.5 is written as weights 2^j. Its GRPO arm is baseline="group" with one budget and the last summary alone.

    python -m pojax.train --config=configs/brpo.py --workdir=/tmp/brpo
"""

from configs import common


def get_config(preset="tiny"):
    config = common.base(preset)
    config.method = dict(
        curricula=("uniform", {}),
        rollouts=("budget_cuts", dict(samples=8, budgets=2, summaries=2, summary_tokens=3, summary_rows=True)),
        rewards=[("weighted_sum", dict(weights=dict(correct=1.0)))],
        advantages=[("budget_advantages", dict(groups="thinking", prior="uniform", decay=0.5)), ("summary_advantages", {})],
        losses=[("ppo_clip", dict(epsilon=0.2))],
        aggregate=("constant", dict(length=config.response_tokens)),
        minibatches=4,
    )
    return config
