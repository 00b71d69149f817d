"""Every config in configs/: its docstring, its bound program, its compiled shapes, and ten in rotation that run."""

import datetime
import inspect
import os

import jax
import jobs
import numpy as np
import pytest
import runs

from experiments import learns, methods
from pojax import config as configs
from pojax import train
from pojax.config import override
from pojax.losses import aggregations

CONFIGS = methods.names()
IN_ROTATION = 10


def small(name):
    """A config on the preset of its learning runs, its model cut down."""
    config = learns.load(name, learns.preset_of(name), 0)
    cut = {"model.hidden": 16, "model.layers": 1, "model.mlp": 32, "model.heads": 2, "model.kv_heads": 2, "warm_start": None}
    return override(config, cut | {"batch_prompts": max(config.batch_prompts // 4, 8), "evaluation.problems": 8})


def rotation(number):
    """Ten configs; other ones every day, all of them in turn. `make test-all` runs all."""
    if os.environ.get("POJAX_ALL_METHODS"):
        return CONFIGS
    first = number * IN_ROTATION % len(CONFIGS)
    return sorted((CONFIGS + CONFIGS)[first : first + IN_ROTATION])


@pytest.mark.parametrize("name", CONFIGS)
def test_config_binds_and_traces(name):
    """Every function finds what it reads, and a whole iteration has shapes: nothing compiles."""
    said = methods.entry(name)
    assert said.name and said.change
    job = jobs.job(small(name))
    learner = job.phases[-1].learner
    state = jax.eval_shape(job.init)
    assert learner.iteration is not None
    after, metrics = jax.eval_shape(learner.iteration, state, learner.hyper)
    assert jax.tree.map(lambda x: (x.shape, x.dtype), after) == jax.tree.map(lambda x: (x.shape, x.dtype), state)
    assert any(key.endswith("/loss") for key in metrics)


TODAY = rotation(datetime.date.today().toordinal())


@pytest.mark.slow
@pytest.mark.parametrize("name", TODAY)
def test_config_runs_and_goes_on(name, tmp_path):
    """Two iterations through the whole loop; a method with tables ends in the same bits when it is stopped between them."""
    config = override(small(name), {"run.steps": 2, "run.checkpoint_every": 1})

    def run(steps, folder):
        with runs.on_devices(1):
            return train.run(override(config, {"run.steps": steps}), tmp_path / folder, say=lambda line: None)

    summary = run(2, "whole")
    assert summary["finished"] and np.isfinite(summary["pass_at_1_after"])
    if methods.bound(name).trackers:
        run(1, "stopped")
        assert run(2, "stopped")["state_sha256"] == summary["state_sha256"]


def with_micro_batches(config, number):
    """The config with every update in so many pieces and plain gradient descent, which shows a difference as large as it is."""
    method = configs.plain(config.method)
    for update in method.get("updates", [method]):
        update |= {"microbatches": number, "optimizer": ("sgd", dict(learning_rate=0.1))}
    return override(config, {"method": method})


@pytest.mark.slow
@pytest.mark.parametrize("name", TODAY if os.environ.get("POJAX_ALL_METHODS") else TODAY[::3])
def test_micro_batches_do_not_change_the_update(name):
    """One iteration on one batch with the updates in one and in two pieces: the same parameters."""
    after = {}
    for number in (1, 2):
        learner = (job := jobs.job(with_micro_batches(small(name), number))).phases[-1].learner
        state = job.init()
        before = jax.device_get(state.params)
        batch, _ = learner.collect(state, learner.hyper)
        state, _ = learner.train_step(state, batch, learner.hyper)
        after[number] = jax.device_get(state.params)
    moved = jobs.leaves(jax.tree.map(np.subtract, after[1], before))
    apart = jobs.leaves(jax.tree.map(np.subtract, after[1], after[2]))
    assert np.linalg.norm(apart) <= 1e-3 * np.linalg.norm(moved) + 1e-7


def test_page_of_methods_is_that_of_the_code():
    """docs/methods.md is what `python -m experiments.methods` writes from the configs, but for results that were added since."""
    committed = methods.PAGE.read_text()
    listed = {line.split("](../configs/")[1].split(".py")[0] for line in committed.splitlines() if line.startswith("| [")}
    assert listed == set(CONFIGS)
    for name in CONFIGS[:: max(len(CONFIGS) // 5, 1)]:
        assert methods.row(name, {}).rsplit(" | ", 1)[0] in committed


def test_every_function_of_the_stages_is_used_by_a_config_or_documented():
    """A registered loss or advantage that no config uses is a part that is not shown to work in a method."""
    from pojax import advantages, losses, rewards

    text = "".join((methods.ROOT / "configs" / f"{name}.py").read_text() for name in CONFIGS)
    unused = [f for stage in (advantages, losses, rewards) for f in stage.__all__ if f'"{f}"' not in text and f"`{f}`" not in text]
    estimators = ["k1_value_k2_gradient", "k3_value_k2_gradient"]  # alternatives of k3
    assert sorted(set(unused) - set(estimators)) == []
    assert all(inspect.getdoc(getattr(aggregations, name)) for name in aggregations.__all__)
