"""A learner of a model with adapters: it differentiates, optimises and copies them alone, and the base stands once and never moves."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import jobs
import numpy as np
import pytest

from pojax import checkpointing, models
from pojax.binding import ConfigError
from pojax.learners import state as states
from pojax.learners.updates import with_parts
from pojax.models import lora

pytestmark = pytest.mark.slow
HERE = "tests.methods_under_test:"
LORA = dict(rank=2, alpha=6.0)
ADAM = ("adamw", dict(learning_rate=0.01))
PIECES = (1, 4)


def host(tree):
    return jax.tree.map(lambda x: np.array(x), jax.device_get(tree))


def sizes(tree):
    return sum(x.size for x in jax.tree.leaves(tree))


def same(a, b):
    assert jax.tree.structure(a) == jax.tree.structure(b)
    jax.tree.map(np.testing.assert_array_equal, a, b)


def started(job, seed=0):
    """The first state with adapters that are not zero, so that A has a gradient too; copies are made of it."""
    state, random = job.init(), np.random.default_rng(seed)

    def change(x):
        return jax.device_put(jnp.asarray(0.2 * random.standard_normal(x.shape), x.dtype), x.sharding)

    params = {role: lora.join(tree, jax.tree.map(change, lora.split(tree)[1])) for role, tree in state.params.items()}
    return states.recopy(dataclasses.replace(state, params=params), job.program)


def logprobs(job, policy, rollout):
    r = rollout.clean()
    return np.asarray(forward(policy, job.model["policy"], r.prompt_tokens, r.prompt_mask, r.tokens, jnp.asarray(r.temperature)))


@functools.partial(jax.jit, static_argnums=1)
def forward(policy, config, *rows):
    return models.token_outputs(policy, config, *rows, ("logprobs",))["logprobs"]


def in_pieces(**model):
    """GRPO's losses in updates that learn nothing: their optimisers keep the gradients of 1 and 4 micro-batches."""
    config = jobs.tiny("grpo", **{f"model__{key}": value for key, value in model.items()})
    method = {key: value for key, value in dict(config.method).items() if key not in ("minibatches", "microbatches")}
    keys = ("losses", "aggregate", "per_minibatch")
    one = {key: method.pop(key) for key in keys if key in method} | dict(optimizer=("sgd", dict(learning_rate=0.0)))
    return jobs.override(config, {"method": method | {"updates": [one | dict(name=str(n), microbatches=n) for n in PIECES]}})


def gradients(job, state):
    learner = job.phases[-1].learner
    after, _ = learner.train_step(state, dataclasses.replace(jobs.rollout(), block=job.program.block), learner.hyper)
    return {int(name): jax.device_get(opt)[1].trace["policy"] for name, opt in after.opt.items()}


@pytest.fixture(scope="module")
def two_steps():
    """Job of GRPO with Adam, and host copies of the states around two whole iterations."""
    job = jobs.job(jobs.tiny("grpo", model__lora=LORA, optimizer=ADAM, method__minibatches=2))
    learner, state = job.phases[-1].learner, started(job)
    history = [host(dataclasses.replace(state, key=None))]
    for seed in range(2):
        rollout = dataclasses.replace(jobs.rollout(seed=seed), block=job.program.block)
        state, metrics = learner.train_step(state, rollout, learner.hyper)
        assert float(metrics["policy/ran"]) == 2 and metrics["policy/nonfinite"].shape == (len(jax.tree.leaves(state.copies)),)
        history.append(host(dataclasses.replace(state, key=None)))
    return job, history


# -- what the state holds ---------------------------------------------------------------------------------------------------------


def test_optimiser_and_copies_hold_adapters_alone(two_steps):
    job, (before, *_) = two_steps
    base, part = lora.split(before.params["policy"])
    hidden, mlp, head, kv, r = 16, 32, 8, 2, LORA["rank"]
    pairs = [(hidden, 2 * head), (hidden, kv * head), (hidden, kv * head), (2 * head, hidden), (hidden, mlp), (hidden, mlp), (mlp, hidden)]
    assert sizes(part) == sum(r * (inputs + outputs) for inputs, outputs in pairs)
    moments = [x for x in jax.tree.leaves(before.opt) if x.ndim]
    assert sum(x.size for x in moments) == 2 * sizes(part)
    assert sizes(before.copies["ref"]) == sizes(part) and set(before.copies) == {"ref"}
    large = [x for x in jax.tree.leaves(dataclasses.replace(before, tables={})) if x.ndim > 1]
    assert sum(x.size for x in large) < sizes(base) + 4 * sizes(part) + 1  # the base stands once


def test_only_adapters_move(two_steps):
    _, (before, middle, after) = two_steps
    for a, b in ((before, middle), (middle, after)):
        same(lora.off(a.params["policy"]), lora.off(b.params["policy"]))
        moved = jax.tree.map(lambda x, y: bool((x != y).all()), lora.split(a.params["policy"])[1], lora.split(b.params["policy"])[1])
        assert all(jax.tree.leaves(moved))
        same(a.copies, b.copies)


def test_ref_is_the_base_with_the_adapters_of_the_switch(two_steps):
    job, (before, _, after) = two_steps
    rollout = jobs.rollout()
    ref = with_parts(after.params, after.copies["ref"])["policy"]
    np.testing.assert_array_equal(logprobs(job, ref, rollout), logprobs(job, before.params["policy"], rollout))
    assert np.abs(logprobs(job, after.params["policy"], rollout) - logprobs(job, ref, rollout)).max() > 1e-3
    fresh = job.init()
    ref = with_parts(fresh.params, fresh.copies["ref"])["policy"]
    np.testing.assert_array_equal(logprobs(job, ref, rollout), logprobs(job, lora.off(before.params["policy"]), rollout))


def test_a_checkpoint_restores_every_bit(two_steps, tmp_path):
    job, (before, *_) = two_steps
    state = started(job)
    with checkpointing.Checkpoints(tmp_path, keep=1, say=lambda line: None) as checkpoints:
        checkpoints.save(1, state, config={})
        checkpoints.wait()
        restored, step = checkpoints.restore(checkpointing.abstract(state))
    assert step == 1 and checkpointing.digest(restored) == checkpointing.digest(state)
    same(host(restored.params), before.params)


# -- gradients --------------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def one_device():
    """Job, state before the step (on the host) and gradients of the adapters on one device."""
    job = jobs.job(in_pieces(lora=LORA))
    state = started(job)
    before = host(state.params["policy"])
    return job, before, gradients(job, state)


def test_the_gradient_is_that_of_merged_kernels_by_the_chain_rule(one_device):
    """With W' = W + s A B: dL/dA = s dL/dW' B^T and dL/dB = s A^T dL/dW', dL/dW' from a job without adapters."""
    job, before, found = one_device
    merged, _ = lora.merge(before, job.model["policy"])
    plain = jobs.job(in_pieces())
    state = dataclasses.replace(plain.init(), params={"policy": jax.tree.map(jnp.array, merged)})
    # The reference of the other job is its start as well.
    full = gradients(plain, states.recopy(state, plain.program))[1]
    scale, size = LORA["alpha"] / LORA["rank"], 0.0
    for name, linear in found[1]["blocks"]["layer_0"].items():
        a, b = (before["blocks"]["layer_0"][name][leaf] for leaf in lora.LEAVES)
        change, inputs = full["blocks"]["layer_0"][name]["kernel"], 2 if name == "out" else 1
        pair = name in ("key_value", "gate_up")
        for half in range(1 + pair):
            a_, b_, g, ga, gb = (x[0] for x in (a, b, change, linear["lora_a"], linear["lora_b"]))
            if pair:
                a_, b_, g, ga, gb = a_[:, half], b_[half], g[:, half], ga[:, half], gb[half]
            rank, rows = a_.shape[-1], int(np.prod(g.shape[:inputs]))
            a_, b_, g = a_.reshape(rows, rank), b_.reshape(rank, -1), g.reshape(rows, -1)
            size += np.linalg.norm(ga) + np.linalg.norm(gb)
            np.testing.assert_allclose(ga.reshape(rows, rank), scale * g @ b_.T, atol=2e-6)
            np.testing.assert_allclose(gb.reshape(rank, -1), scale * a_.T @ g, atol=2e-6)
    assert size > 0.01


@pytest.mark.parametrize("devices", [1, 8])
def test_micro_batches_and_devices_change_nothing(one_device, devices):
    _, _, one = one_device
    if devices == 1:
        found = one
    else:
        job = jobs.job(jobs.override(in_pieces(lora=LORA), {"mesh": dict(data=2, fsdp=2, tensor=2)}), 8)
        state = started(job)
        assert not state.params["policy"]["blocks"]["layer_0"]["out"]["lora_a"].sharding.is_fully_replicated
        found = gradients(job, state)
    assert np.linalg.norm(jobs.leaves(one[1])) > 1e-3
    for pieces in PIECES:
        assert jobs.distance(found[pieces], one[1]) < 2e-6


def test_the_base_costs_neither_gradients_nor_moments():
    """Lowered, not run: arguments hold the base once (four times without adapters), and no kernel has a gradient."""
    costs = {}
    for name, adapters in (("lora", LORA), ("full", None)):
        job = jobs.job(jobs.tiny("grpo", model__hidden=64, model__mlp=512, model__lora=adapters, optimizer=ADAM))
        learner, rollout = job.phases[-1].learner, jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), jobs.rollout())
        state = jax.eval_shape(job.init)
        flops = learner.train_step.lower(state, rollout, learner.hyper).cost_analysis()["flops"]
        costs[name] = sizes((state.params, state.opt, state.copies)), flops
    assert costs["lora"][0] < 0.3 * costs["full"][0]
    assert costs["lora"][1] < 0.8 * costs["full"][1]


# -- several roles, other copies, sampling ----------------------------------------------------------------------------------------


def test_roles_and_copies():
    """A value role trains its adapters and its head; copies average or refresh adapters."""
    method = jobs.GROUP | dict(
        losses=None, aggregate=None, rewards=[*jobs.GROUP["rewards"]],
        copies=dict(slow=("ema", dict(decay=0.75)), anchor=("refreshed", dict(every=2))),
        updates=[
            dict(trains=("value",), losses=[(HERE + "squared_value_error", {})], optimizer=ADAM, epochs=2),
            dict(
                trains=("policy",), optimizer=ADAM, every=2, after=1,
                losses=[
                    ("ppo_clip", {}),
                    ("k2", dict(scale=0.1, ref_logprobs="slow_logprobs")),
                    ("k1", dict(scale=0.1, ref_logprobs="anchor_logprobs")),
                ],
            ),
        ],
    )  # fmt: skip
    job = jobs.job(jobs.tiny(method={key: value for key, value in method.items() if value is not None}, model__lora=LORA))
    learner, state, history = job.phases[-1].learner, started(job), []
    for seed in range(4):
        history.append(host(dataclasses.replace(state, key=None)))
        state, _ = learner.train_step(state, jobs.rollout(seed=seed), learner.hyper)
    history.append(host(dataclasses.replace(state, key=None)))
    adapters = [lora.split(h.params["policy"])[1] for h in history]
    slow = adapters[0]
    for i in range(1, 5):
        slow = jax.tree.map(lambda old, new: 0.75 * old + 0.25 * new, slow, adapters[i])
        assert jobs.distance(history[i].copies["slow"]["policy"], slow) < 1e-6
        same(history[i].copies["anchor"]["policy"], adapters[i - i % 2])
        assert (jobs.distance(adapters[i], adapters[i - 1]) > 0) == (i % 2 == 0)
    first, last = (lora.split(h.params["value"], (*lora.LEAVES, "value")) for h in (history[0], history[-1]))
    same(first[0], last[0])
    assert all(jax.tree.leaves(jax.tree.map(lambda x, y: bool((x != y).any()), first[1], last[1])))
    assert sizes([x for x in jax.tree.leaves(history[0].opt["value"]) if x.ndim]) == 2 * sizes(first[1])


def test_whole_iterations_and_the_samplers_logprobs():
    job = jobs.job(jobs.tiny("grpo", model__lora=LORA | dict(targets=("q_proj", "v_proj")), optimizer=ADAM))
    learner, state = job.phases[-1].learner, started(job)
    policy = jax.tree.map(jnp.array, state.params["policy"])
    batch, _ = learner.collect(state, learner.hyper)
    distance = np.abs(np.where(batch.mask, np.asarray(batch.old_logprobs) - logprobs(job, policy, batch), 0)).max()
    assert distance < 2e-5
    shapes = jax.eval_shape(lambda: job.init())
    after, _ = jax.eval_shape(learner.iteration, shapes, learner.hyper)
    assert jax.tree.map(lambda x: (x.shape, x.dtype), after) == jax.tree.map(lambda x: (x.shape, x.dtype), shapes)


def test_a_wrong_option_is_named():
    with pytest.raises(ConfigError, match=r"model.lora.ranks: adapters have no option 'ranks'; nearest: rank"):
        jobs.job(jobs.tiny("grpo", model__lora=dict(ranks=2)))
    with pytest.raises(ValueError, match="model.lora.rank is 0"):
        jobs.job(jobs.tiny("grpo", model__lora=dict(rank=0)))
