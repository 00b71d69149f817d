"""Rows beside those that were sampled: worked solutions, replayed responses, responses of another temperature."""

import dataclasses

import jax
import jax.numpy as jnp
import jobs
import numpy as np
import pytest

from pojax import models
from pojax.binding import ConfigError
from pojax.tasks import encode_solutions

pytestmark = pytest.mark.slow
INNER = ("independent", dict(samples=4))
ROWS = 5  # of a block: four sampled ones and the added one
CONFIGS = (
    *("rollout_correction_icepop", "rollout_correction_sequence", "rollout_correction_geometric", "rollout_correction_bypass"),
    *("rollout_correction_bypass_reinforce", "rft", "pf_ppo", "chord", "hpt", "one_token_rollout", "aepo", "repo_replay"),
)


@pytest.fixture(autouse=True, scope="module")
def quick_compilation():
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


def host(tree):
    return jax.tree.map(np.array, tree)


def job(rollouts, host_verifier=False, **method):
    config = jobs.tiny(method=jobs.GROUP | dict(rollouts=rollouts) | method)
    if not host_verifier:
        return jobs.job(config)
    with pytest.MonkeyPatch.context() as patch:
        from pojax import build

        real = build.make_task
        patch.setattr(build, "make_task", lambda tree: {k: dataclasses.replace(t, verify_tokens=None) for k, t in real(tree).items()})
        return jobs.job(config)


def collect(made):
    learner, state = made.phases[-1].learner, made.init()
    return host(learner.collect(state, learner.hyper)[0])


def logprobs_of(made, batch, temperature=1.0):
    params = made.init().params["policy"]
    given = batch.prompt_tokens, batch.prompt_mask, batch.tokens
    return np.asarray(models.token_outputs(params, made.model["policy"], *given, temperature, ("logprobs",))["logprobs"])


# -- expert rows ------------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def joined():
    made = job(("experts", dict(inner=INNER)))
    return made, collect(made)


def test_the_solution_joins_the_group_of_its_prompt(joined):
    made, batch = joined
    assert batch.tokens.shape[0] == jobs.PROMPTS * ROWS and batch.block == ROWS
    expert = batch.components["expert"].reshape(-1, ROWS)
    np.testing.assert_array_equal(expert, np.tile([0, 0, 0, 0, 1], (jobs.PROMPTS, 1)))
    np.testing.assert_array_equal(batch.components["sampled"], 1 - batch.components["expert"])
    np.testing.assert_array_equal(batch.groups, np.repeat(np.arange(jobs.PROMPTS), ROWS))
    assert (batch.prompt_index.reshape(-1, ROWS) == batch.prompt_index.reshape(-1, ROWS)[:, :1]).all()
    tokens, mask = encode_solutions(made.tasks["train"], jobs.T)
    rows = expert.reshape(-1) == 1
    np.testing.assert_array_equal(batch.tokens[rows], tokens[batch.prompt_index[rows]])
    np.testing.assert_array_equal(batch.mask[rows], mask[batch.prompt_index[rows]])
    assert (batch.components["correct"][rows] == 1).all() and not batch.truncated[rows].any()


def test_pools_are_the_rows_of_one_origin(joined):
    _, batch = joined
    pools = batch.labels["pools"].reshape(-1, ROWS)
    np.testing.assert_array_equal(pools[:, :4], np.repeat(np.arange(jobs.PROMPTS)[:, None], 4, 1))
    assert len(set(pools[:, 4])) == jobs.PROMPTS and not set(pools[:, 4]) & set(pools[:, 0])


def test_the_anchor_of_expert_rows(joined):
    made, batch = joined
    rows = batch.components["expert"] == 1
    expected = np.where(batch.mask, logprobs_of(made, batch), 0)
    np.testing.assert_allclose(batch.old_logprobs, expected, atol=1e-4)  # of sampled rows the sampler's, of expert rows evaluated
    assert (batch.rollout_logprobs[rows] == 0).all() and (batch.temperature[rows] == 1).all()
    certain = collect(job(("experts", dict(inner=INNER, anchor="one"))))
    np.testing.assert_array_equal(certain.old_logprobs[rows], 0)
    np.testing.assert_array_equal(certain.tokens, batch.tokens)


def test_solutions_of_prompts_of_their_own():
    batch = collect(job(("experts", dict(inner=INNER, own=True))))
    groups, index = batch.groups.reshape(-1, ROWS), batch.prompt_index.reshape(-1, ROWS)
    assert len(set(groups[:, 4])) == jobs.PROMPTS and not set(groups[:, 4]) & set(groups[:, 0])
    assert (index[:, 4] != index[:, 0]).any()
    assert (batch.components["correct"].reshape(-1, ROWS)[:, 4] == 1).all()


def test_blocks_that_are_out_have_no_expert_row():
    here = "tests.methods_under_test:"
    batch = collect(job(("experts", dict(inner=("refill", dict(inner=(here + "half_right", {}), rounds=1))))))
    groups = batch.groups.reshape(-1, ROWS)
    assert (groups == groups[:, :1]).all() and (groups < 0).any() and (groups >= 0).any()


def test_a_host_verifier_gives_the_same(joined):
    _, batch = joined
    other = collect(job(("experts", dict(inner=INNER)), host_verifier=True))
    for name in ("tokens", "mask", "groups", "prompt_index"):
        np.testing.assert_array_equal(getattr(other, name), getattr(batch, name))
    np.testing.assert_allclose(other.old_logprobs, batch.old_logprobs, atol=1e-5)
    np.testing.assert_array_equal(other.components["correct"], batch.components["correct"])


def test_what_is_refused():
    with pytest.raises(ConfigError, match=r"anchor is 'ref', allowed: \{policy, one\}"):
        job(("experts", dict(inner=INNER, anchor="ref")))
    with pytest.raises(ConfigError, match="parts is 9, allowed: 1 to 8, the number of prompts"):
        job(("retempered", dict(inner=INNER, temperature=1.2, parts=9)))
    tracker = dict(buffer=("replay_buffer", dict(size=4)))
    with pytest.raises(ConfigError, match="rows is 5, allowed: at most 4, the size of the buffer"):
        job(("replay", dict(inner=INNER, rows=5)), trackers=tracker)


# -- retempered rows --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("anchor", ["policy", "sampler"])
def test_retempered_rows(anchor):
    made = job(("retempered", dict(inner=INNER, temperature=0.3, parts=4, anchor=anchor)))
    batch, n = collect(made), jobs.PROMPTS * 4
    assert batch.tokens.shape[0] == n + 8 and batch.block == 4
    np.testing.assert_array_equal(batch.components["retempered"], np.arange(n + 8) >= n)
    np.testing.assert_array_equal(batch.components["sampled"], np.arange(n + 8) < n)
    np.testing.assert_array_equal(batch.prompt_index[n:], batch.prompt_index[:8])
    assert not set(batch.groups[n:]) & set(batch.groups[:n]) and len(set(batch.groups[n:])) == 2
    assert not set(batch.labels["pools"][n:]) & set(batch.labels["pools"][:n])
    added = jax.tree.map(lambda x: x[n:], batch)
    sharp, plain = (np.where(added.mask, logprobs_of(made, added, t), 0) for t in (0.3, 1.0))
    np.testing.assert_allclose(added.rollout_logprobs, sharp, atol=1e-4)
    np.testing.assert_allclose(added.old_logprobs, plain if anchor == "policy" else sharp, atol=1e-4)
    np.testing.assert_allclose(added.temperature, 1.0 if anchor == "policy" else 0.3, rtol=1e-6)
    assert np.abs(sharp - plain).max() > 0.1


# -- replay -----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("strategy", ["recent", "highest"])
def test_replayed_rows_are_those_of_earlier_iterations(strategy):
    """Ten prompts, eight of them in every iteration; two are kept of each iteration's four, once four are stored."""
    weights = dict(correct=1.0, format=0.5)
    made = job(
        ("replay", dict(inner=INNER, rows=2, strategy=strategy, minimum=4)),
        curricula=("uniform_subset", dict(size=10)),
        trackers=dict(buffer=("replay_buffer", dict(size=4))),
        rewards=[("weighted_sum", dict(weights=weights))],
        advantages=[("group_normalize", dict(groups="pools", epsilon=1e-4))],
    )
    learner, state = made.phases[-1].learner, made.init()
    stored: dict[int, list] = {}
    seen = 0
    for step in range(4):
        batch, source = learner.collect(state, learner.hyper)
        rows, kept = host(batch), {}
        for b in range(len(rows.groups)):
            prompt = int(rows.prompt_index[b])
            entry = (tuple(rows.tokens[b]), tuple(rows.mask[b]), tuple(np.round(rows.old_logprobs[b], 5)), int(rows.policy_step[b]))
            reward = sum(w * float(rows.components[name][b]) for name, w in weights.items())
            if rows.components["sampled"][b]:
                assert rows.policy_step[b] == step and not rows.components["replayed"][b]
                kept.setdefault(prompt, []).append((entry, reward))
            elif len(stored.get(prompt, [])) < 4:
                assert rows.groups[b] == -1
            else:
                seen += 1
                assert rows.groups[b] == rows.groups[b - b % 6] >= 0 and rows.components["replayed"][b] == 1
                assert rows.labels["pools"][b] != rows.labels["pools"][b - b % 6]
                candidates = stored[prompt][-2:]
                if strategy == "highest":
                    candidates = sorted(stored[prompt], key=lambda x: -x[1])[:2]
                assert reward in [r for _, r in candidates]
                assert entry in [e for e, r in stored[prompt] if strategy == "recent" or r == reward]
        for prompt, entries in kept.items():
            stored[prompt] = (stored.get(prompt, []) + entries)[-4:]
        state, metrics = learner.train_step(dataclasses.replace(state, source=source), batch, learner.hyper)
        assert metrics["policy/ran"] == 1 and np.all(metrics["policy/nonfinite"] == 0)
    assert seen > 20
    for prompt, entries in stored.items():
        np.testing.assert_allclose(sorted(r for _, r in entries), np.sort(state.tables["buffer"].rewards[prompt]), rtol=1e-6)


# -- the methods ------------------------------------------------------------------------------------------------------------------


def test_the_sampler_of_the_rollout_corrections_differs_from_the_learner():
    """To both sides, so that weights and rejections have something to do."""
    batch = collect(jobs.job(jobs.tiny("rollout_correction_icepop")))
    difference = (batch.old_logprobs - batch.rollout_logprobs)[batch.mask]
    assert difference.min() < -1e-4 and difference.max() > 1e-4


@pytest.mark.parametrize("name", CONFIGS)
def test_an_iteration_keeps_the_shapes_of_the_state(name):
    """Abstractly: a leaf that changed would make the second iteration compile again."""
    made = jobs.job(jobs.tiny(name))
    learner, before = made.phases[-1].learner, jax.eval_shape(made.init)
    after, _ = jax.eval_shape(learner.iteration, before, learner.hyper)
    assert jax.tree.structure(after) == jax.tree.structure(before)
    for a, b in zip(jax.tree.leaves(after), jax.tree.leaves(before), strict=True):
        assert (a.shape, a.dtype, a.weak_type) == (b.shape, b.dtype, b.weak_type)


def iterate(name, steps=2, **changes):
    made = jobs.job(jobs.tiny(name, **changes))
    learner, state, seen = made.phases[-1].learner, made.init(), []
    step = jax.jit(learner.iteration)
    for _ in range(steps):
        before = host(state.params)
        state, metrics = step(state, learner.hyper)
        seen.append((host(metrics), jobs.distance(state.params, before)))
    return made, state, seen


def test_hybrid_training_learns_solutions_while_nothing_is_solved():
    """Prompts weigh the same; of those that are not solved the loss is the likelihood of the solution, with the ratio 1 of its own."""
    made, _, seen = iterate("hpt", steps=1)
    metrics, moved = seen[0]
    assert moved > 1e-4
    rewards = metrics["rows"]["rewards"].reshape(-1, ROWS)
    solved = rewards[:, :4].sum(1) > 0
    assert (rewards[:, 4] == 1).all() and not solved.all()
    # A solved prompt's advantages add up to 0 over rows; -stable * A * 1 is -1 for every token of a solution.
    if not solved.any():
        assert metrics["policy/loss/unified_policy_gradient"] == pytest.approx(-1.0, rel=1e-5)


def test_chord_shifts_from_solutions_to_samples():
    changes = {f"method__losses__{name}__scale__warmup": 0.0 for name in ("ppo_clip", "weighted_likelihood")}
    _, _, seen = iterate("chord", steps=1, method__minibatches=1, **changes)
    metrics, moved = seen[0]
    assert moved > 1e-6
    p = 1 / 13  # about: a random policy over the vocabulary
    assert metrics["policy/loss/weighted_likelihood"] == pytest.approx(0.5 * p * (1 - p) * np.log(1 / p), rel=0.8)


def test_one_token_rollouts_raise_the_likelihood_of_solutions():
    made = jobs.job(jobs.tiny("one_token_rollout", optimizer=("adamw", dict(learning_rate=3e-3))))
    learner, state = made.phases[-1].learner, made.init()
    tokens, mask = encode_solutions(made.tasks["train"], jobs.T)
    prompts = made.source.prompts

    def likelihood(params):
        given = (jnp.asarray(x) for x in (prompts.tokens, prompts.mask, tokens))
        outputs = models.token_outputs(params["policy"], made.model["policy"], *given, 1.0, ("logprobs",))
        return float(jnp.sum(outputs["logprobs"] * mask) / mask.sum())

    before = likelihood(state.params)
    step = jax.jit(learner.iteration)
    for _ in range(60):
        state, metrics = step(state, learner.hyper)
    assert np.isfinite(metrics["policy/loss"]) and likelihood(state.params) > before + 0.3


def test_aepo_writes_the_temperature_of_the_next_iteration():
    _, state, seen = iterate("aepo", steps=2, method__minibatches=1)
    table = state.tables["entropy_control"]
    assert table.entropy > 1.0 and bool(table.above) and table.temperature == np.float32(0.8)  # a random policy has much entropy
    assert all(np.isfinite(m["policy/loss"]) for m, _ in seen)
