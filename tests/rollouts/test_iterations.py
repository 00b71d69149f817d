"""Every arrangement that goes on from inside rows, in a whole iteration: bound, collected, learned from; judged in JAX and on the host."""

import dataclasses

import jax
import jobs
import numpy as np
import pytest

from pojax.binding import ConfigError
from pojax.build import build

pytestmark = pytest.mark.slow
WEIGHTS = [("weighted_sum", dict(weights=dict(correct=1.0, format=1.0, difficulty=0.1)))]
VINE = dict(samples=2, continuations=2, max_cuts=2, boundaries=("every", dict(tokens=2)))
METHODS = {
    "vine": dict(rollouts=("vine", VINE), advantages=[("segment_advantages", {})]),
    "vine_by_probability": dict(
        rollouts=("vine", VINE | dict(boundaries=("low_probability", dict(threshold=0.5, interval=1)))),
        advantages=[("segment_advantages", {})],
    ),
}


def made(name, host=False, **changes):
    config = jobs.tiny(method=jobs.GROUP | dict(rewards=WEIGHTS) | METHODS[name], **changes)
    if not host:
        return jobs.job(config)
    with pytest.MonkeyPatch.context() as patch:
        from pojax import build as module

        real = module.make_task
        patch.setattr(module, "make_task", lambda tree: {k: dataclasses.replace(t, verify_tokens=None) for k, t in real(tree).items()})
        return build(config, say=lambda line: None, devices=jax.devices()[:1])


def iterate(job):
    """The batch and the metrics of one iteration."""
    learner, state = job.phases[-1].learner, job.init()
    batch, source = learner.collect(state, learner.hyper)
    kept = jax.tree.map(np.array, batch)
    state, metrics = learner.train_step(dataclasses.replace(state, source=source), batch, learner.hyper)
    return kept, jax.device_get(metrics)


@pytest.mark.parametrize("name", METHODS)
def test_an_iteration(name):
    job = made(name)
    batch, metrics = iterate(job)
    assert metrics["policy/ran"] == 1 and metrics["policy/nonfinite"].sum() == 0
    assert metrics["policy/logprob_gap_max"] < 1e-3  # the learner says of every row what the sampler said
    inside = batch.groups >= 0
    assert inside.any() and np.abs(metrics["rows"]["advantages"][inside]).max() > 1e-3
    for label in batch.labels.values():
        assert label.dtype == np.int32 and label.min() >= -1
        if label.ndim == 2:
            np.testing.assert_array_equal(label >= 0, batch.mask & (label >= 0))


@pytest.mark.parametrize("name", ["vine"])
def test_a_host_verifier_gives_the_same(name):
    batch, _ = iterate(made(name))
    other, metrics = iterate(made(name, host=True))
    assert metrics["policy/ran"] == 1
    for (path, a), b in zip(jax.tree_util.tree_leaves_with_path(batch), jax.tree.leaves(other), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-4, err_msg=jax.tree_util.keystr(path))


@pytest.mark.parametrize(
    ("rollouts", "message"),
    [
        (("vine", {}), "method.rollouts.boundaries: vine needs the hyper-parameter 'boundaries'"),
        (("vine", VINE | dict(boundaries=("every", {}))), "method.rollouts.boundaries.tokens: every needs the hyper-parameter 'tokens'"),
        (("vine", VINE | dict(boundaries=("every", dict(tokens=0)))), "method.rollouts: every: tokens is 0"),
        (("vine", VINE | dict(boundaries=("evry", {}))), "nearest: every"),
        (("every", dict(tokens=2)), "method.rollouts.mask: every reads 'mask', which nothing provides here"),
        (
            ("vine", VINE | dict(boundaries=("after_token", dict(token="12")))),
            "after_token: token is '12', which is 2 tokens",
        ),
    ],
)
def test_mistakes_in_a_config(rollouts, message):
    with pytest.raises(ConfigError) as error:
        jobs.job(jobs.tiny(method=jobs.GROUP | dict(rollouts=rollouts)))
    assert message in str(error.value)
