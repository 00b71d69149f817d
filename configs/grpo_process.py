"""GRPO with process rewards (DeepSeekMath, arXiv 2402.03300): each step has a reward; a token is credited with its step and the later ones.

Against GRPO: all step rewards of a group are standardised together, and the advantage of a token is the sum over the steps that end at it
or later, so a wrong step is found inside a response.
Paper: 64 responses, KL 0.04, learning rate 1e-6; a learned process reward model scores the steps.
Assumed: a token is a step, and its reward is 1 where it is that of the worked solution; sums are written from their lowest digit on, so
this judges every prefix as a process reward model would. The outcome is not added to the steps.

    python -m pojax.train --config=configs/grpo_process.py --workdir=/tmp/grpo_process
"""

from configs import common


def get_config(preset="tiny"):
    config = common.base(preset)
    config.method = dict(
        curricula=("uniform", {}),
        rollouts=("with_solutions", dict(inner=("independent", dict(samples=8)))),
        rewards=[("weighted_sum", dict(weights=dict(correct=1.0))), ("token_agreement", {})],
        advantages=[("process_normalize", {})],
        losses=[("ppo_clip", dict(epsilon=0.2)), ("k3", dict(scale=0.04))],
        aggregate="sequence_mean",
        minibatches=4,
    )
    return config
