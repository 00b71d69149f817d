import importlib
import json

import jobs
import numpy as np
import pytest

from pojax import commands
from pojax.binding import ConfigError
from pojax.build import build
from pojax.config import differing, load, override, parse_value, plain, to_json, validate

HERE = "tests.methods_under_test:"


@pytest.fixture(scope="module")
def base():
    return importlib.import_module("configs.grpo").get_config()


# -- overrides --------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path, value, read",
    [
        ("run.steps", 7, lambda c: c["run"]["steps"]),
        ("seed", 3, lambda c: c["seed"]),
        ("method.losses.ppo_clip.epsilon", 0.3, lambda c: c["method"]["losses"][0][1]["epsilon"]),
        ("method.losses.0.epsilon", 0.3, lambda c: c["method"]["losses"][0][1]["epsilon"]),
        ("method.losses.ppo_clip.dual_clip", 3.0, lambda c: c["method"]["losses"][0][1]["dual_clip"]),  # a keyword not spelt out before
        ("method.losses.k3", "k2", lambda c: c["method"]["losses"][1][0]),
        ("method.rewards.weighted_sum.weights.correct", 2.0, lambda c: c["method"]["rewards"][0][1]["weights"]["correct"]),
        ("method.rollouts.samples", 16, lambda c: c["method"]["rollouts"][1]["samples"]),
        ("method.rollouts.independent.samples", 16, lambda c: c["method"]["rollouts"][1]["samples"]),
        ("method.minibatches", 2, lambda c: c["method"]["minibatches"]),
        ("method.aggregate", "token_mean", lambda c: c["method"]["aggregate"]),
        ("task.digits", 3, lambda c: c["task"][1]["digits"]),
        ("optimizer.learning_rate", 1e-4, lambda c: c["optimizer"][1]["learning_rate"]),
        ("optimizer.adamw.learning_rate", ("linear", dict(start=1.0)), lambda c: tuple(c["optimizer"][1]["learning_rate"])),
        ("warm_start", None, lambda c: c["warm_start"]),
    ],
)
def test_a_path_leads_to_its_value(base, path, value, read):
    before = plain(base)
    changed = plain(override(base, {path: value}))
    assert read(changed) == value and plain(base) == before
    differences = differing(to_json(before), to_json(changed))
    assert differences and all(d.startswith(path.split(".")[0]) for d in differences)


def test_replacing_a_function_keeps_its_keywords_and_an_entry_replaces_both(base):
    changed = plain(override(base, {"method.losses.ppo_clip": "policy_gradient"}))
    assert tuple(changed["method"]["losses"][0]) == ("policy_gradient", {"epsilon": 0.2})
    changed = plain(override(base, {"method.losses.ppo_clip": ("policy_gradient", {})}))
    assert tuple(changed["method"]["losses"][0]) == ("policy_gradient", {})


def test_names_of_ones_own_functions_hold_dots(base):
    config = override(base, {"method.losses": [(HERE + "score", {}), ("k3", {})]})
    changed = plain(override(config, {f"method.losses.{HERE}score.weight": 2.0, f"method.losses.{HERE}score.scale": 0.5}))
    assert changed["method"]["losses"][0][1] == {"weight": 2.0, "scale": 0.5}


def test_positions_of_a_name_that_is_not_unique(base):
    config = override(base, {"method.losses": [("k3", dict(scale=0.1)), ("k3", dict(scale=0.2))]})
    assert plain(override(config, {"method.losses.1.scale": 0.3}))["method"]["losses"][1][1] == {"scale": 0.3}
    with pytest.raises(ConfigError, match=r"method.losses.k3.scale: 'k3' stands 2 times in the list; write its index \(0 to 1\)"):
        override(config, {"method.losses.k3.scale": 0.3})


@pytest.mark.parametrize(
    "path, message",
    [
        ("run.step", "run.step: no key 'step'; nearest: steps"),
        ("metod.losses", "metod.losses: no key 'metod'; nearest: method"),
        ("method.losses.ppo_clp.epsilon", "no entry 'ppo_clp' in the list; nearest: ppo_clip, or an index"),
        ("method.minibatch", "nearest: minibatches"),
        ("seed.number", "'number' leads nowhere: what stands there is 0"),
        ("method.losses.7.epsilon", "no entry '7' in the list"),
    ],
)
def test_paths_that_lead_nowhere(base, path, message):
    with pytest.raises(ConfigError, match=message.replace("(", r"\(")):
        override(base, {path: 1})


def test_an_arm_does_not_move_the_base_config(base):
    before = json.dumps(to_json(base), sort_keys=True)
    arm = override(base, {})
    arm.method["losses"][0][1]["epsilon"] = 9.0  # the dict inside an entry, which copies of a ConfigDict share
    arm.method["rewards"][0][1]["weights"]["correct"] = 9.0
    arm.run.steps = 1
    assert json.dumps(to_json(base), sort_keys=True) == before
    changes = {"method.losses": [("ppo_clip", {"epsilon": 0.5})]}
    arm = override(base, changes)
    arm.method["losses"][0][1]["epsilon"] = 0.6
    assert changes["method.losses"][0][1]["epsilon"] == 0.5


# -- the command line -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text, value",
    [
        ("1", 1),
        ("1e-3", 1e-3),
        ("true", True),
        ("False", False),
        ("None", None),
        ("/tmp/x y", "/tmp/x y"),
        ("ppo_clip", "ppo_clip"),
        ("('linear', dict)", "('linear', dict)"),
        ("('linear', {'start': 1.0})", ("linear", {"start": 1.0})),
        ("", ""),
    ],
)
def test_literals_of_the_command_line(text, value):
    assert parse_value(text) == value and type(parse_value(text)) is type(value)


def test_arguments_of_the_command_line():
    given = commands.parse(
        ["--config=configs/bnpo.py:tiny", "--config.run.steps=3", "--config.method.losses.ppo_clip.epsilon=0.1"], "explain"
    )
    assert given.config.run.steps == 3 and given.config.method["losses"][0][1]["epsilon"] == 0.1
    for argv, message in (
        (["--config=configs/none.py"], "no such file configs/none.py"),
        (["--config=configs/bnpo.py:large"], "preset: found 'large', allowed: tiny"),
        (["--config=configs/bnpo.py", "--config.run.stepz=3"], "nearest: steps"),
        (["--confg=configs/bnpo.py"], "--confg: unknown option; nearest: config"),
        (["configs/bnpo.py"], "found a bare word"),
        ([], "--config is missing"),
    ):
        with pytest.raises(ValueError, match=message):
            commands.parse(argv, "explain")


def test_loading_a_config(tmp_path):
    assert load("configs/dapo.py").method["minibatches"] == 4
    for text, message in (("def get_config(:\n", "bad.py:1: "), ("x = 1\n", "defines no get_config")):
        (tmp_path / "bad.py").write_text(text)
        with pytest.raises(ConfigError, match=message):
            load(str(tmp_path / "bad.py"))


# -- what stands outside the method -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change, message",
    [
        (dict(sead=1), "sead: unknown config key; nearest: seed"),
        (dict(seed="0"), r"seed: found '0' \(str\), allowed: int"),
        (dict(seed=True), r"seed: found True \(bool\), allowed: int"),
        (dict(batch_prompts=0), "batch_prompts: found 0, allowed: 1 or more"),
        (dict(task="arithmetic"), r"task: found 'arithmetic' \(str\), allowed: tuple or list"),
        (dict(task=("arithmetic", 3)), r"task: found \('arithmetic', 3\), allowed: an entry"),
        (dict(run=dict(steps=1)), "run.checkpoint_every: missing from the config"),
        (dict(sampling=dict(top_k=0, top_p=1.5, min_p=0.0, processor=None)), r"sampling.top_p: found 1.5, allowed: \(0, 1\]"),
        (dict(sampling=dict(top_k=-1, top_p=1.0, min_p=0.0, processor=None)), "sampling.top_k: found -1"),
        (dict(sampling=dict(topk=0, top_p=1.0, min_p=0.0, processor=None)), "sampling.topk: unknown config key; nearest: top_k"),
        (dict(warm_start=dict(steps=3)), "warm_start.method: missing from the config"),
        (dict(warm_start=dict(steps=-3, method={})), "warm_start.steps: found -3"),
        (dict(warm_start=dict(method={})), "warm_start.steps: missing from the config"),
        (dict(evaluation=dict(problems=0, samples=1, validation_problems=0)), "evaluation.problems: found 0"),
    ],
)
def test_errors_name_key_found_and_allowed(base, change, message):
    with pytest.raises(ConfigError, match=message):
        validate(plain(base) | change)
    left_out = {k: v for k, v in plain(base).items() if k not in change}
    if set(change) <= set(plain(base)):
        with pytest.raises(ConfigError, match=f"{next(iter(change))}: missing from the config"):
            validate(left_out)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"task.digit": 2}, "task.arithmetic.digit: no keyword 'digit'; nearest: digits"),
        ({"task.arithmetic": "arithmetics"}, "task: no function 'arithmetics' in pojax.tasks; nearest: arithmetic"),
        ({"model.hiden": 2}, "model.hiden: qwen2 has no option 'hiden'; nearest: hidden"),
        ({"model.vocab_size": 5}, "model.vocab_size: found 5, allowed: at least 22, the vocabulary of the task's tokenizer"),
        ({"model.context": 5}, "model.context: found 5, allowed: at least prompt_tokens"),
        ({"method.family": "grup"}, "method.family: found 'grup', allowed: group, supervised"),
        ({"prompt_tokens": 2}, "prompt 0 has 4 tokens, allowed: at most 2"),
        ({"batch_prompts": 64}, "batch_prompts is 64, allowed: at most num_prompts = 45"),
        ({"sampling.processor": "nines"}, "sampling.processor: no function 'nines' in pojax.sampling.processors"),
    ],
)
def test_errors_of_building(change, message):
    with pytest.raises(ValueError, match=message):
        build(override(jobs.tiny(), change))


def test_the_supervised_family_has_no_rewards():
    rewards = [("weighted_sum", dict(weights=dict(lengths=1.0)))]
    method = dict(family="supervised", rollouts=("demonstrations", {}), rewards=rewards, losses=[("negative_log_likelihood", {})])
    with pytest.raises(ConfigError, match="method.rewards: the supervised family has none"):
        jobs.job(jobs.tiny("sft", method=method))
    method = dict(
        family="supervised", rollouts=("demonstrations", {}), losses=[("negative_log_likelihood", dict(logprobs="start_logprobs"))]
    )
    with pytest.raises(ConfigError, match="'start_logprobs' is no output of the current parameters"):
        jobs.job(jobs.tiny("sft", method=method))


def test_differing_paths():
    a, b = {"x": {"y": 1, "z": [1, 2]}, "w": 1}, {"x": {"y": 2, "z": [1, 3]}, "v": 1}
    assert differing(a, b) == ["v", "w", "x.y", "x.z.1"]
    assert differing(a, a) == []


# -- the flat form ----------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_flat_form_is_a_list_of_one_update():
    update = dict(
        losses=jobs.GROUP["losses"], aggregate="token_mean", minibatches=2, epochs=2, optimizer=("adamw", dict(learning_rate=0.01))
    )
    rest = {k: v for k, v in jobs.GROUP.items() if k not in ("losses", "aggregate")}
    ends = []
    for method in (rest | update, rest | dict(updates=[update])):
        made = jobs.job(jobs.tiny(method=method))
        state, learner = made.init(), made.phases[-1].learner
        for seed in range(3):
            state, _ = learner.train_step(state, jobs.rollout(seed=seed), learner.hyper)
        ends.append(jobs.leaves((state.params, state.opt)))
    np.testing.assert_array_equal(*ends)
