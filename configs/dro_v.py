"""DRO-V, Direct Reward Optimisation with a value (arXiv 2405.19107): reward minus value regressed on the log-ratio to a reference.

Against GRPO: no ratio to the sampler, no group; one squared residual per response trains the policy and the value of the prompt together,
so the responses may come from anywhere. At the optimum the policy is that of the reward minus tau times the KL to the reference.
Paper: offline, single responses with a scalar reward; a value network beside the policy.
Assumed: tau 0.2 for rewards of 0 and 1; responses are sampled from the policy; four steps on every rollout. Value and policy take turns at
the same loss, so that each has an optimiser of its own, and the value learns faster.
Names: also DRO: distributionally robust optimisation.

    python -m pojax.train --config=configs/dro_v.py --workdir=/tmp/dro_v
"""

from configs import common


def get_config(preset="tiny"):
    config = common.base(preset)
    config.method = dict(
        curricula=("uniform", {}),
        rollouts=("independent", dict(samples=8)),
        rewards=[("weighted_sum", dict(weights=dict(correct=1.0)))],
        updates=[
            dict(
                trains=("value",),
                losses=[("dro_v", dict(tau=0.2))],
                aggregate="sequence_mean",
                minibatches=4,
                optimizer=("adamw", dict(learning_rate=1e-3)),
            ),
            dict(trains=("policy",), losses=[("dro_v", dict(tau=0.2))], aggregate="sequence_mean", minibatches=4),
        ],
    )
    return config
