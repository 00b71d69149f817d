"""`python -m pojax.evaluate`: what the loop measured, measured again from the folder alone."""

import json
import shutil

import jax
import jobs
import numpy as np
import pytest
import runs

from pojax import evaluate, train
from pojax.build import build
from pojax.evaluate import Evaluator


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("evaluate") / "run"
    with runs.on_devices(1):
        summary = train.run(runs.get_config("bnpo"), workdir, say=lambda line: None)
        yield workdir, summary


def typed(capsys, *arguments):
    code = evaluate.main(list(arguments))
    return code, *capsys.readouterr()


def test_it_finds_what_the_run_found(run, capsys):
    workdir, summary = run
    code, out, err = typed(capsys, f"--workdir={workdir}", "--samples=2")
    assert code == 0 and err == "" and str(workdir / "evaluation_held_out.json") in out
    report, after = json.loads((workdir / "evaluation_held_out.json").read_text()), json.loads((workdir / "after.json").read_text())
    assert {key: report[key] for key in after} == after and report["pass_at_1"] == summary["pass_at_1_after"] and report["problems"] == 8
    assert out.startswith(evaluate.headline(report)) and "pass@k" in out and "maj@k" in out and "truncated" in out
    assert report["pass_at_k"].keys() == report["maj_at_k"].keys() == {"1", "2"} and len(report["examples"]) == 4


def test_other_splits_and_a_damaged_checkpoint(run, tmp_path, capsys):
    workdir = shutil.copytree(run[0], tmp_path / "run")
    shutil.rmtree(workdir / "checkpoints/7/state")
    code, out, err = typed(capsys, f"--workdir={workdir}", "--split=validation", "--problems=3", "--samples=1")
    assert code == 0 and "checkpoint 7" in out + err and "is damaged" in out + err and "(3 validation problems x 1 samples)" in out
    assert json.loads((workdir / "evaluation_validation.json").read_text())["problems"] == 3
    assert (workdir / "checkpoints/7").exists()  # reading changes nothing in the run


def test_wrong_options(run, tmp_path, capsys):
    workdir = run[0]
    for arguments, words in (
        ([], "--workdir or --model: found neither, allowed: one of them; usage: python -m pojax.evaluate --workdir=..."),
        ([f"--workdir={tmp_path}"], f"--workdir={tmp_path}: holds no config.json of a run, so no run"),
        ([f"--workdir={workdir}", "--split=test"], "--split: found 'test', allowed: train, validation, held_out"),
        ([f"--workdir={workdir}", "--samples=0"], "--samples: found '0', allowed: a whole number of 1 or more"),
        ([f"--workdir={workdir}", "--sample=2"], "nearest: --samples=..."),
    ):
        code, out, err = typed(capsys, *arguments)
        assert code == 2 and out == "" and err.count("\n") == 1 and words in err, err


def test_a_response_does_not_depend_on_what_else_is_measured(run):
    """Two evaluators of other batch sizes: the rows that are in both get the same responses."""
    job = build(runs.get_config("bnpo"), devices=jax.devices()[:1])
    params = job.init().params
    seen = []
    for evaluator, size in ((Evaluator(job, "held_out", 2, 1, greedy=False), 2), (Evaluator(job, "held_out", 8, 2), 24)):
        assert evaluator.rows == size
        keys = jax.vmap(jax.random.key)(np.arange(size))
        rows = evaluator.sample_rows(params, np.resize(np.arange(8), size), keys, np.ones(size, np.float32))
        seen.append([evaluator.texts(None, rows), np.asarray(rows.tokens)])
    (texts, tokens), (more_texts, more_tokens) = seen
    assert texts == more_texts[:2] and (tokens == more_tokens[:2]).all() and len(set(more_texts)) > 4


def test_tasks_with_an_environment_are_played():
    """A sample is an episode: what stands at mask 0 is what the world answers to the moves before, and verdicts are the world's."""
    world = ("key_and_door", dict(width=2, height=2, longest=3, validation=3, held_out=4))
    evaluation = dict(problems=4, samples=8, validation_problems=3, turns=3, action_tokens=1)
    job = jobs.job(jobs.tiny(task=world, evaluation=evaluation, prompt_tokens=3, response_tokens=5))
    evaluator, task = Evaluator(job, "held_out", 4, 8), job.tasks["held_out"]
    at, params = np.arange(evaluator.rows) % 4, job.init().params
    keys = jax.random.split(jax.random.key(2), evaluator.rows)
    rows = jax.device_get(evaluator.sample_rows(params, at, keys, np.ones(evaluator.rows)))
    state, over = task.environment.reset(at), np.zeros(evaluator.rows, bool)
    total = np.zeros(evaluator.rows)
    for turn in range(3):
        np.testing.assert_array_equal(rows.mask[:, 2 * turn], ~over)
        state, seen, reward, done = task.environment.step(state, rows.tokens[:, [2 * turn]], ~over[:, None])
        total, over = total + np.where(over, 0.0, reward), over | np.asarray(done)
        if turn < 2:
            np.testing.assert_array_equal(rows.tokens[:, 2 * turn + 1], np.where(over, 0, seen[:, 0]))
            assert not rows.mask[:, 2 * turn + 1].any()
    np.testing.assert_array_equal(evaluator.verify(at, rows)["correct"], total)
    assert over.any() and not over.all()  # some gave up, by the end token
