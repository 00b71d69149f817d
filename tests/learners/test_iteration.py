"""Whole iterations: collect and learn as one function of the state, the arrangements, compilations, warm start."""

import dataclasses

import jax
import jax.numpy as jnp
import jobs
import numpy as np
import pytest

from pojax import models
from pojax.binding import ConfigError
from pojax.learners import state as states

pytestmark = pytest.mark.slow
HERE = "tests.methods_under_test:"


def host(tree):
    """A copy on the host that outlives the donation of its buffers."""
    return jax.tree.map(
        lambda x: np.array(x) if not jnp.issubdtype(x.dtype, jax.dtypes.prng_key) else np.array(jax.random.key_data(x)), tree
    )


def avals(tree):
    return [
        (jax.tree_util.keystr(path), x.shape, x.dtype, bool(getattr(x, "weak_type", False)))
        for path, x in jax.tree_util.tree_leaves_with_path(tree)
    ]


# -- one iteration ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*jobs.METHODS, "sft"])
def test_the_state_keeps_its_shapes_types_and_weak_types(name):
    """Abstractly, so that every method can be asked: a leaf that changed would make the second iteration compile again."""
    made = jobs.job(jobs.tiny(name))
    learner, before = made.phases[-1].learner, jax.eval_shape(made.init)
    after, _ = jax.eval_shape(learner.iteration, before, learner.hyper)
    assert avals(after) == avals(before) and jax.tree.structure(after) == jax.tree.structure(before)
    assert not any(weak for *_, weak in avals(before))


@pytest.fixture(scope="module")
def spo():
    """Job, and host copies of the states around two iterations of Single-stream PO with the batches between."""
    made = jobs.job(jobs.tiny("spo_single_stream", method__minibatches=2))
    learner, state = made.phases[-1].learner, made.init()
    history, batches = [host(state)], []
    for _ in range(2):
        batch, source = learner.collect(state, learner.hyper)
        batches.append(host(batch))
        state, _ = learner.train_step(dataclasses.replace(state, source=source), batch, learner.hyper)
        history.append(host(state))
    return made, history, batches


def test_an_iteration_is_collect_then_train_step(spo):
    made, history, _ = spo
    learner = made.phases[-1].learner
    state, metrics = jax.jit(learner.iteration)(made.init(), learner.hyper)
    assert int(state.step) == 1 and float(metrics["policy/ran"]) == 2
    np.testing.assert_array_equal(host(state).tables["prompts"].tokens, history[1].tables["prompts"].tokens)
    assert jobs.distance(state.params, history[1].params) < 1e-5  # one program or two: within float tolerance


def test_the_same_config_and_seed_give_the_same_bits(spo):
    made, history, _ = spo
    learner, state = made.phases[-1].learner, made.init()
    for _ in range(2):
        batch, source = learner.collect(state, learner.hyper)
        state, _ = learner.train_step(dataclasses.replace(state, source=source), batch, learner.hyper)
    for a, b in zip(jax.tree.leaves(host(state)), jax.tree.leaves(history[2]), strict=True):
        np.testing.assert_array_equal(a, b)
    assert (np.asarray(history[1].key) == np.asarray(history[0].key)).all()  # the run's key never changes


def test_iterations_draw_different_prompts_and_tokens(spo):
    _, _, (first, second) = spo
    assert not np.array_equal(first.prompt_index, second.prompt_index)
    assert (first.policy_step == 0).all() and (second.policy_step == 1).all()
    same = {tuple(row) for row in np.c_[first.prompt_index[:, None], first.tokens]} & {
        tuple(row) for row in np.c_[second.prompt_index[:, None], second.tokens]
    }
    assert len(same) < 5


def test_spos_table_after_two_iterations(spo):
    """Against plain numpy: alpha <- rho alpha + r, beta <- rho beta + 1 - r, rho by how far the policy moved on the previous response."""
    made, history, batches = spo
    size = made.program.sizes["num_prompts"]
    alpha, beta, stored = np.full(size, 0.5), np.full(size, 0.5), {}
    for batch, after in zip(batches, history[1:], strict=True):
        policy = jax.tree.map(jnp.asarray, after.params["policy"])

        def logprobs(row, tokens, policy=policy, batch=batch):
            given = batch.prompt_tokens[row][None], batch.prompt_mask[row][None], np.asarray(tokens)[None]
            return np.asarray(models.token_outputs(policy, made.model["policy"], *given, 1.0, ("logprobs",))["logprobs"][0], np.float64)

        for row, prompt in enumerate(batch.prompt_index):
            rho = 1.0 if prompt not in stored else None
            if rho is None:
                tokens, mask, before = stored[prompt]
                distance = np.abs(before - logprobs(row, tokens))[mask].mean()
                rho = np.clip(2.0 ** (-distance / 0.06), 0.875, 0.96)
            else:
                rho = 0.96
            reward = float(batch.components["correct"][row])
            alpha[prompt], beta[prompt] = rho * alpha[prompt] + reward, rho * beta[prompt] + 1 - reward
            stored[prompt] = batch.tokens[row], batch.mask[row], logprobs(row, batch.tokens[row])
        table = after.tables["prompts"]
        np.testing.assert_allclose(table.alpha, alpha, rtol=1e-5)
        np.testing.assert_allclose(table.beta, beta, rtol=1e-5)
        assert set(np.flatnonzero(table.visited)) == set(stored)
    assert len(set(batches[0].prompt_index) & set(batches[1].prompt_index)) > 5  # some were visited twice


def test_numbers_compile_nothing(spo):
    """Temperature, truncation, clip range and learning rate are arguments of the compiled programs."""
    made, _, _ = spo
    learner, state = made.phases[-1].learner, made.init()
    changes = {
        "method.rollouts.temperature": 0.7,
        "sampling.top_p": 0.9,
        "sampling.top_k": 3,
        "sampling.min_p": 0.01,
        "method.losses.ppo_clip.epsilon": 0.3,
        "optimizer.learning_rate": 0.3,
        "method.curricula.floor": 0.1,
        "method.trackers.prompts.halving": 0.1,
    }
    assert set(changes) <= set(learner.hyper)
    sizes = learner.collect._cache_size(), learner.train_step._cache_size()
    plain = jax.device_get(learner.collect(state, learner.hyper)[0])
    for path, value in changes.items():
        hyper = learner.hyper | {path: jnp.asarray(value, jnp.result_type(float))}
        batch, _ = learner.collect(state, hyper)
        if path == "method.rollouts.temperature":
            np.testing.assert_allclose(batch.temperature, 0.7, rtol=1e-6)
            assert not np.array_equal(batch.tokens, plain.tokens)
        state, _ = learner.train_step(state, batch, hyper)
    assert (learner.collect._cache_size(), learner.train_step._cache_size()) == sizes


# -- arrangements -----------------------------------------------------------------------------------------------------------------


def collect(config, host_verifier=False, **hyper):
    """(job, batch) of the first iteration."""
    made = without_jax_verifier(config) if host_verifier else jobs.job(config)
    learner, state = made.phases[-1].learner, made.init()
    return made, host(learner.collect(state, learner.hyper)[0])


def without_jax_verifier(config):
    """The job of a task whose verdicts need the host."""
    from unittest import mock

    from pojax import build

    make = build.make_task

    def on_host(tree):
        return {split: dataclasses.replace(task, verify_tokens=None) for split, task in make(tree).items()}

    with mock.patch.object(build, "make_task", on_host):
        return jobs.job(config)


def refill(rounds, inner="half_right", until=1.0, **changes):
    arrangement = ("refill", dict(inner=(HERE + inner, {}), rounds=rounds, until=until))
    method = jobs.GROUP | dict(rollouts=arrangement, curricula=("uniform", {}))
    return jobs.tiny(method=method, **changes)


@pytest.fixture(scope="module")
def refilled():
    return {rounds: collect(refill(rounds))[1] for rounds in (1, 3)}


def test_refill_keeps_groups_of_both_verdicts_and_fills_the_batch(refilled):
    """Odd prompts alone have both verdicts, about half of each round."""
    one, three = refilled[1], refilled[3]
    for batch in (one, three):
        groups = batch.groups.reshape(-1, 4)
        full = groups[:, 0] >= 0
        assert (groups == groups[:, :1]).all() and (np.flatnonzero(full) == groups[full, 0]).all()
        assert full[: full.sum()].all()  # filled from the front
        index = batch.prompt_index.reshape(-1, 4)
        assert (index == index[:, :1]).all() and (index[full] % 2 == 1).all()
        correct = batch.components["correct"].reshape(-1, 4)[full]
        assert (correct.max(1) == 1).all() and (correct.min(1) == 0).all()
    filled = [(batch.groups >= 0).sum() for batch in (one, three)]
    assert 0 < filled[0] < jobs.ROWS == filled[1]
    kept = one.groups >= 0
    np.testing.assert_array_equal(three.tokens[kept], one.tokens[kept])  # later rounds come behind, and nothing is moved
    np.testing.assert_array_equal(three.prompt_index[kept], one.prompt_index[kept])


def test_refill_stops_where_enough_is_filled(refilled):
    """The first round fills a part, which is enough where less was asked for."""
    part = (refilled[1].groups >= 0).mean()
    for until, rounds in ((part, 1), (min(part + 0.01, 1.0), 3)):
        _, batch = collect(refill(3, until=float(until)))
        np.testing.assert_array_equal(batch.groups >= 0, refilled[rounds].groups >= 0)


def test_refill_with_a_host_verifier_gives_the_same(refilled):
    made, batch = collect(refill(3), host_verifier=True)
    assert made.phases[-1].learner.iteration is None  # collecting needs the host
    for name in ("tokens", "mask", "groups", "prompt_index", "prompt_tokens"):
        np.testing.assert_array_equal(getattr(batch, name), getattr(refilled[3], name))
    np.testing.assert_allclose(batch.old_logprobs, refilled[3].old_logprobs, atol=1e-5)


def test_refill_skips_rounds_when_the_batch_is_full():
    from unittest import mock

    from pojax.learners import services

    drawn = []
    real = services.verify_on_host
    with mock.patch.object(services, "verify_on_host", lambda *a: drawn.append(1) or real(*a)):
        _, batch = collect(refill(6), host_verifier=True)
    assert (batch.groups >= 0).all() and 1 < len(drawn) < 6


def test_refill_as_a_part_of_a_mix():
    parts = dict(
        first=("refill", dict(inner=(HERE + "half_right", {}), rounds=2)), second=("independent", dict(samples=4)), first_prompts=4
    )
    _, batch = collect(jobs.tiny(method=jobs.GROUP | dict(rollouts=("mix", parts))))
    assert batch.tokens.shape[0] == jobs.ROWS and batch.block == 4
    np.testing.assert_array_equal(batch.labels["part"], np.repeat([0, 1], 16))
    second = batch.groups[16:].reshape(-1, 4)
    assert (second == second[:, :1]).all() and len(set(second[:, 0])) == 4
    assert not set(batch.groups[:16]) & set(batch.groups[16:])


def test_a_host_verifier_compiles_nothing_in_later_iterations():
    made = without_jax_verifier(refill(2))
    learner, state = made.phases[-1].learner, made.init()
    learner.collect(state, learner.hyper)
    state = dataclasses.replace(state, step=state.step + 1)
    learner.collect(state, learner.hyper)  # a second one may still meet a round that the first did not need
    state = dataclasses.replace(state, step=state.step + 1)
    compiled = []
    jax.monitoring.register_event_duration_secs_listener(
        lambda event, *_, **__: compiled.append(event) if "backend_compile" in event else None
    )
    learner.collect(state, learner.hyper)
    found = len(compiled)
    jax.jit(lambda x: x * 3 + found)(1.0)
    assert len(compiled) > found == 0  # the count counts


def test_the_greedy_baseline_is_in_units_of_rewards():
    rewards = [("weighted_sum", dict(weights=dict(difficulty=2.0, format=0.5))), ("overlong_penalty", dict(cache=1.0))]
    method = jobs.GROUP | dict(
        rollouts=("greedy_baseline", dict(samples=4)), rewards=rewards, advantages=[("subtract_baseline", dict(baseline="greedy_rewards"))]
    )
    made, batch = collect(jobs.tiny(method=method))
    greedy = batch.components["greedy_rewards"].reshape(-1, 4)
    assert (greedy == greedy[:, :1]).all()
    # The greedy response is that of the highest logit; its reward is computed here by hand.
    state = made.init()
    first = batch.prompt_index.reshape(-1, 4)[:, 0]
    tokens, mask = greedy_responses(made, state.params["policy"], first)
    lengths = mask.sum(1)
    ended = ((tokens == 1) & mask).any(1)
    digits = np.array(
        [all(2 <= t <= 11 for t in row[: n - e]) and n - e > 0 for row, n, e in zip(tokens, lengths, ended.astype(int), strict=True)]
    )
    expected = 2.0 * made.source.columns["difficulty"][first] + 0.5 * (ended & digits) + np.clip((jobs.T - 1 - lengths) / 1.0, -1, 0)
    np.testing.assert_allclose(greedy[:, 0], expected, rtol=1e-6)


def greedy_responses(made, params, prompts):
    """Token by token through the whole model, without a cache."""
    tokens = np.zeros((len(prompts), jobs.T), np.int32)
    source, config = made.source.prompts, made.model["policy"]
    alive, mask = np.ones(len(prompts), bool), np.zeros(tokens.shape, bool)
    for t in range(jobs.T):
        hidden = models.hidden_states(params, config, source.tokens[prompts], source.mask[prompts], jnp.asarray(tokens))[:, t]
        best = np.argmax(models.logits_of(models.unembedding(params, config), hidden, config), axis=1)
        tokens[:, t], mask[:, t] = np.where(alive, best, 0), alive
        alive &= best != 1
    return tokens, mask


def test_a_verdict_that_is_no_number_takes_its_row_out():
    _, batch = collect(jobs.tiny(method=jobs.GROUP | dict(rollouts=(HERE + "unscorable", {}))))
    assert batch.groups[0] == -1 and (batch.groups[1:4] == 0).all() and (batch.groups >= 0).sum() == jobs.ROWS - 1


def test_a_processor_reaches_the_training_samples():
    _, batch = collect(jobs.tiny(method=jobs.GROUP, **{"sampling.processor": HERE + "only_nines"}))
    assert (batch.tokens[batch.mask] == 11).all() and (batch.rollout_logprobs[batch.mask] == 0).all()
    assert (batch.old_logprobs[batch.mask] < -1).all()


# -- warm start -------------------------------------------------------------------------------------------------------------------


def test_the_warm_start_and_the_switch():
    warm = dict(
        method=jobs.tiny("sft").method,
        steps=2,
        batch_prompts=16,
        optimizer=("adamw", dict(learning_rate=("linear", dict(start=0.01, end=0.0, steps=2)))),
    )
    losses = [("ppo_clip", {}), ("k3", dict(scale=("piecewise", dict(first=0.5, then=0.0, boundary=1))))]
    made = jobs.job(jobs.tiny(method=jobs.GROUP | dict(losses=losses), warm_start=warm))
    assert [(p.name, p.first) for p in made.phases] == [("warm_start", 0), ("method", 2)] and made.warm_steps == 2
    assert [made.phase(step).name for step in range(4)] == ["warm_start", "warm_start", "method", "method"]
    state = made.init()
    assert set(state.opt) == {"warm_start.policy", "policy"}
    start = host(state.params)
    learner = made.phases[0].learner
    for i in range(2):
        batch, source = learner.collect(state, learner.hyper)
        assert batch.tokens.shape[0] == 16 and int(batch.policy_step[0]) == i
        state, metrics = learner.train_step(dataclasses.replace(state, source=source), batch, learner.hyper)
        assert float(metrics["warm_start.policy/ran"]) == 1
    assert jobs.distance(state.params, start) > 1e-4 and jobs.distance(state.copies["ref"], start) == 0
    assert np.abs(jobs.leaves(state.opt["policy"])).sum() == 0  # the method's optimiser has not run
    state = states.recopy(state, made.program)
    assert jobs.distance(state.copies["ref"], state.params) == 0
    state, metrics = made.phases[1].learner.train_step(state, jobs.rollout(), made.phases[1].learner.hyper)
    assert int(state.step) == 3 and float(metrics["policy/loss/k3"]) == pytest.approx(
        0.0, abs=1e-7
    )  # the reference is the warm-started policy
    copied, params = jobs.leaves(state.copies["ref"]), jobs.leaves(state.params)
    assert not np.array_equal(copied, params)


def test_a_warm_start_has_no_tables_of_its_own():
    with pytest.raises(ConfigError, match="warm_start.method.family: found 'group', allowed: supervised"):
        jobs.job(jobs.tiny(method=jobs.GROUP, warm_start=dict(method=jobs.GROUP, steps=1)))
