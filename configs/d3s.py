"""D3S, Dynamic Dual-Level Down-Sampling (Wang et al., arXiv 2509.22115): learn from rows of largest advantage variance and a few tokens.

Against GRPO: of the whole batch only the N rows are kept whose advantages vary most (some of the highest, some of the lowest), and of
their tokens the share K with the largest |advantage| * entropy. Both relax linearly over the run, from few to all.
Paper: up to two times fewer steps to equal accuracy than GRPO, with less than 20% of the tokens early in training.
Assumed: N from a quarter of the rows to all and K from 0.2 to 1 over the run (the paper's numbers were not read); variance with ddof 0;
divisors count the kept tokens; level="group" is the paper's D1S.

    python -m pojax.train --config=configs/d3s.py --workdir=/tmp/d3s
"""

from configs import common


def get_config(preset="tiny"):
    config = common.base(preset)
    rows = config.batch_prompts * 8
    config.method = dict(
        curricula=("uniform", {}),
        rollouts=("independent", dict(samples=8)),
        rewards=[("weighted_sum", dict(weights=dict(correct=1.0)))],
        advantages=[
            ("group_normalize", {}),
            ("max_variance_rows", dict(number=("linear", dict(start=rows / 4, end=rows, steps=config.run.steps)))),
            (
                "top_advantage_entropy_tokens",
                dict(entropy="old_entropy", share=("linear", dict(start=0.2, end=1.0, steps=config.run.steps))),
            ),
        ],
        losses=[("ppo_clip", dict(epsilon=0.2))],
        aggregate="token_mean",
        minibatches=4,
    )
    return config
