"""GRPO where several answers are right (DeepSeekMath, arXiv 2402.03300): what methods for such tasks are measured by.

Against GRPO: nothing but the preset.
Paper: group size, KL and clip are those of configs/grpo.py.
Shown on: the preset reach.

    python -m pojax.train --config=configs/grpo_reach.py --workdir=/tmp/grpo_reach
"""

from configs import grpo


def get_config(preset="reach"):
    return grpo.get_config(preset)
