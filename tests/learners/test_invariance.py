"""Micro-batches, devices, mesh shapes, ragged rows and rows that are out cannot change a gradient."""

import dataclasses
from unittest import mock

import jax
import jax.numpy as jnp
import jobs
import numpy as np
import pytest

from pojax import models
from pojax.sharding import Layout

pytestmark = pytest.mark.slow
MESHES = {
    "8 data": dict(data=8, fsdp=1, tensor=1),
    "2 data, 4 fsdp": dict(data=2, fsdp=4, tensor=1),
    "2 x 2 x 2": dict(data=2, fsdp=2, tensor=2),
    "8 fsdp": dict(data=1, fsdp=8, tensor=1),
}
PIECES = (1, 2, 4)
# One term for each aggregation, with scales so different that none hides another; group_mean keeps groups whole.
AGGREGATIONS = dict(
    losses=[
        ("ppo_clip", dict(aggregate="token_mean")),
        ("negative_log_likelihood", dict(aggregate="sequence_mean", scale=0.3)),
        ("entropy_bonus", dict(aggregate=("constant", dict(length=3)), scale=0.5)),
        ("policy_gradient", dict(aggregate="group_mean", scale=0.7)),
        ("k3", dict(aggregate="sequence_mean_token_sum", scale=0.2)),
        ("k2", dict(aggregate="token_sum", scale=0.05, where="truncated")),
    ]
)


def in_pieces(config, pieces=PIECES, **model):
    """The config with its losses in updates that learn nothing: their optimisers keep the gradients of 1, 2 and 4 micro-batches."""
    method = dict(config.method)
    keys = ("losses", "aggregate", "per_minibatch")
    one = {key: method.pop(key) for key in keys if key in method} | dict(optimizer=("sgd", dict(learning_rate=0.0)))
    method.pop("minibatches", None)
    method["updates"] = [one | dict(name=str(number), microbatches=number) for number in pieces]
    return jobs.override(config, {"method": method, **{f"model.{k}": v for k, v in model.items()}})


def gradients(config, devices, rollout, outputs=None):
    """{number of micro-batches: gradient of the policy} of a hand-made rollout under one program on so many devices."""
    made = jobs.job(config, devices)
    learner = made.phases[-1].learner
    with mock.patch.object(models, "token_outputs", outputs or bigram):
        state, metrics = learner.train_step(made.init(), dataclasses.replace(rollout, block=made.program.block), learner.hyper)
    assert all(float(metrics[f"{name}/ran"]) == 1 for name in state.opt)
    # sgd without momentum keeps the gradient itself as its trace.
    return {int(name): jax.device_get(opt)[1].trace["policy"] for name, opt in state.opt.items()}


def rows_of(config, **kwargs):
    """A rollout as the arrangement of the config makes it."""
    block = jobs.job(config).program.block
    rng = np.random.default_rng(1)
    extra = (
        {"greedy_rewards": rng.integers(0, 2, jobs.ROWS).astype(np.float32)} if config.method["rollouts"][0] == "greedy_baseline" else {}
    )
    return jobs.rollout(block=block, components=extra, **kwargs)


def assert_same(found, expected, tolerance):
    assert np.linalg.norm(jobs.leaves(expected)) > 1e-3
    assert jobs.distance(found, expected) < tolerance


def bigram(params, config, prompt_tokens, prompt_mask, tokens, temperature, names, heads=None, fields=None, chunk=None):
    """A policy that sees the last token only and compiles quickly. The decoder itself stands in the tests of meshes and float64."""
    before = jnp.concatenate([prompt_tokens[:, -1:], tokens[:, :-1]], axis=1)
    logits = (params["embedding"][before] * params["norm"]["scale"]) @ params["embedding"].T * 50
    logits /= jnp.where(temperature > 0, temperature, 1.0)[:, None, None]
    log_partition = jax.nn.logsumexp(logits, axis=-1)
    logprobs = jnp.take_along_axis(logits, tokens[..., None], axis=-1)[..., 0] - log_partition
    each = logits - log_partition[..., None]
    entropy = -jnp.sum(jnp.exp(each) * each, axis=-1)
    return {name: {"logprobs": logprobs, "log_partition": log_partition, "entropy": entropy}[name] for name in names}


# -- micro-batches x devices ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def every_aggregation():
    """Config, rollout, and the gradients on one device, of a method with every aggregation."""
    config = in_pieces(jobs.tiny(method=jobs.GROUP | AGGREGATIONS))
    rollout = rows_of(config)
    return config, rollout, gradients(config, 1, rollout)


@pytest.mark.parametrize("devices", [1, 2, 8])
def test_every_aggregation(every_aggregation, devices):
    config, rollout, one = every_aggregation
    found = one if devices == 1 else gradients(config, devices, rollout)
    for pieces in PIECES:
        assert_same(found[pieces], one[1], 1e-6)


def test_rows_that_are_out_and_masked_tokens_influence_nothing(every_aggregation):
    config, rollout, one = every_aggregation
    rng = np.random.default_rng(3)
    out = rollout.groups < 0
    tokens = np.where(out[:, None], rng.integers(0, 20, rollout.tokens.shape), rollout.tokens).astype(np.int32)
    other = dataclasses.replace(
        rows_of(config, junk=123.0), tokens=tokens, mask=np.where(out[:, None], rng.random(tokens.shape) < 0.5, rollout.mask)
    )
    found = gradients(config, 1, other)
    for pieces in PIECES:
        for a, b in zip(jax.tree.leaves(found[pieces]), jax.tree.leaves(one[pieces]), strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("name", jobs.METHODS)
def test_every_method(name):
    config = jobs.tiny(name)
    rollout = rows_of(config)
    one = gradients(in_pieces(config, (1,)), 1, rollout)[1]
    for found in gradients(in_pieces(config, (2, 4)), 8, rollout).values():
        assert_same(found, one, 1e-6)


def test_in_float64(x64):
    config, double = jobs.tiny("grpo"), dict(dtype="float64", param_dtype="float64")
    rollout = rows_of(config, dtype=np.float64)
    decoder = models.token_outputs
    one = gradients(in_pieces(config, (1,), **double), 1, rollout, decoder)[1]
    assert {x.dtype for x in jax.tree.leaves(one)} == {np.dtype("float64")}
    assert_same(gradients(in_pieces(config, (4,), **double), 8, rollout, decoder)[4], one, 1e-12)


# -- meshes -----------------------------------------------------------------------------------------------------------------------


def on_mesh(mesh, devices):
    """(state after one Adam step on a hand-made rollout, samples of the first iteration, shardings of large arrays) on a mesh."""
    changes = {"model.hidden": 32, "model.heads": 4, "model.mlp": 64, "optimizer": ("adamw", dict(learning_rate=1e-3))}
    changes["method.microbatches"] = 4 if devices > 1 else 1
    made = jobs.job(jobs.override(jobs.tiny("grpo", mesh=mesh), changes), devices)
    learner, state = made.phases[-1].learner, made.init()
    specs = {
        jax.tree_util.keystr(path): x.sharding for path, x in jax.tree_util.tree_leaves_with_path((state.params, state.opt, state.copies))
    }
    # The table of 22 tokens divides no mesh; every other array of some size can be split.
    large = [
        path for path, x in jax.tree_util.tree_leaves_with_path((state.params, state.opt, state.copies)) if x.size > 500 and x.ndim > 2
    ]
    samples = jax.device_get(learner.collect(state, learner.hyper)[0])
    after, _ = learner.train_step(state, jobs.rollout(), learner.hyper)
    return after, samples, {path: specs[path] for path in map(jax.tree_util.keystr, large)}


@pytest.fixture(scope="module")
def one_device():
    return on_mesh(dict(data=1, fsdp=1, tensor=1), 1)


@pytest.mark.parametrize("mesh", MESHES)
def test_meshes(mesh, one_device):
    after, samples, large = on_mesh(MESHES[mesh], 8)
    expected, drawn, _ = one_device
    for name in ("tokens", "mask", "prompt_tokens", "groups"):
        np.testing.assert_array_equal(getattr(samples, name), getattr(drawn, name))
    np.testing.assert_allclose(samples.old_logprobs, drawn.old_logprobs, atol=1e-5)
    # Adam's first moment is the gradient times 0.1.
    moments = [jax.tree.leaves(s.opt["policy"][1].mu) for s in (after, expected)]
    assert jobs.distance(*moments) < 1e-6 and np.linalg.norm(jobs.leaves(moments[1])) > 1e-4
    assert jobs.distance(after.params, expected.params) < 1e-4
    sharded = MESHES[mesh]["fsdp"] > 1 or MESHES[mesh]["tensor"] > 1
    assert len(large) > 10  # parameters, both moments, the reference
    assert all(found.is_fully_replicated != sharded for found in large.values()), large


class Loose(Layout):
    """A layout that does not constrain rows: the program it makes gives the same numbers and computes every row everywhere."""

    def rows(self, tree):
        return tree


def flops(layout, devices):
    """FLOPs of one train step per device; minibatches of 2 blocks are shuffled, which is where sharding used to be lost."""
    config = jobs.tiny("grpo", method__minibatches=2, model__hidden=32, model__mlp=256)
    with mock.patch("pojax.sharding.Layout", layout):
        made = jobs.job(config, devices)
    assert type(made.layout) is layout
    learner, state = made.phases[-1].learner, jax.eval_shape(made.init)
    rollout = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), jobs.rollout())
    return learner.train_step.lower(state, rollout, learner.hyper).compile().cost_analysis()["flops"]


def test_flops_per_device_fall_and_a_bad_program_is_noticed():
    alone = flops(Layout, 1)
    assert flops(Layout, 8) < 0.3 * alone  # the optimiser and the statistics of groups are on every device
    assert flops(Loose, 8) > 0.6 * alone
