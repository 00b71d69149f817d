import jax.numpy as jnp
import jobs
import numpy as np
import pytest

from pojax import binding
from pojax.binding import ConfigError

HERE = "tests.methods_under_test:"
SUM = ("weighted_sum", dict(weights=dict(correct=1.0)))


def bind(**method):
    """The program of GRPO's method with some keys replaced, or left out where None."""
    method = {key: value for key, value in (jobs.GROUP | method).items() if value is not None}
    return jobs.job(jobs.tiny(method=method)).program


def refuses(*words, **method):
    """Binding raises a ConfigError of one line that holds all the words."""
    with pytest.raises(ConfigError) as error:
        bind(**method)
    message = str(error.value)
    assert "\n" not in message
    for word in words:
        assert word in message, message


# -- names ------------------------------------------------------------------------------------------------------------------------


def test_unknown_function_names_the_nearest():
    refuses("method.losses.ppo_clp", "nearest: ppo_clip", losses=[("ppo_clp", {})])
    refuses("method.rewards.weighted", "weighted_sum", rewards=[("weighted", {})])
    refuses("method.curricula", "nearest: uniform", curricula=("uniformly", {}))
    refuses("method.aggregate", "token_mean", aggregate="token_means")
    refuses("optimizer", "adamw", optimizer=("adam", dict(learning_rate=0.1)))
    refuses("method.losses", "cannot import 'no_such_module'", losses=[("no_such_module:f", {})])
    refuses("whiten_by_current", advantages=[(HERE + "whiten_by_curent", {})])


def test_an_aggregation_is_no_loss():
    refuses("method.losses.token_mean", losses=[("token_mean", {})])


def test_unknown_keyword_names_the_nearest():
    refuses("method.losses.ppo_clip.epsilon_hi", "nearest: epsilon_high", losses=[("ppo_clip", dict(epsilon_hi=0.2))])
    refuses("method.rollouts.number", "no parameter", rollouts=("independent", dict(number=4)))
    refuses("optimizer.rate", "learning_rate", optimizer=("adamw", dict(rate=0.1)))


def test_unknown_field_names_the_nearest():
    refuses("group_normalize", "'reward'", "nearest: rewards", advantages=[("group_normalize", dict(rewards="reward"))])
    refuses("method.losses.k3.scale", "noise", losses=[("k3", dict(scale="noise"))])
    refuses("method.losses.k3.where", "kept", "keep", losses=[("k3", dict(where="kept"))])
    refuses("weights.corect", "nearest: correct", rewards=[("weighted_sum", dict(weights=dict(corect=1.0)))])
    refuses("no_baseline", "subtract_baseline", advantages=[("subtract_baseline", dict(baseline="no_baseline"))])


def test_missing_hyper_parameter():
    refuses("method.rewards.sequence_kl_penalty.coefficient", "needs", rewards=[SUM, ("sequence_kl_penalty", {})])
    refuses("method.aggregate.length", "needs", aggregate=("constant", {}))


def test_found_twice():
    refuses("'tokens'", "found twice", trackers=dict(tokens=(HERE + "counter", {})))
    refuses("'correct'", "found twice", trackers=dict(correct=(HERE + "counter", {})))
    refuses("found twice", "ref_logprobs", copies=dict(ref=("frozen", {})), views=dict(ref=dict(tokens="tokens")))
    refuses("two updates are named 'policy'", **two_updates("policy", "policy"))


def two_updates(first, second):
    one = dict(losses=jobs.GROUP["losses"])
    return dict(updates=[one | dict(name=first), one | dict(name=second)], losses=None, aggregate=None)


def test_two_updates_stand_beside_no_flat_keys():
    method = {k: v for k, v in jobs.GROUP.items() if k != "aggregate"} | dict(updates=[dict(losses=[("ppo_clip", {})])])
    with pytest.raises(ConfigError, match="method.losses: stands beside `updates`"):
        jobs.job(jobs.tiny(method=method))
    with pytest.raises(ConfigError, match="epoch: unknown key of a method; nearest: epochs"):
        jobs.job(jobs.tiny(method=jobs.GROUP | dict(epoch=1)))
    with pytest.raises(ConfigError, match="method.updates.0.minibatch: unknown key of an update; nearest: minibatches"):
        jobs.job(
            jobs.tiny(
                method={k: v for k, v in method.items() if k != "losses"} | dict(updates=[dict(losses=[("ppo_clip", {})], minibatch=2)])
            )
        )


def test_a_rule_may_not_write_what_is_given():
    refuses("writes 'tokens'", "given by rollout", "writable: rewards", advantages=[("group_normalize", dict(writes="tokens"))])
    refuses("writes 'correct'", advantages=[("group_normalize", dict(writes="correct"))])


def test_a_written_field_that_nothing_reads():
    refuses("nothing reads 'other'", advantages=[("group_normalize", {}), ("group_center", dict(writes="other"))])
    refuses("nothing reads this table", "method.trackers.baseline", trackers=dict(baseline=("running_mean", {})))
    refuses("nothing reads this copy", "method.copies.slow", copies=dict(slow=("ema", dict(decay=0.9))))
    refuses("nothing reads this head", heads=dict(margin=(HERE + "margin_head", dict(noise="correct"))))
    refuses("nothing reads 'advantages'", losses=[("negative_log_likelihood", {})])


def test_entries_of_the_wrong_form():
    refuses("method.rewards", "allowed: a list of entries", rewards=SUM)
    refuses("method.rewards.0", "allowed: an entry", rewards=["weighted_sum"])
    refuses("method.rollouts.inner", "function object", rollouts=("refill", dict(inner=lambda: None)))
    refuses("method.rollouts", "needs a rollout arrangement", rollouts=None)
    refuses("needs `losses` or `updates`", losses=None, aggregate=None)


# -- what is bound to what --------------------------------------------------------------------------------------------------------


def test_data_are_renamed_and_values_written_where_the_entry_says():
    program = bind(
        advantages=[("group_center", dict(groups="difficulty", writes="by_level")), ("group_normalize", dict(rewards="by_level"))]
    )
    first, second = program.advantages
    assert first.reads == {"rewards": "rewards", "groups": "difficulty"} and first.writes == ("by_level",)
    assert second.reads["rewards"] == "by_level" and second.writes == ("advantages",)


def test_declared_writes_and_their_override():
    two = HERE + "two_values"
    program = bind(advantages=[(two, {}), ("subtract_baseline", dict(rewards="intra", baseline="inter"))])
    assert program.advantages[0].writes == ("intra", "inter")
    program = bind(advantages=[(two, dict(writes=("a", "b"))), ("subtract_baseline", dict(rewards="a", baseline="b"))])
    assert program.advantages[0].writes == ("a", "b")
    refuses("writes a but gives 2 values", advantages=[(two, dict(writes="a")), ("group_center", dict(rewards="a"))])
    refuses("method.losses.ppo_clip.writes", losses=[("ppo_clip", dict(writes="x"))])


def test_hyper_parameters_are_traced_unless_they_are_static():
    program = bind(advantages=[("group_normalize", dict(ddof=0))])
    (rule,) = program.advantages
    assert rule.static == {"ddof": 0} and rule.traced == {"epsilon": "method.advantages.group_normalize.epsilon"}
    assert program.numbers["method.advantages.group_normalize.epsilon"] == 1e-6  # defaults are there too
    (term,) = program.updates[0].terms
    assert term.loss.static == {"epsilon_high": None, "dual_clip": None}
    refuses("ddof", "static", advantages=[("group_normalize", dict(ddof=0.5))])
    refuses("epsilon", "True", losses=[("ppo_clip", dict(epsilon=True))])


def test_every_float_is_an_array_of_the_default_type():
    hyper = binding.hyper_arrays(bind().numbers)
    assert all(x.dtype == jnp.result_type(float) and not x.weak_type for x in hyper.values())
    assert {"method.losses.ppo_clip.epsilon", "method.losses.ppo_clip.scale", "optimizer.learning_rate", "sampling.top_p"} <= set(hyper)
    assert {"method.rollouts.temperature", "method.rewards.weighted_sum.weights.correct"} <= set(hyper)


def test_schedules_are_data():
    program = bind(losses=[("ppo_clip", dict(epsilon=("linear", dict(start=0.4, end=0.2, steps=10))))])
    arrays = binding.hyper_arrays(program.numbers)
    path = "method.losses.ppo_clip.epsilon"
    assert set(arrays[path]) == {"start", "end", "steps"}
    values = [float(binding.resolve(program.numbers, arrays, jnp.int32(step))[path]) for step in (0, 5, 10, 99)]
    np.testing.assert_allclose(values, [0.4, 0.3, 0.2, 0.2], rtol=1e-6)
    refuses("epsilon.stop", "nearest: steps", losses=[("ppo_clip", dict(epsilon=("linear", dict(start=1.0, end=0.1, stop=3))))])
    refuses("epsilon.steps", "none was given", losses=[("ppo_clip", dict(epsilon=("linear", dict(start=0.4, end=0.1))))])
    refuses("no function 'lineal'", "nearest: linear", losses=[("ppo_clip", dict(epsilon=("lineal", {})))])


@pytest.mark.parametrize(
    "schedule",
    [
        ("linear", dict(start=0.2, end=-0.1, steps=50)),  # only late
        ("piecewise", dict(first=-0.1, then=0.2, boundary=3)),  # only early
        ("warmup_cosine", dict(peak=-0.5, warmup=4, steps=20)),
    ],
)
def test_ranges_of_schedules_are_checked_at_start_up(schedule):
    refuses("method.losses.ppo_clip", "epsilon is -", "allowed: [0, inf]", losses=[("ppo_clip", dict(epsilon=schedule))])


def test_a_peak_in_the_middle_of_a_schedule_is_checked():
    warmup = ("warmup_cosine", dict(peak=1.5, warmup=7, steps=20))  # 0.21 at first, 0 at last
    refuses("factor is 1.", "allowed: [0, 1]", advantages=[(HERE + "times", dict(factor=warmup))])


@pytest.mark.parametrize(
    "method, words",
    [
        (dict(losses=[("ppo_clip", dict(epsilon=-0.1))]), ("epsilon is -0.1",)),
        (dict(aggregate=("constant", dict(length=0.0))), ("method.aggregate", "length is 0")),
        (dict(rollouts=("independent", dict(samples=0))), ("samples is 0",)),
        (dict(rollouts=("independent", dict(temperature=-1.0))), ("temperature is -1",)),
        (dict(losses=[("ppo_clip", {}), ("k3", {})], copies=dict(ref=("refreshed", dict(every=0)))), ("method.copies.ref", "every is 0")),
        (dict(microbatches=5), ("method.microbatches", "5 does not divide 32 rows", "allowed: 1, 2, 4, 8, 16, 32")),
        (dict(epochs=0), ("method.epochs", "found 0")),
        (dict(every=1.5), ("method.every", "found 1.5")),
    ],
)
def test_ranges_of_numbers_are_checked_at_start_up(method, words):
    refuses(*words, **method)


def test_a_hyper_parameter_may_be_a_field():
    program = bind(advantages=[(HERE + "times", dict(factor="format"))], losses=[(HERE + "score", dict(weight="advantages"))])
    assert program.advantages[0].field_hypers == {"factor": "format"} and program.updates[0].terms[0].loss.columns
    bound = program.updates[0].terms[0].loss
    scope = {"logprobs": jnp.ones((2, 3)), "advantages": jnp.array([1.0, 2.0])}
    np.testing.assert_array_equal(bound(scope, {}), -np.array([[1.0] * 3, [2.0] * 3]))  # [B] arrives as [B, 1]


def test_weights_name_fields_wherever_they_were_written():
    two = (HERE + "two_values", {})
    program = bind(
        rewards=[SUM, ("weighted_sum", dict(weights=dict(rewards=2.0, format=0.5)))],
        advantages=[two, ("beta_normalize_each", dict(weights=dict(inter=1.0, intra=0.0)))],
    )
    second = program.rewards[1]
    assert second.names() == {"rewards", "format"}
    scope = {"rewards": jnp.array([1.0, 3.0]), "format": jnp.array([1.0, 0.0]), "correct": jnp.array([jnp.nan, jnp.nan])}
    paths = second.weights["weights"]
    np.testing.assert_allclose(second(scope, {paths["rewards"]: 2.0, paths["format"]: 0.5}), [2.5, 6.0])
    refuses("weights", "allowed: a dict", rewards=[("weighted_sum", dict(weights={}))])


def test_components_and_labels_may_be_read_whole():
    program = bind(rewards=[(HERE + "all_components", dict(factor=2.0))])
    (rule,) = program.rewards
    scope = {"components": {"correct": jnp.array([1.0]), "format": jnp.array([3.0])}, "labels": {}}
    np.testing.assert_array_equal(rule(scope, {"method.rewards.tests.methods_under_test:all_components.factor": 2.0}), [8.0])


def test_callable_parameters_take_entries():
    program = bind(advantages=[(HERE + "apply_twice", dict(inner=(HERE + "times", dict(factor=0.25))))])
    (rule,) = program.advantages
    assert rule.names() >= {"rewards"} and list(rule.all_numbers().values()) == [0.25]
    (path,) = rule.all_numbers()
    np.testing.assert_allclose(rule({"rewards": jnp.ones(3)}, {path: jnp.float32(0.25)}), 1 / 16)
    program = bind(rollouts=("refill", dict(inner=("independent", dict(samples=4, temperature=0.7)))))
    assert program.arrangement.rules["inner"].static == {"samples": 4} and "method.rollouts.inner.temperature" in program.numbers
    refuses("method.rollouts.inner.sampels", "samples", rollouts=("refill", dict(inner=("independent", dict(sampels=4)))))


def test_optional_data_never_cause_a_forward_pass():
    rule = HERE + "with_optional"
    program = bind(advantages=[(rule, {})])
    assert set(program.advantages[0].reads) == {"rewards", "lengths"} and program.before == ()
    program = bind(advantages=[(rule, dict(ref_logprobs="ref_logprobs"))])
    assert program.advantages[0].reads["ref_logprobs"] == "ref_logprobs" and program.before == ("ref_logprobs",)
    refuses("ref_logprops", "nearest: ref_logprobs", advantages=[(rule, dict(ref_logprobs="ref_logprops"))])  # even if optional


def test_forward_passes_run_only_for_what_is_read():
    assert bind().before == () and bind().copies == {} and bind().updates[0].outputs == ("logprobs",)
    program = bind(losses=[("ppo_clip", {}), ("k3", {}), ("entropy_bonus", dict(scale=0.01))])
    assert program.before == ("ref_logprobs",) and set(program.copies) == {"ref"}
    assert set(program.updates[0].outputs) == {"entropy", "logprobs", "ref_logprobs"}


def test_paths_into_tables():
    program = bind(advantages=[("subtract_baseline", dict(baseline="mean.value"))], trackers=dict(mean=("running_mean", {})))
    assert program.advantages[0].reads["baseline"] == "mean.value"
    bind(trackers=dict(mean=("running_mean", {})), losses=[("ppo_clip", dict(scale="mean.value"))])
    refuses("'mean' has no 'valve'", trackers=dict(mean=("running_mean", {})), losses=[("ppo_clip", dict(scale="mean.valve"))])


def test_names_of_labels_keep_blocks_whole():
    assert not bind().updates[0].whole
    assert bind(aggregate="group_mean").updates[0].whole
    refuses("does not divide 8 blocks of 4 rows", "allowed: 1, 2, 4, 8", aggregate="group_mean", microbatches=16)
    assert bind(microbatches=16).updates[0].microbatches == 16


def test_per_minibatch_fields_belong_to_their_update():
    spread = ("tests.methods_under_test:spread", dict(writes="spread"))
    one = dict(name="one", per_minibatch=[spread], losses=[("ppo_clip", dict(scale="spread"))])
    method = {k: v for k, v in jobs.GROUP.items() if k not in ("losses", "aggregate")}
    assert jobs.job(jobs.tiny(method=method | dict(updates=[one]))).program.updates[0].rule_outputs == ("logprobs",)
    two = dict(name="two", losses=[("ppo_clip", dict(scale="spread"))])
    with pytest.raises(ConfigError, match="method.updates.two.losses.ppo_clip.scale: nothing provides the field 'spread'"):
        jobs.job(jobs.tiny(method=method | dict(updates=[one, two])))


def test_views_must_be_there_in_time():
    views = dict(previous=dict(tokens="previous_tokens"))
    lookup = ("lookup", dict(column="prompts.tokens", writes="previous_tokens"))
    with pytest.raises(ConfigError, match="computed before 'previous_tokens' is written"):
        method = dict(
            advantages=[lookup, ("group_normalize", {})], views=views, losses=[("ppo_clip", dict(old_logprobs="start_previous_logprobs"))]
        )
        bind(**method, trackers=dict(prompts=("single_stream", {})))
    refuses("method.views.previous", "allowed: tokens", views=dict(previous=dict(mask="mask")))


# -- functions of one's own in every slot -----------------------------------------------------------------------------------------

SLOTS = {
    "curricula": dict(curricula=(HERE + "first_prompts", {})),
    "rollouts": dict(rollouts=(HERE + "labelled", dict(noise=0.1))),
    "rewards": dict(rewards=[(HERE + "all_components", {})]),
    "advantages": dict(advantages=[(HERE + "times", {})]),
    "per_minibatch": dict(per_minibatch=[(HERE + "whiten_by_current", {})]),
    "losses": dict(losses=[(HERE + "score", dict(weight="advantages"))]),
    "aggregate": dict(aggregate=(HERE + "plain_sum", dict(divisor=3.0))),
    "aggregate of a term": dict(losses=[("ppo_clip", dict(aggregate=HERE + "plain_sum"))]),
    "trackers": dict(trackers=dict(count=(HERE + "counter", dict(start=1, by=2.0))), losses=[("ppo_clip", dict(scale="count.rows"))]),
    "optimizer": dict(optimizer=(HERE + "halved", dict(learning_rate=0.1))),
    "copies": dict(copies=dict(ref=(HERE + "opposite", {})), losses=[("ppo_clip", {}), ("k3", {})]),
    "schedules": dict(losses=[("ppo_clip", dict(epsilon=(HERE + "step_squared", dict(scale=0.01))))]),
    "heads": dict(
        heads=dict(margin=(HERE + "margin_head", dict(noise="format"))), losses=[("ppo_clip", {}), (HERE + "margin_loss", dict(scale=0.1))]
    ),
}
OTHERS = {
    "task": dict(task=(HERE + "small_sums", dict(digits=1))),
    "model": dict(model=(HERE + "small_model", dict(layers=2))),
    "processor": {"sampling.processor": HERE + "only_nines"},
    "default optimizer": dict(optimizer=(HERE + "halved", dict(learning_rate=0.1))),
}


@pytest.mark.parametrize("slot", SLOTS)
def test_functions_of_ones_own_in_the_method(slot):
    program = bind(**SLOTS[slot])
    (update,) = program.updates
    everything = [program.curriculum, program.arrangement, *program.rewards, *program.advantages, *update.per_minibatch, update.optimizer]
    everything += [b for t in update.terms for b in (t.loss, t.aggregate)] + [b for pair in program.trackers.values() for b in pair]
    everything += [*program.copies.values(), *program.heads.values()]
    functions = {b.fn.__module__ for b in everything} | {n[0].__module__ for n in program.numbers.values() if isinstance(n, tuple)}
    assert "tests.methods_under_test" in functions


@pytest.mark.parametrize("slot", OTHERS)
def test_functions_of_ones_own_outside_the_method(slot):
    made = jobs.job(jobs.tiny(method=jobs.GROUP, **OTHERS[slot]))
    functions = [made.source.processor, made.program.updates[0].optimizer.fn]
    assert any(f is not None and f.__module__ == "tests.methods_under_test" for f in functions) or slot in ("task", "model")
    assert made.model["policy"].layers == (2 if slot == "model" else 1)


def test_a_tracker_must_be_one():
    refuses("is no tracker", trackers=dict(t=(HERE + "score", {})))


def test_budgets_reach_the_arrangement():
    program = bind(curricula=(HERE + "with_budgets", {}), rollouts=(HERE + "budgeted", {}))
    assert program.fields["budget"].shape == (16,)
    refuses("method.rollouts", rollouts=(HERE + "budgeted", {}))  # uniform writes none


# -- shapes -----------------------------------------------------------------------------------------------------------------------


def test_shapes_are_checked_at_start_up():
    refuses(
        "method.advantages.group_normalize",
        "rewards has shape [32, 3], allowed: [B]",
        advantages=[("group_normalize", dict(rewards="old_logprobs"))],
    )
    refuses("method.losses.ppo_clip.where", "prompt_tokens", losses=[("ppo_clip", dict(where="prompt_tokens"))])


def test_policy_step_is_a_field():
    assert bind().fields["policy_step"].shape == (32,)


def test_old_entropy_and_solutions_are_there_where_something_reads_them():
    assert not jobs.job(jobs.tiny(method=jobs.GROUP)).source.entropy
    assert jobs.job(jobs.tiny(method=jobs.GROUP, run__diagnostics=True)).source.entropy
    method = jobs.GROUP | dict(losses=[("ppo_clip", dict(scale="old_entropy"))])
    made = jobs.job(jobs.tiny(method=method))
    assert made.source.entropy and made.source.solutions is None
    assert jobs.job(jobs.tiny("sft")).source.solutions is not None
