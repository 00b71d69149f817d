"""Every arrangement that goes on from inside rows, in a whole iteration: bound, collected, learned from; judged in JAX and on the host."""

import dataclasses
import re

import jax
import jobs
import numpy as np
import pytest
import tiny_services

from pojax import build
from pojax.binding import ConfigError
from pojax.tasks import Environment

pytestmark = pytest.mark.slow
WEIGHTS = [("weighted_sum", dict(weights=dict(correct=1.0, format=1.0, lengths=0.1)))]  # lengths differ whatever the policy is
RETURNS = [("weighted_sum", dict(weights=dict(episode_return=1.0)))]
WALK = Environment(tiny_services.Walk.reset, tiny_services.Walk.step, tiny_services.Walk.anchor)
VINE = dict(samples=2, continuations=2, max_cuts=2, boundaries=("every", dict(tokens=2)))
SEGMENTS = [("segment_advantages", {})]
TREE = [("tree_and_group_normalize", {})]
METHODS = {
    "vine": dict(rollouts=("vine", VINE), advantages=SEGMENTS),
    "vine_by_probability": dict(
        rollouts=("vine", VINE | dict(boundaries=("low_probability", dict(threshold=0.5, interval=1)))), advantages=SEGMENTS
    ),
    "vine_by_token": dict(
        rollouts=("vine", VINE | dict(boundaries=("after_token", dict(token="7")), beyond="missing")), advantages=SEGMENTS
    ),
    "tree": dict(rollouts=("tree", dict(trees=2, expansions=1, rounds=2, boundaries=("every", dict(tokens=2)))), advantages=TREE),
    "branching_tree": dict(
        rollouts=("branching_tree", dict(branching="2-2", segment_tokens=2)), advantages=[("tree_advantages", {}), ("count_edges_once", {})]
    ),
    "turns": dict(
        rollouts=("turns", dict(samples=4, turns=2, action_tokens=2)), rewards=RETURNS, advantages=[("episode_and_step_advantages", {})]
    ),
    "turn_tree": dict(
        rollouts=("turn_tree", dict(trees=2, expansions=1, rounds=1, turns=2, action_tokens=2)), rewards=RETURNS, advantages=TREE
    ),
    "budget_cuts": dict(
        rollouts=("budget_cuts", dict(samples=2, budgets=2, summaries=2, summary_tokens=2, marker="=")),
        advantages=[("budget_advantages", {})],
    ),
    "budget_cuts_and_summaries": dict(
        rollouts=("budget_cuts", dict(samples=2, budgets=2, summaries=2, summary_tokens=2, summary_rows=True)),
        advantages=[("budget_advantages", dict(groups="thinking")), ("summary_advantages", {})],
    ),
}
ON_THE_HOST = ("vine", "turn_tree")


def made(name, host=False, devices=1):
    """The job of a method; the task has an environment, and where host no verifier in JAX."""
    config = jobs.tiny(method=jobs.GROUP | dict(rewards=WEIGHTS) | METHODS[name], response_tokens=6)
    real = build.make_task

    def changed(tree):
        change = dict(environment=WALK) | (dict(verify_tokens=None) if host else {})
        return {split: dataclasses.replace(task, **change) for split, task in real(tree).items()}

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(build, "make_task", changed)
        return jobs.job(config, devices)


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
            assert not (label >= 0)[~batch.mask].any()


@pytest.mark.parametrize("name", ON_THE_HOST)
def test_a_host_verifier_gives_the_same(name):
    batch, _ = iterate(made(name))
    other, metrics = iterate(made(name, host=True))
    assert metrics["policy/ran"] == 1
    for (path, a), b in zip(jax.tree_util.tree_leaves_with_path(batch), jax.tree.leaves(other), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-4, err_msg=jax.tree_util.keystr(path))


def test_four_devices_give_the_same_and_share_the_work():
    """Rows go on where they are: no device computes the rows of the others, or is sent their cache."""
    rollouts, programs = {}, {}
    for devices in (1, 4):
        job = made("vine", devices=devices)
        learner, state = job.phases[-1].learner, job.init()
        programs[devices] = learner.collect.lower(state, learner.hyper).compile()
        rollouts[devices] = jax.tree.map(np.array, programs[devices](state, learner.hyper)[0])
    for a, b in zip(jax.tree.leaves(rollouts[4]), jax.tree.leaves(rollouts[1]), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-4)
    assert programs[4].cost_analysis()["flops"] < 0.5 * programs[1].cost_analysis()["flops"]
    sent = re.findall(r"= \w+\[([\d,]*)\]\S* (?:all-gather|collective-permute|all-to-all)\(", programs[4].as_text())
    assert sent and max(shape.count(",") + 1 for shape in sent) < 4  # keys and values of rows have four axes


@pytest.mark.parametrize(
    ("rollouts", "message"),
    [
        (("vine", {}), "method.rollouts.boundaries: vine needs the hyper-parameter 'boundaries'"),
        (("vine", VINE | dict(boundaries=("every", {}))), "method.rollouts.boundaries.tokens: every needs the hyper-parameter 'tokens'"),
        (("vine", VINE | dict(boundaries=("every", dict(tokens=0)))), "method.rollouts: every: tokens is 0"),
        (("vine", VINE | dict(boundaries=("evry", {}))), "nearest: every"),
        (("turns", {}), "task arithmetic has no environment, in which an arrangement could take turns"),
        (("budget_cuts", dict(summary_tokens=3)), "budget_cuts: budgets is 4, allowed: rising numbers of tokens, at least 1 and at most 0"),
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
