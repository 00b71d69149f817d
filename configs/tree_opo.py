"""Tree-OPO (Huang et al., arXiv 2509.09284): responses from prefixes of a teacher's solutions, against the value of their prefix.

Against GRPO: every row goes on from a prefix of the worked solution, drawn at random; a part of the success rate below its prefix is
taken off its reward, and there is no standard deviation. A prefix that gives the answer away teaches little by being solved.
Paper: alpha 0.5, 8 rows to a tree, prefixes of a 7B teacher's tree search (depth 5, 5 branches, 16 rollouts), Qwen2.5-1.5B with LoRA of
rank 16, learning rate 3e-5, GSM8K: the expectation baseline is better than one trace, and that better than GRPO.
Code: none released. The other baselines are value="optimistic" and "pessimistic"; staged advantage estimation is
advantages=[("staged_advantages", {})], with form="hard", delta=0.01 its unstable variant.
Assumed: the teacher's tree is one trace, the worked solution; values are those of the batch; PPO's clip, loss per sequence.

    python -m pojax.train --config=configs/tree_opo.py --workdir=/tmp/tree_opo
"""

from configs import common


def get_config(preset="tiny"):
    config = common.base(preset)
    config.method = dict(
        curricula=("uniform", {}),
        rollouts=("from_prefixes", dict(samples=8, boundaries=("every", dict(tokens=1)))),
        rewards=[("weighted_sum", dict(weights=dict(correct=1.0)))],
        advantages=[("prefix_advantages", dict(alpha=0.5))],
        losses=[("ppo_clip", dict(epsilon=0.2))],
        aggregate="sequence_mean",
        minibatches=4,
    )
    return config
