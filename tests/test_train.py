"""Whole runs in this process: what they leave behind, going on, starting from another run, verifiers that fail."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from functools import partial

import jax
import numpy as np
import pytest
import runs
import shared

from pojax import checkpointing, environment, metrics, train
from pojax.build import build
from pojax.checkpointing import Checkpoints, abstract
from pojax.config import override
from pojax.symptoms import symptoms

ON = jax.devices()[:1]
NOT_NUMBERS_OF_THE_RUN = ("time/", "tokens_per_second", "compilations")


@pytest.fixture(autouse=True, scope="module")
def one_device():
    with runs.on_devices(1):
        yield


def run(config, workdir, on_step=None):
    """(summary, what it said)"""
    said = []
    return train.run(config, workdir, on_step, said.append), said


def lines(workdir):
    """metrics.jsonl without what depends on the clock and on what was compiled before."""
    return [{k: v for k, v in line.items() if not k.startswith(NOT_NUMBERS_OF_THE_RUN)} for line in metrics.read(workdir / "metrics.jsonl")]


class Run:
    def __init__(self, workdir, config, steps, seen, summary, said):
        self.workdir, self.config, self.steps, self.seen, self.summary, self.said = workdir, config, steps, seen, summary, said


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """BNPO: three iterations of warm start, four of reinforcement learning."""
    workdir, steps, seen = tmp_path_factory.mktemp("done") / "run", [], []
    config = runs.get_config("bnpo")
    summary, said = run(config, workdir, lambda step, line: (steps.append(step), seen.append(line)))
    return Run(workdir, config, steps, seen, summary, said)


def test_summary(done):
    stored = json.loads((done.workdir / "summary.json").read_text())
    assert stored == json.loads(json.dumps(done.summary))
    for name in ("before", "after"):
        low, high = stored[f"pass_at_1_{name}_interval"]
        assert 0 <= low <= stored[f"pass_at_1_{name}"] <= high <= 1 and 0 <= stored[f"greedy_{name}"] <= 1
    assert stored["finished"] is True and stored["steps"] == 4 and stored["iterations"] == 7 and stored["seconds"] > 0
    assert {"python", "jax", "jaxlib", "flax", "optax", "orbax", "numpy", "cpu_features", "cpu_cores"} <= stored.keys()
    assert stored["tokens"] > 4 * 32 and stored["seconds_by_phase"].keys() == {"warm_start", "method"}
    target = abstract(build(done.config, devices=ON).init())
    with Checkpoints(done.workdir / "checkpoints") as checkpoints:
        state, step = checkpoints.restore(target)
    assert step == 7 == int(state.step) and checkpointing.digest(state) == stored["state_sha256"]


def test_every_iteration_is_told_and_written_once(done):
    assert done.steps == [1, 2, 3, 4, 5, 6, 7]
    written = metrics.read(done.workdir / "metrics.jsonl")
    assert [line.pop("step") for line in written] == done.steps
    assert written == [dict(sorted(line.items())) for line in done.seen]
    warm, later = written[0], written[-1]
    assert warm["warm_start.policy/loss"] > 0 and "reward" not in warm
    named = {
        "reward",
        "components/correct",
        "components/format",
        "effective_groups",
        "advantage_std",
        "entropy",
        "truncated",
        "length",
        "tokens_per_second",
    }
    named |= {"time/collect", "time/update", "compilations", "validation/pass_at_1"}
    of_update = {
        "ratio",
        "ratio_max",
        "clip_fraction_low",
        "clip_fraction_high",
        "k3_old",
        "gradient_norm",
        "effective_samples",
        "logprob_gap",
        "loss",
    }
    assert later.keys() >= named | {f"policy/{name}" for name in of_update | {"skipped_nonfinite"}}
    assert later["policy/gradient_norm"] > 0 and later["policy/logprob_gap_max"] < 1e-5
    assert [s for s, line in zip(done.steps, written, strict=True) if "validation/pass_at_1" in line] == [2, 4, 6, 7]
    assert written[4]["compilations"] <= later["compilations"] <= done.summary["compilations"]


def test_samples(done):
    files = sorted((done.workdir / "samples").iterdir())
    assert [f.name for f in files] == ["6.json", "6.npz"]  # every third iteration, the warm start apart
    with np.load(files[1]) as rows:
        x = dict(rows)
    assert (
        x["tokens"].shape == x["mask"].shape == x["old_logprobs"].shape == x["rollout_logprobs"].shape == x["advantages"].shape[:1] + (3,)
    )
    assert x["mask"].any(axis=1).all() and x["rewards"].shape == x["correct"].shape == x["format"].shape == (32,)
    np.testing.assert_allclose(x["rewards"], x["correct"] + 0.1 * x["difficulty"] + x["format"], rtol=1e-6)
    assert (x["old_logprobs"][x["mask"]] < 0).all() and np.isfinite(x["advantages"]).all()
    line = next(line for line in metrics.read(done.workdir / "metrics.jsonl") if line["step"] == 6)
    assert line["reward"] == pytest.approx(x["rewards"].mean(), rel=1e-5)
    tokenizer = build(done.config, devices=ON).tasks["train"].tokenizer
    assert [str(t) for t in x["text"]] == [tokenizer.decode(row[kept]) for row, kept in zip(x["tokens"], x["mask"], strict=True)]
    assert len(set(x["text"].tolist())) > 8
    # Of four minibatches the first was seen by the policy that sampled; were rows in other places, no row would agree.
    gap = np.max(np.abs(x["logprobs"] - x["old_logprobs"]), axis=1, where=x["mask"], initial=0)
    assert np.sum(gap <= line["policy/logprob_gap_max"] + 1e-6) == 8 and gap.max() > 1e-3
    readable = json.loads(files[0].read_text())
    assert readable["step"] == 6 and [row["response"] for row in readable["rows"]] == x["text"][:16].tolist()
    for i, row in enumerate(readable["rows"]):
        assert (
            row["tokens"] == [tokenizer.decode([int(t)]) for t in x["tokens"][i, : row["length"]]] and row["length"] == x["mask"][i].sum()
        )
        np.testing.assert_allclose([row["reward"], row["components"]["correct"]], [x["rewards"][i], x["correct"][i]], rtol=1e-3)
        np.testing.assert_allclose(row["advantage"], np.full(row["length"], x["advantages"][i]), rtol=1e-3)
        assert all(e >= 0 for e in row["entropy"])
        np.testing.assert_allclose(row["log_ratio"], (x["logprobs"] - x["old_logprobs"])[i, : row["length"]], rtol=1e-3, atol=1e-9)


def test_the_environment_and_warnings_are_recorded(done):
    found = json.loads((done.workdir / "environment.json").read_text())
    assert "git" in found and found == json.loads(json.dumps(environment.versions_and_features())) | {"git": found["git"]}
    assert done.summary["warnings"] == [s._asdict() for s in symptoms(metrics.read(done.workdir / "metrics.jsonl"))]


def test_what_it_says_and_leaves(done):
    text = "\n".join(done.said)
    assert re.search(r"before: +pass@1 .*%, .*\nafter: +pass@1 .*greedy", text)
    assert len(re.findall(r"before: '.*'   after: '.*'", text)) == 4
    for name in ("checkpoints", "metrics.jsonl", "summary.json", "tensorboard", "curve.png"):
        assert str(done.workdir / name) in text and (done.workdir / name).exists()
    (events,) = (done.workdir / "tensorboard").iterdir()
    assert sum(b"reward" in data for _, data in metrics._records(events.read_bytes())) == 4


def test_again_says_finished(done):
    before = (done.workdir / "metrics.jsonl").stat().st_mtime_ns, (done.workdir / "summary.json").stat().st_mtime_ns
    summary, said = run(done.config, done.workdir)
    assert "finished, 4 steps" in said[-1] and summary["state_sha256"] == done.summary["state_sha256"]
    assert before == ((done.workdir / "metrics.jsonl").stat().st_mtime_ns, (done.workdir / "summary.json").stat().st_mtime_ns)
    with pytest.raises(ValueError, match=r"run.steps: found 2, allowed: 4 or more"):
        run(override(done.config, {"run.steps": 2}), done.workdir)
    assert json.loads((done.workdir / "config.json").read_text())["config"]["run"]["steps"] == 4


@pytest.fixture(scope="module")
def extended(done, tmp_path_factory):
    """The same run, extended to seven steps after it had finished."""
    workdir = shutil.copytree(done.workdir, tmp_path_factory.mktemp("extended") / "run")
    summary, said = run(override(done.config, {"run.steps": 7}), workdir)
    assert "going on from iteration 7" in said
    return workdir, summary


def test_interrupted_and_failing_runs_go_on_as_if_nothing_had_happened(done, extended, tmp_path):
    """Ctrl-C in the warm start, then an on_step that raises: the same bits and lines as a run that finished and was extended."""
    workdir, config = tmp_path / "run", override(done.config, {"run.steps": 7})
    handler = signal.getsignal(signal.SIGINT)
    summary, said = run(config, workdir, lambda step, _: os.kill(os.getpid(), signal.SIGINT) if step == 1 else None)
    assert summary == {"finished": False, "iteration": 1} and "stopped at iteration 1 of 10 and saved" in said[-1]
    assert signal.getsignal(signal.SIGINT) is handler and not (workdir / "summary.json").exists()

    def fail(step, _):
        if step == 8:
            raise RuntimeError("a notebook's own mistake")

    with pytest.raises(RuntimeError, match="own mistake"):
        run(config, workdir, fail)
    summary, said = run(config, workdir)
    assert said[0] == "going on from iteration 8"
    folder, expected = extended
    assert summary["state_sha256"] == expected["state_sha256"] != done.summary["state_sha256"]
    assert [line["step"] for line in lines(workdir)] == list(range(1, 11))
    assert (
        lines(workdir)[:6] == lines(folder)[:6] and lines(workdir)[7:] == lines(folder)[7:]
    )  # 7 was the last of the shorter run: validated there
    assert (workdir / "before.json").read_text() == (folder / "before.json").read_text()
    assert (workdir / "after.json").read_text() == (folder / "after.json").read_text()


@pytest.mark.slow
def test_goes_on_in_two_processes_on_four_devices(done, extended, tmp_path):
    """Processes of two devices each, joined by jax.distributed: the same numbers as one process with one device."""
    workdir = shutil.copytree(done.workdir, tmp_path / "run")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    script = [sys.executable, str(runs.ROOT / "tests/two_processes.py"), port, "2"]
    environment = runs.environment(devices=1)
    both = [
        subprocess.Popen([*script, str(i), str(workdir), "7"], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        for i in range(2)
    ]
    said = [process.communicate(timeout=300)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert "going on from iteration 7" in said[0] and "going on" not in said[1]
    here, there = lines(workdir), lines(extended[0])
    assert [line["step"] for line in here] == [line["step"] for line in there] == list(range(1, 11))
    for a, b in zip(here[7:], there[7:], strict=True):
        assert a.keys() == b.keys() and a.keys() >= {"reward", "policy/loss", "policy/gradient_norm", "policy/ratio"}
        np.testing.assert_allclose(list(a.values()), list(b.values()), rtol=1e-5, atol=1e-5)
    summary = json.loads((workdir / "summary.json").read_text())
    assert summary["processes"] == 2 and summary["devices"] == 4 and summary["pass_at_1_after"] == extended[1]["pass_at_1_after"]
    with np.load(workdir / "samples/9.npz") as a, np.load(extended[0] / "samples/9.npz") as b:
        assert a["text"].tolist() == b["text"].tolist()


def test_switch_and_init_from(done, tmp_path):
    """Parameters of another run, everything else new; copies are those parameters, tables are at their start."""
    config = runs.get_config(
        "spo_single_stream", warm_start=None, init_from=str(done.workdir), run__steps=1, run__diagnostics=False, run__tensorboard=False
    )
    config = override(config, {"method.losses": [("ppo_clip", {}), ("k3", dict(scale=0.1))]})
    summary, said = run(config, tmp_path / "run")
    assert summary["pass_at_1_before"] == done.summary["pass_at_1_after"] and summary["iterations"] == 1
    job = build(config, devices=ON)
    fresh = job.init()
    shutil.rmtree(tmp_path / "run/checkpoints/1")
    with Checkpoints(tmp_path / "run/checkpoints") as checkpoints:
        start, step = checkpoints.restore(abstract(fresh))
    params = checkpointing.load_params(done.workdir / "checkpoints", abstract(fresh).params)
    assert step == 0 == int(start.step)
    same = partial(jax.tree.map, np.testing.assert_array_equal)
    same(start.params, params)
    same(start.copies["ref"], {"policy": params["policy"]})
    same(start.tables, fresh.tables)
    same(jax.tree.map(jax.random.key_data, start.key), jax.random.key_data(fresh.key))
    assert not (tmp_path / "run/tensorboard").exists()


def test_a_warm_start_ends_in_copies_of_what_it_learned(done, tmp_path):
    """The checkpoint at the switch: the reference is the warm-started policy, not the first one."""
    config = runs.get_config("grpo", run__steps=0, run__diagnostics=False, evaluation__validation_problems=0, run__tensorboard=False)
    summary, _ = run(config, tmp_path / "run")
    assert "pass_at_1_before" not in summary  # no step of the method was asked for: this stopped just before the switch
    target = abstract(build(config, devices=ON).init())
    warm = checkpointing.load_params(tmp_path / "run/checkpoints", target.params)
    summary, _ = run(override(config, {"run.steps": 1}), tmp_path / "run")
    with Checkpoints(tmp_path / "run/checkpoints") as checkpoints:
        state, step = checkpoints.restore(target)
    assert step == 4 and 0 <= summary["pass_at_1_before"] <= 1
    jax.tree.map(np.testing.assert_array_equal, state.copies["ref"], {"policy": warm["policy"]})
    assert not np.array_equal(state.params["policy"]["embedding"], warm["policy"]["embedding"])
    assert [line["step"] for line in lines(tmp_path / "run")] == [1, 2, 3, 4]


def test_rows_whose_verifier_fails_are_out(tmp_path):
    """Raising, NaN: the row is out and logged with its text, training goes on, an evaluation counts it as wrong."""
    config = runs.get_config("bnpo", warm_start=None, run__steps=2, run__eval_every=0, run__log_samples_every=1, run__tensorboard=False)
    config = override(config, {"task": ("runs:broken_sums", {})})
    summary, said = run(config, tmp_path / "run")
    with np.load(tmp_path / "run/samples/2.npz") as rows:
        x = dict(rows)
    out = x["groups"] < 0
    failed = [
        line for line in said if line.startswith("step 1: task arithmetic/train, row ")
    ]  # the second iteration samples at state.step 1
    assert 0 < out.sum() == len(failed) < 32
    assert sorted(re.search(r"response ('.*'|\".*\"): ", line)[1] for line in failed) == sorted(repr(str(t)) for t in x["text"][out])
    assert any("KeyError" in line for line in failed) and any("nan" in line for line in failed)
    assert (x["advantages"][out] == 0).all() and np.abs(x["advantages"]).max() > 0
    later = lines(tmp_path / "run")[1]
    assert later["rows_in"] == 32 - out.sum() and later["policy/gradient_norm"] > 0
    assert all(v is None or np.isfinite(v) for line in lines(tmp_path / "run") for v in line.values())
    assert summary["finished"] and json.loads((tmp_path / "run/after.json").read_text())["unscorable"] > 0


def test_json_lines_problems(tmp_path):
    """A host verifier on a file of one's own, with a sentencepiece tokenizer trained on it; one prompt is too long, and counted."""
    pytest.importorskip("sentencepiece")
    rows = [{"prompt": f"double {i} is", "answer": str(2 * i), "solution": str(2 * i)} for i in range(60)] + [
        {"prompt": "9" * 99, "answer": "1", "solution": "1"}
    ]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    options = dict(path=str(tmp_path / "rows.jsonl"), vocabulary=300, validation=5, held_out=8)
    config = runs.get_config("sft", task=("json_lines", options), prompt_tokens=24, response_tokens=6, drop_long_prompts=True)
    config = override(config, {"run.steps": 1, "run.eval_every": 0, "run.tensorboard": False})
    summary, said = run(config, tmp_path / "run")
    assert summary["finished"] and sum("1 of " in line and "were dropped" in line for line in said) == 1
    again, _ = run(config, tmp_path / "run")
    assert again["state_sha256"] == summary["state_sha256"]
    (tmp_path / "rows.jsonl").write_text(
        "".join(json.dumps(row | {"prompt": row["prompt"].replace("double", "twice")}) + "\n" for row in rows)
    )
    with pytest.raises(ValueError, match=r"its tokenizer and that of the task differ: \d+ tokens \(sha256 .*allowed: the same vocabulary"):
        run(config, tmp_path / "run")


@pytest.mark.slow
def test_svamp(tmp_path):
    pytest.importorskip("sentencepiece")
    from configs import svamp

    changes = {
        "task.path": shared.data("svamp/SVAMP.json"),
        "warm_start.steps": 2,
        "warm_start.batch_prompts": 4,
        "run.steps": 1,
        "batch_prompts": 4,
    }
    changes |= {
        "model.hidden": 16,
        "model.layers": 1,
        "model.heads": 2,
        "model.kv_heads": 2,
        "model.mlp": 32,
        "evaluation.problems": 4,
        "run.tensorboard": False,
    }
    summary, said = run(
        override(svamp.get_config(), changes | {"evaluation.samples": 1, "evaluation.validation_problems": 2}), tmp_path / "run"
    )
    assert summary["finished"] and 0 <= summary["pass_at_1_after"] <= 1
