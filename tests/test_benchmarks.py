"""The benchmark's own arms do the work they say, at a small size, and its driver counts right."""

import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

FOLDER = str(Path(__file__).parents[1] / "benchmarks")
SMALL = dict(VOCAB=16, HIDDEN=32, LAYERS=1, HEADS=4, KV_HEADS=2, HEAD=8, MLP=16, INIT_STD=0.5)
SMALL |= dict(PROMPTS=2, SAMPLES=4, PROMPT_TOKENS=3, RESPONSE_TOKENS=5, ROWS=8, LENGTH=8)


@pytest.fixture
def workload(monkeypatch):
    monkeypatch.syspath_prepend(FOLDER)
    for name in ("workload", "by_hand", "step"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    import workload

    yield workload
    for name in ("workload", "by_hand", "step"):  # the small sizes must not reach another test
        sys.modules.pop(name, None)


def test_flops_of_the_workload(workload):
    flops = workload.flops()
    # By hand: 4 layers of 737280 weights, 64 rows of 96 tokens, a head of 512 x 256 on 64 tokens per row.
    linear, attention, head = 2 * 4 * 737_280 * 64 * 96, 4 * 4 * 96 * 256 * 64 * 96, 2 * 512 * 256 * 64 * 64
    assert flops["reference"] == linear + attention + head and flops["update"] == 3 * flops["reference"]
    assert 0.6 < flops["generate"] / flops["reference"] < 0.75


@pytest.mark.slow
def test_hand_written_program(workload, monkeypatch):
    for name, value in SMALL.items():
        monkeypatch.setattr(workload, name, value)
    import by_hand

    params = jax.jit(by_hand.init)(jax.random.key(0))
    prompts = jnp.asarray(workload.prompts(0), jnp.int32)
    responses, old = by_hand.generate(params, prompts, jax.random.key(1))
    assert responses.shape == old.shape == (8, 5) and len({tuple(row) for row in np.asarray(responses)}) > 4
    rows = jnp.repeat(prompts, 4, axis=0)
    reference = by_hand.reference_logprobs(params, rows, responses, 4)
    np.testing.assert_allclose(old, reference, atol=1e-5)  # decoding with the cache is the forward pass
    _, advantages = by_hand.advantages_of(responses)
    np.testing.assert_allclose(advantages.reshape(2, 4).sum(axis=1), 0.0, atol=1e-5)
    batch = dict(prompts=rows, responses=responses, old_logprobs=old, ref_logprobs=reference, advantages=advantages)

    def after(pieces):
        fresh = jax.tree.map(jnp.copy, params)
        return by_hand.update(fresh, by_hand.OPTIMIZER.init(fresh), batch, pieces)

    whole, cut = after(1), after(4)
    moments = [jax.tree.leaves(state[1][0].mu) for _, state in (whole, cut)]  # the first moment is a multiple of the gradient
    for one, four in zip(*moments, strict=True):
        np.testing.assert_allclose(one, four, rtol=1e-4, atol=1e-6)
    assert max(float(jnp.abs(leaf).max()) for leaf in moments[0]) > 1e-3


def test_driver_counts_and_leaves_out(workload, tmp_path, monkeypatch, capsys):
    import step

    monkeypatch.setattr(step, "HERE", tmp_path)  # nothing is there
    assert step.arms(trl_python=None) == {}
    assert "TRL is left out" in capsys.readouterr().out
    (tmp_path / "by_hand.py").touch()
    assert list(step.arms(trl_python=str(tmp_path / "none"))) == ["by hand, 1 piece", "by hand, 8 pieces"]

    def run(*seconds):
        lines = [{"generate": s / 4, "reference": s / 4, "update": s / 2, "step": s} for s in seconds]
        return {"lines": lines, "peak_rss_gb": 0.5, "load_before": 0.1}

    measured = {
        "peak": [100.0, 200.0],
        "runs": {"pojax, 8 pieces": [run(9, 1, 2, 3), run(9, 4, 4, 4)], "by hand, 1 piece": [run(9, 6, 6, 6)] * 2},
    }
    summary = step.summarise(measured, drop=1)
    ours = summary["arms"]["pojax, 8 pieces"]
    assert ours["step"] == {"median": 3.0, "low": 2, "high": 4} and ours["first_step"]["median"] == 9
    assert ours["steps_per_minute"] == {"median": 22.5, "low": 15.0, "high": 30.0}
    assert ours["tokens_per_second"]["low"] == 4096 / 4 and summary["peak_gflops"] == 200.0
    settings = dict(rounds=2, steps=4, drop=1, cpu="c", cores=2, python="3", packages="p", load=(0.1, 0.1))
    text = step.markdown(summary, settings)
    assert "| pojax, 8 pieces | 22.5 [15.0, 30.0] | 0.75 | 0.75 | 1.50 |" in text
    assert "pojax at its best is 2.25x by hand at its best." in text and "x TRL" not in text
    assert "Other processes" not in text and "Other processes" in step.markdown(summary, settings | dict(load=(0.1, 3.5)))


def test_driver_reports_a_failing_arm(workload):
    import step

    with pytest.raises(RuntimeError, match="ended with 3:\nbroken"):
        step.run([sys.executable, "-c", "import sys; sys.stderr.write('broken'); sys.exit(3)"])
    done = step.run([sys.executable, "-c", "print('noise'); print('{\"step\": 1.5}')"])
    assert done["lines"] == [{"step": 1.5}] and done["peak_rss_gb"] > 0.001


def test_objectives_are_measured_beside_ppo_clip(tmp_path):
    """One config with a search, at its real size: a row with its times, and the page."""
    command = [sys.executable, "benchmarks/objectives.py", "--configs=bapo", "--rounds=2", f"--results={tmp_path}"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(FOLDER).parent)
    assert done.returncode == 0 and "Error" not in done.stderr, done.stderr
    row = json.loads((tmp_path / "objectives.json").read_text())["configs"]["bapo"]
    assert row["objective_ms"] > 0 and row["at_workload_ms"] > 0
    assert "| bapo |" in (tmp_path / "objectives.md").read_text()


@pytest.mark.slow
def test_verifiers_are_measured():
    pytest.importorskip("math_verify", reason="the extra math is not installed")
    command = [sys.executable, "benchmarks/verifiers.py", "--rounds=1", "--answers=3"]
    environment = {**os.environ, "PYTHONPATH": str(Path(FOLDER).parent)}
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(FOLDER).parent, env=environment)
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(lines) == 4 and all(line["answers_per_second"] > 0 and line["right"] == [3] for line in lines)
