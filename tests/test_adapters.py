"""A whole run of a model with adapters: it begins from a run without, and has a warm start."""

import jax
import numpy as np
import pytest
import runs

from pojax import checkpointing, train
from pojax.build import build
from pojax.models import lora

LORA = dict(rank=2, alpha=8.0, targets=["q_proj", "v_proj", "down_proj"])
QUIET = dict(run__diagnostics=False, run__tensorboard=False, evaluation__validation_problems=0)


def params_of(workdir, config):
    target = build(config, say=lambda line: None, devices=jax.devices()[:1]).abstract
    return checkpointing.load_params(workdir / "checkpoints", target.params)["policy"]


@pytest.mark.slow
def test_a_run_with_adapters(tmp_path):
    def run(config, folder):
        with runs.on_devices(1):
            return train.run(config, tmp_path / folder, say=lambda line: None)

    plain = runs.get_config("grpo", warm_start=None, run__steps=1, **QUIET)
    run(plain, "plain")
    config = runs.get_config("grpo", model__lora=LORA, init_from=str(tmp_path / "plain"), run__steps=1, **QUIET)
    config.warm_start["steps"] = 1
    assert run(config, "adapters")["iterations"] == 2
    base, adapters = lora.split(params_of(tmp_path / "adapters", config))
    jax.tree.map(np.testing.assert_array_equal, base, params_of(tmp_path / "plain", plain))
    assert all(np.asarray(leaf).any() for leaf in jax.tree.leaves(adapters))
