"""SFT, supervised fine-tuning (the floor of every comparison): the likelihood of the worked solutions of the training split.

Nothing is sampled. The warm start of every other config is this method.

    python -m pojax.train --config=configs/sft.py --workdir=/tmp/sft
"""

from configs import common


def get_config(preset="tiny"):
    config = common.base(preset)
    config.method = common.sft()
    config.optimizer = ("adamw", dict(learning_rate=1e-3))
    config.warm_start = None
    return config
