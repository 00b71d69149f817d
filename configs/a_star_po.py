"""A*-PO, Optimal Advantage Regression (arXiv 2505.20686): the log-ratio to the reference is fitted to reward minus optimal value.

Against GRPO: the baseline V* is the soft maximum of rewards of reference samples, taken once before training, so that one response per
prompt is enough; least squares without ratio to the old policy or clip.
Paper: 8 samples for V* with beta 0.5, then beta 1e-3, 256 prompts, minibatches of 128, learning rate 1e-6, 25 epochs; GSM8K, MATH and
competition sets: PPO's and GRPO's accuracy in up to half the time and with over 30% less memory.
Here beta 0.25: with 1e-3 wrong responses would have to become 500 nats less likely than under the reference, and a small model at a
large learning rate falls apart on the way.
Code: prompts that the reference never solves are kept. beta 0 in V* is the mean there, although its limit is the largest reward.
Assumed: without a file of values V* is that of the prompt's 8 responses of this iteration, so of the current policy, and no sample is
saved; the paper's form is the collected one, get_config(v_star="v_star.npz"): V* as a data-set column, one response to 8 times as many
prompts.
Names: Q# (arXiv 2502.20548) has the same optimal value per token, from a model of the reference's returns, and guides decoding by it:
`q_sharp_bernoulli`, `q_sharp_categorical`, `q_sharp_policy`, `q_sharp_loss`; no config, as the sampler runs one model.

The collected form starts from the run that was sampled:

    python -m pojax.train --config=configs/sft.py --workdir=/tmp/sft
    python -m pojax.collect --config=configs/a_star_po.py --config.init_from=/tmp/sft --samples=8 --beta=0.5 --out=v_star.npz
    python -m pojax.train --config=configs/a_star_po.py --workdir=/tmp/a_star_po
"""

from configs import common


def get_config(preset="tiny", v_star=None, init_from=None):
    """v_star: a file of `python -m pojax.collect`; init_from: the run that it was collected from."""
    config = common.base(preset)
    config.method = dict(
        curricula=("uniform", {}),
        rollouts=("independent", dict(samples=8 if v_star is None else 1)),
        rewards=[("weighted_sum", dict(weights=dict(correct=1.0)))],
        advantages=[("a_star_value", dict(beta=0.5))] if v_star is None else [],
        losses=[("a_star_po", dict(beta=0.25))],
        aggregate="sequence_mean",
    )
    if v_star is not None:
        config.batch_prompts *= 8
        config.task = ("with_columns", dict(task=config.task, file=v_star, columns=("v_star",)))
        config.warm_start, config.init_from = None, init_from
    return config
