import re

import jobs
import pytest

from pojax import explain

HERE = "tests.methods_under_test:"


def text(config):
    return explain.explain_job(jobs.job(config))


@pytest.mark.parametrize("name", [*jobs.METHODS, "sft"])
def test_every_method_is_explained(name):
    explained = text(jobs.tiny(name))
    assert "update policy: trains policy with sgd(learning_rate=0.1" in explained and "minimises the sum of" in explained
    assert ("family supervised" if name == "sft" else "family group") in explained
    if name != "sft":
        assert "rewards <- weighted_sum(correct: 1)" in explained and "advantages <- rewards" in explained


def test_terms_and_forward_passes():
    explained = text(jobs.tiny("grpo"))
    assert "+ 0.04 * sequence_mean(keep) * k3(logprobs, ref_logprobs)" in explained
    assert "before the updates: policy of ref for ref_logprobs" in explained
    assert "copy ref <- frozen(copy)" in explained
    assert "policy of ref" not in text(jobs.tiny("bnpo"))


def test_renames_schedules_fields_and_rules_are_shown():
    schedule = ("linear", dict(start=0.4, end=0.2, steps=10))
    losses = [("ppo_clip", dict(epsilon=schedule, scale=[0.5, "format"], where="mask"))]
    method = jobs.GROUP | dict(losses=losses, advantages=[("group_center", dict(groups="difficulty"))], every=2, after=3, minibatches=2)
    explained = text(jobs.tiny(method=method))
    assert "advantages <- group_center(rewards, groups=difficulty; singles='zero')" in explained
    assert (
        "+ 0.5 * format * token_mean(mask) * ppo_clip(logprobs, old_logprobs, advantages; epsilon=linear(start=0.4, end=0.2, steps=10))"
        in explained
    )
    assert "every 2 iterations from iteration 3 on" in explained and "2 minibatches of 16 rows" in explained
    assert "rollout <- refill(key, indices, select, cond; until=1, inner=independent(" in text(jobs.tiny("dapo"))


def test_whose_values_are_read():
    advantages = [("group_normalize", {}), (HERE + "times", dict(factor="entropy"))]
    method = jobs.GROUP | dict(advantages=advantages[:1], rewards=[*jobs.GROUP["rewards"], ("sequence_kl_penalty", dict(coefficient=0.1))])
    assert "[ref_logprobs under ref]" in text(jobs.tiny(method=method))
    explained = text(jobs.tiny("spo_single_stream"))
    assert "[logprobs under the updated policy, previous_logprobs under the updated policy]" in explained
    assert "view previous: " in explained and "after the updates: policy of current on previous for previous_logprobs" in explained


def test_a_second_forward_pass_is_counted():
    rule = [(HERE + "whiten_by_current", {})]
    once = text(jobs.tiny(method=jobs.GROUP | dict(per_minibatch=rule)))
    twice = text(jobs.tiny(method=jobs.GROUP | dict(per_minibatch=rule, microbatches=2)))
    assert "once more for logprobs" in twice and "once more" not in once
    assert re.search(r"advantages <- whiten_by_current\(.*\[per minibatch, current outputs\]", once)


def test_the_command_prints_or_says_what_is_wrong(capsys):
    assert explain.main(["--config=configs/bnpo.py"]) == 0
    printed = capsys.readouterr().out
    assert "== warm_start, from iteration 0 ==" in printed and "== method, from iteration" in printed
    assert explain.main(["--config=configs/bnpo.py", "--config.method.losses.ppo_clip.epsilom=1"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "method.losses.ppo_clip.epsilom" in error and "nearest: epsilon" in error
