"""Contracts that no method of the package uses alone, each through functions of tests/methods_under_test.py."""

import dataclasses

import jax
import jax.numpy as jnp
import jobs
import numpy as np
import pytest

from pojax import models

pytestmark = pytest.mark.slow
HERE = "tests.methods_under_test:"
SGD = ("sgd", dict(learning_rate=1.0))


class Steps:
    """A method with its compiled step; tests that need no other program share one."""

    def __init__(self, config=None, **method):
        method = {key: value for key, value in (jobs.GROUP | dict(optimizer=SGD) | method).items() if value is not None}
        self.job = jobs.job(jobs.tiny(method=method, **(config or {})))
        self.learner, self.program = self.job.phases[-1].learner, self.job.program

    def __call__(self, rollout, state=None, **hyper):
        """(state before, state after, metrics) of one train step; hyper: values by the end of their path."""
        state = self.job.init() if state is None else state
        before = jax.tree.map(np.asarray, jax.device_get(dataclasses.replace(state, key=None)))
        values = dict(self.learner.hyper)
        for end, value in hyper.items():
            (path,) = [p for p in values if p.endswith(end.replace("__", "."))]
            values[path] = jnp.asarray(value, jnp.result_type(float))
        after, metrics = self.learner.train_step(state, rollout, values)
        return before, after, jax.device_get(metrics)

    def gradient(self, rollout, update="policy", **hyper):
        """What sgd without momentum keeps as its trace."""
        return jax.device_get(self(rollout, **hyper)[1].opt[update])[1].trace


def labelled(**kwargs):
    """A rollout as the arrangement `labelled` gives it."""
    row = np.arange(jobs.ROWS)
    extra = {"role": np.where(row % 2 == 0, 1, -1).astype(np.int32), "noise": np.linspace(0, 1, jobs.ROWS, dtype=np.float32)}
    return jobs.rollout(labels={"half": (row // 2).astype(np.int32)}, components=extra | kwargs.pop("components", {}), **kwargs)


def logprobs_of(steps, params, rollout):
    """Log-probabilities of a rollout's tokens under parameters, without any learner."""
    r, policy = rollout.clean(), jax.tree.map(jnp.asarray, params["policy"])
    names = ("logprobs",)
    return models.token_outputs(
        policy, steps.job.model["policy"], r.prompt_tokens, r.prompt_mask, r.tokens, jnp.asarray(r.temperature), names
    )["logprobs"]


ARRANGEMENT = (HERE + "labelled", {})


# -- rules of the optimiser batch, labels, pairs, heads ---------------------------------------------------------------------------


def test_a_rule_that_reads_current_outputs_sees_the_whole_optimiser_batch():
    method = dict(per_minibatch=[(HERE + "whiten_by_current", {}), (HERE + "spread", dict(writes="spread"))])
    method["losses"] = [("ppo_clip", {}), (HERE + "score", dict(weight="spread", scale=0.1))]
    whole, pieces = Steps(**method), Steps(**method, microbatches=4)
    expected = whole.gradient(jobs.rollout())
    assert np.linalg.norm(jobs.leaves(expected)) > 1e-3
    assert jobs.distance(pieces.gradient(jobs.rollout()), expected) < 1e-6
    plain = Steps().gradient(jobs.rollout())
    assert jobs.distance(plain, expected) > 1e-3  # the rule does something


def test_pairs_within_labels():
    terms = [(HERE + "pairs", dict(aggregate="token_sum"))]
    method = dict(rollouts=ARRANGEMENT, advantages=[], losses=terms, aggregate=None)
    one, four = Steps(**method), Steps(**method, microbatches=4)
    assert one.program.updates[0].whole and one.program.updates[0].terms[0].per_row
    expected = one.gradient(labelled())
    assert np.linalg.norm(jobs.leaves(expected)) > 1e-3
    assert jobs.distance(four.gradient(labelled()), expected) < 1e-6
    # Minibatches shuffle blocks: every pair still meets, so where nothing is learned between them the sums of the halves add up.
    halves = Steps(**method, minibatches=2)
    loss = one(labelled(), learning_rate=0.0)[2]["policy/loss"]
    assert 2 * halves(labelled(), learning_rate=0.0)[2]["policy/loss"] == pytest.approx(loss, rel=1e-5)


def test_a_head_is_an_output_like_any_other():
    method = dict(
        rollouts=ARRANGEMENT,
        heads=dict(margin=(HERE + "margin_head", dict(power=2.0))),
        losses=[(HERE + "margin_loss", {}), ("ppo_clip", dict(scale=0.0))],
        advantages=[("group_normalize", {})],
    )
    steps = Steps(**method)
    _, _, metrics = steps(labelled())
    gradient = steps.gradient(labelled())
    doubled = steps.gradient(labelled(), margin__power=4.0)
    assert jobs.distance(jax.tree.map(lambda x: 2 * x, gradient), doubled) < 1e-6
    more = labelled(components={"noise": np.linspace(0, 1, jobs.ROWS, dtype=np.float32) + 1.0})
    assert steps(more)[2]["policy/loss"] == pytest.approx(metrics["policy/loss"] - 1.0, abs=1e-5)  # the head read the field


# -- several updates --------------------------------------------------------------------------------------------------------------

ROLES = dict(
    losses=None,
    aggregate=None,
    optimizer=None,
    rewards=[*jobs.GROUP["rewards"]],
    advantages=[("subtract_baseline", dict(baseline="baseline.value"))],
    trackers=dict(baseline=("running_mean", {}), seen=(HERE + "counter", {})),
    copies=dict(ref=("frozen", {}), slow=("ema", dict(decay=0.75)), anchor=("refreshed", dict(every=2))),
    updates=[
        dict(
            trains=("value",),
            losses=[(HERE + "squared_value_error", {})],
            optimizer=("adamw", dict(learning_rate=0.01)),
            epochs=2,
            minibatches=2,
        ),
        dict(
            trains=("policy",),
            losses=[
                ("ppo_clip", dict(scale=["seen.rows", 0.25, ("piecewise", dict(first=1.0, then=2.0, boundary=1))])),
                ("k3", dict(scale=0.0)),
                ("k2", dict(scale=0.0, ref_logprobs="slow_logprobs")),
                ("k1", dict(scale=0.0, ref_logprobs="anchor_logprobs")),
            ],
            optimizer=("sgd", dict(learning_rate=0.5)),
            every=2,
            after=1,
        ),
    ],
)


@pytest.fixture(scope="module")
def roles():
    """Host copies of the states after 0 .. 4 iterations of a method with two roles, and the metrics of the iterations."""
    steps = Steps(**ROLES)
    state, history, metrics = steps.job.init(), [], []
    for seed in range(5):
        history.append(jax.tree.map(np.array, jax.device_get(dataclasses.replace(state, key=None))))
        if seed < 4:
            state, seen = steps.learner.train_step(state, jobs.rollout(seed=seed), steps.learner.hyper)
            metrics.append(jax.device_get(seen))
    return steps, history, metrics


def moved(a, b):
    return not np.array_equal(jobs.leaves(a), jobs.leaves(b))


def test_updates_train_their_own_roles_in_their_own_time(roles):
    steps, history, metrics = roles
    assert [bool(m["policy/ran"]) for m in metrics] == [False, True, False, True]  # every 2 from iteration 1 on
    assert [int(m["value/ran"]) for m in metrics] == [4, 4, 4, 4]  # 2 epochs x 2 minibatches
    for i in range(4):
        assert moved(history[i].params["value"], history[i + 1].params["value"])
        assert moved(history[i].params["policy"], history[i + 1].params["policy"]) == (i % 2 == 1)
    assert "mu" in str(history[0].opt["value"]) and "mu" not in str(history[0].opt["policy"])


def test_copies_follow_by_their_rules(roles):
    _, history, _ = roles
    policies = [h.params["policy"] for h in history]
    slow = policies[0]
    for i in range(1, 5):
        slow = jax.tree.map(lambda old, new: 0.75 * old + 0.25 * new, slow, policies[i])
        assert jobs.distance(history[i].copies["slow"]["policy"], slow) < 1e-6
        np.testing.assert_array_equal(jobs.leaves(history[i].copies["ref"]), jobs.leaves(policies[0]))
        np.testing.assert_array_equal(jobs.leaves(history[i].copies["anchor"]["policy"]), jobs.leaves(policies[i - i % 2]))
    assert set(history[0].copies["slow"]) == {"policy"}  # the role whose outputs are read


def test_a_table_is_written_once_after_the_last_update_and_read_before(roles):
    steps, history, _ = roles
    rewards = []
    for i in range(4):
        rollout = jobs.rollout(seed=i)
        rewards += list(rollout.components["correct"][rollout.groups >= 0])
        np.testing.assert_allclose(history[i + 1].tables["baseline"].value, np.mean(rewards), rtol=1e-6)
        assert history[i + 1].tables["seen"].number == i + 1
    # The log-probability that the tracker saw is that of the updated policy: iteration 1 moved the policy, iteration 2 did not.
    for i in range(4):
        expected = logprobs_of(steps, history[i + 1].params, jobs.rollout(seed=i))
        np.testing.assert_allclose(history[i + 1].tables["seen"].logprob, expected[0, 0], rtol=1e-5)


def test_scales_multiply_numbers_schedules_and_tables(roles):
    """In iteration 1 the other factors, a number and a schedule, are 0.25 and 2 beside that of the table."""
    _, _, metrics = roles
    plain = Steps(
        **ROLES
        | dict(updates=[ROLES["updates"][0], ROLES["updates"][1] | dict(losses=[("ppo_clip", dict(scale="seen.rows"))], every=1, after=0)])
        | dict(copies=None)
    )
    state = plain.job.init()
    state, _ = plain.learner.train_step(
        state, jobs.rollout(seed=0), plain.learner.hyper | {"method.updates.1.optimizer.learning_rate": jnp.float32(0.0)}
    )
    _, seen = plain.learner.train_step(state, jobs.rollout(seed=1), plain.learner.hyper)
    assert metrics[1]["policy/gradient_norm"] == pytest.approx(0.25 * 2.0 * float(seen["policy/gradient_norm"]), rel=1e-5)


# -- where ------------------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def scored():
    """-log p over a field named `where`, as a sum: its loss is easily computed by hand."""
    losses = [
        ("negative_log_likelihood", dict(where="span", aggregate="token_sum")),
        ("k1", dict(ref_logprobs="old_logprobs", where="format", aggregate="token_sum")),
    ]
    method = dict(rollouts=(HERE + "spanned", {}), losses=losses, aggregate=None, advantages=[])
    return Steps(**method)


def test_where_of_rows_selects_kept_tokens_and_where_of_tokens_stands_for_itself(scored):
    rng = np.random.default_rng(2)
    span = rng.integers(0, 2, (jobs.ROWS, jobs.T)).astype(np.float32)
    rollout = jobs.rollout(components={"span": span})
    rollout = dataclasses.replace(rollout, components={**rollout.components, "format": np.nan_to_num(rollout.components["format"])})
    _, _, metrics = scored(rollout)
    clean, logprobs = rollout.clean(), logprobs_of(scored, scored.job.init().params, rollout)
    inside = (rollout.groups >= 0)[:, None]
    by_token = inside * span  # masked tokens count, rows that are out do not
    by_row = inside * rollout.mask * clean.components["format"][:, None]
    assert (by_token * ~rollout.mask).any()
    np.testing.assert_allclose(metrics["policy/loss/negative_log_likelihood"], -np.sum(logprobs * by_token), rtol=1e-5)
    np.testing.assert_allclose(metrics["policy/loss/k1"], np.sum((logprobs - clean.old_logprobs) * by_row), rtol=1e-5)


def test_nothing_to_count_takes_no_step(scored):
    """Every coefficient of every term is 0: parameters and optimiser state are kept, though the span is there."""
    rollout = jobs.rollout(components={"span": np.ones((jobs.ROWS, jobs.T), np.float32)})
    everyone_out = dataclasses.replace(rollout, groups=np.full(jobs.ROWS, -1, np.int32))
    before, after, metrics = scored(everyone_out)
    assert metrics["policy/ran"] == 0 and metrics["policy/nonfinite"].sum() == 0
    np.testing.assert_array_equal(jobs.leaves((after.params, after.opt)), jobs.leaves((before.params, before.opt)))
    assert int(after.step) == 1
    before, after, metrics = scored(rollout)
    assert metrics["policy/ran"] == 1 and moved(after.params, before.params)


# -- numbers that are none --------------------------------------------------------------------------------------------------------


def test_a_gradient_that_is_not_finite_skips_the_update_and_is_counted():
    broken = Steps(losses=[(HERE + "root_of_mask", {})], advantages=[])
    finite = jobs.rollout()
    before, after, metrics = broken(dataclasses.replace(finite, old_logprobs=np.where(finite.mask, np.inf, np.nan).astype(np.float32)))
    assert metrics["policy/ran"] == 0 and metrics["policy/nonfinite"].max() == 1 and metrics["policy/nonfinite"].sum() > 1
    np.testing.assert_array_equal(jobs.leaves((after.params, after.opt)), jobs.leaves((before.params, before.opt)))


def test_rows_whose_reward_is_no_number_are_out():
    steps = Steps(rewards=[(HERE + "all_components", {})])
    rollout = jobs.rollout(junk=0.0)
    row = int(np.flatnonzero(rollout.groups >= 0)[2])
    broken = dataclasses.replace(rollout, components={**rollout.components, "format": rollout.components["format"].copy()})
    broken.components["format"][row] = np.nan
    out = dataclasses.replace(rollout, groups=np.where(np.arange(jobs.ROWS) == row, -1, rollout.groups).astype(np.int32))
    _, a, seen = steps(broken)
    _, b, expected = steps(out)
    assert seen["policy/ran"] == 1 and seen["rows"]["rewards"][row] == 0
    np.testing.assert_array_equal(jobs.leaves(a.params), jobs.leaves(b.params))
