"""SPO-tree, Segment Policy Optimization (Guo et al., arXiv 2505.23564): a tree of segments, each compared with its siblings.

Against GRPO: responses branch after every segment, the value of a branching point is the mean of its children's, and a segment's credit is
the value behind it less the value before it. A segment is one training sample, however many responses share it, and is dropped where its
credit is 0; tokens of probability 0.9 or more do not count.
Paper: branching 6-6-6, segments of 600 tokens, 32 prompts and 512 episodes an iteration, batch 128, learning rate 1e-6,
R1-Distill-Qwen-1.5B; MATH500 at 2K/4K/32K tokens .736/.828/.848, GRPO .62/.752/.84. Here 4-2 and segments of two tokens.
Code: form="std" divides by the standard deviation of the siblings ("grpo" there). At most 32 edges of a question are learned from in an
iteration, the others wait for up to 8; here a question has 12 at most, and all are learned from at once.
`tree_values` gives the values of the nodes alone.
Names: SPO is also Single-stream Policy Optimization (configs/spo_single_stream.py) and Simple Policy Optimization (configs/spo_simple.py).

    python -m pojax.train --config=configs/spo_tree.py --workdir=/tmp/spo_tree
"""

from configs import common


def get_config(preset="tiny"):
    config = common.base(preset)
    config.method = dict(
        curricula=("uniform", {}),
        rollouts=("branching_tree", dict(branching="4-2", segment_tokens=2)),
        rewards=[("weighted_sum", dict(weights=dict(correct=1.0)))],
        advantages=[
            ("tree_advantages", {}),
            ("count_edges_once", {}),
            ("drop_without_credit", {}),
            ("low_probability", dict(threshold=0.9)),
        ],
        losses=[("ppo_clip", dict(epsilon=0.2)), ("k3", dict(scale=1e-4, where="mask"))],
        aggregate="token_mean",
        minibatches=4,
    )
    return config
