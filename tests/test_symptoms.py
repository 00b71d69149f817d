"""What the numbers of a run warn of."""

import numpy as np
import pytest

from pojax.symptoms import symptoms

WARM = [{"step": s, "warm_start.policy/loss": 1.0, "entropy": 9.0} for s in range(1, 6)]


def run(steps=100, **metrics):
    """Lines whose metrics go from one value to another in a straight line, or stay; `__` stands for a slash."""
    made = {
        name.replace("__", "/"): np.broadcast_to(np.linspace(*np.array(v, float).reshape(-1)[[0, -1]], steps), steps)
        for name, v in metrics.items()
    }
    return WARM + [{"step": 6 + s, "reward": 0.5, **{name: float(v[s]) for name, v in made.items()}} for s in range(steps)]


HEALTHY = dict(
    reward=(0.2, 0.9), entropy=(1.0, 0.5), length=(20, 30), effective_groups=(0.8, 0.5), truncated=0.05, policy__logprob_gap=1e-4,
    policy__gradient_norm=1.0, policy__skipped_nonfinite=0, policy__clip_fraction_high=0.05, policy__clip_fraction_low=0.05,
    k3_ref=(0, 0.2), rows_in=256, validation__pass_at_1=(0.2, 0.6),
)  # fmt: skip


def test_a_healthy_run_has_none():
    assert symptoms(run(**HEALTHY)) == []


@pytest.mark.parametrize(
    "kind, serious, metric, change, words",
    [
        ("entropy collapse", True, "entropy", dict(entropy=(1.0, 0.0), reward=(0.5, 0.5)), ["to 0.0455 nats", "samples the same answer"]),
        ("entropy collapse", False, "entropy", dict(entropy=(1.0, 0.0)), ["reward went from 0.23", "Expected where the task is solved"]),
        ("entropy rises", True, "entropy", dict(entropy=(0.2, 3.0)), ["becoming random"]),
        ("length explosion", True, "length", dict(length=(20, 90)), ["from 23.2 to 86.8 tokens"]),
        ("length collapse", True, "length", dict(length=(90, 20)), ["shrank"]),
        ("truncated responses", True, "truncated", dict(truncated=0.4), ["40% of the responses end at the length limit"]),
        (
            "dead groups",
            True,
            "effective_groups",
            dict(effective_groups=(0.5, 0.0), reward=(0.5, 0.1)),
            ["98% of the groups", "too hard or"],
        ),
        ("dead groups", False, "effective_groups", dict(effective_groups=(0.8, 0.1)), ["87% of the groups", "too easy by now"]),
        ("sampler-learner gap", True, "policy/logprob_gap", dict(policy__logprob_gap=(0.01, 0.2)), ["up to 0.19 nats per token"]),
        ("reward without validation", True, "validation/pass_at_1", dict(validation__pass_at_1=(0.6, 0.2)), ["from 58.2% to 21.8%"]),
        ("much is clipped", False, "policy/clip_fraction_high", dict(policy__clip_fraction_high=0.5), ["55% of the tokens"]),
        ("far from the reference", False, "k3_ref", dict(k3_ref=(0, 3)), ["reached 2.86"]),
        ("rows are out", True, "rows_in", dict(rows_in=(256, 50)), ["of up to 247 rows"]),
    ],
)
def test_symptoms(kind, serious, metric, change, words):
    found = symptoms(run(**HEALTHY | change))
    (symptom,) = (s for s in found if s.kind == kind)
    assert symptom.serious is serious and symptom.metric == metric and all(word in symptom.text for word in words), symptom
    assert len(found) <= 2  # and hardly any other rule


def test_reward_collapse():
    up_and_down = np.concatenate((np.linspace(0.2, 0.9, 60), np.linspace(0.9, 0.3, 40)))
    lines = [line | {"reward": float(r)} for line, r in zip(run()[5:], up_and_down, strict=True)]
    assert [s.kind for s in symptoms(lines)] == ["reward collapse"] and "0.873 at its best and is 0.369" in symptoms(lines)[0].text
    noise = [line | {"reward": 0.5 + 0.1 * (-1) ** i} for i, line in enumerate(run()[5:])]
    assert symptoms(noise) == []


def test_single_iterations():
    lines = run(**HEALTHY)
    lines[50] |= {"policy/skipped_nonfinite": 1.0, "policy/gradient_norm": None}
    lines[60] |= {"policy/gradient_norm": 40.0}
    found = symptoms(lines)
    assert [(s.kind, s.serious) for s in found] == [("gradient not finite", True), ("gradient spikes", False)]
    assert "In 1 of 100 iterations, the first of them 51" in found[0].text and "reached 40, 40 times" in found[1].text


def test_short_and_empty_runs():
    assert symptoms([]) == symptoms(WARM) == symptoms(run(steps=9, entropy=(1, 0))) == []
    assert [s.kind for s in symptoms(run(steps=10, entropy=(1, 0), reward=0.5))] == []  # means over three iterations: 0.89 to 0.11
    supervised = [{"step": s, "policy/loss": 1.0, "policy/skipped_nonfinite": float(s == 3)} for s in range(1, 30)]
    assert [s.kind for s in symptoms(supervised)] == ["gradient not finite"]
