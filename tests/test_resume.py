"""Runs that are killed: whatever the moment, and whatever happens to the newest checkpoint, they end in the bits of the unbroken run."""

import json
import signal
import time

import pytest
import runs

from pojax import metrics, train

pytestmark = pytest.mark.slow
CHANGES = ["--config.run.steps=7", "--config.run.checkpoint_every=1"]
SAVING = "*.orbax-checkpoint-tmp*"


def start(preset, workdir):
    return runs.command(f"--config={runs.__file__}:{preset}", f"--workdir={workdir}", *CHANGES)


def wait_for(process, condition, seconds=120):
    """Look again and again until the condition holds; a process that ends before is a failure."""
    until = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < until
        time.sleep(0.0005)


def kill(process, condition, after=0.0):
    wait_for(process, condition)
    time.sleep(after)
    process.send_signal(signal.SIGKILL)
    process.communicate()


def newest(workdir):
    return max((int(folder.name) for folder in (workdir / "checkpoints").glob("*") if folder.name.isdigit()), default=-1)


def written(workdir):
    path = workdir / "metrics.jsonl"
    return path.read_text().count("\n") if path.exists() else 0


def history(workdir):
    """metrics.jsonl without clocks and counts of this process."""
    changing = ("time/", "tokens_per_second", "compilations")
    return [{k: v for k, v in line.items() if not k.startswith(changing)} for line in metrics.read(workdir / "metrics.jsonl")]


def unbroken(preset, workdir):
    """The same run in this process, on one of its devices."""
    with runs.on_devices(1):
        return train.run(runs.get_config(preset, run__steps=7, run__checkpoint_every=1), workdir, say=lambda line: None)


def check(preset, tmp_path, workdir, last):
    """Let the last process finish: the same state, the same lines, the same samples as the unbroken run."""
    code, out, err = runs.finish(last)
    assert code == 0 and out == "", err
    expected = unbroken(preset, tmp_path / "unbroken")
    summary = json.loads((workdir / "summary.json").read_text())
    assert summary["state_sha256"] == expected["state_sha256"]
    assert [line["step"] for line in history(workdir)] == list(range(1, 11))
    assert history(workdir) == history(tmp_path / "unbroken")
    for name in ("before.json", "after.json"):
        assert (workdir / name).read_text() == (tmp_path / "unbroken" / name).read_text()
    for path in (tmp_path / "unbroken/samples").iterdir():
        assert (workdir / "samples" / path.name).read_bytes() == path.read_bytes()
    return err


def test_bnpo_killed_in_warm_start_at_the_switch_and_in_a_save(tmp_path):
    workdir = tmp_path / "run"
    kill(start("bnpo", workdir), lambda: written(workdir) >= 1)
    assert not (workdir / "before.json").exists()
    kill(
        start("bnpo", workdir), lambda: (workdir / "before.json").exists()
    )  # copies and the measurement are there, no step of the method is
    assert newest(workdir) == 3 and written(workdir) == 3
    kill(start("bnpo", workdir), lambda: written(workdir) >= 5 and any((workdir / "checkpoints").glob(SAVING)))
    assert any((workdir / "checkpoints").glob(SAVING)) and 3 <= newest(workdir) < 10
    err = check("bnpo", tmp_path, workdir, start("bnpo", workdir))
    assert "going on from iteration" in err


def test_spo_killed_damaged_and_asked_to_stop(tmp_path):
    """Tables and a view of the last response; the newest checkpoint is altered; SIGTERM saves and ends with code 0."""
    workdir = tmp_path / "run"
    kill(start("spo_single_stream", workdir), lambda: newest(workdir) >= 5, after=0.01)
    step = newest(workdir)
    victim = max((f for f in (workdir / f"checkpoints/{step}").rglob("*") if f.is_file()), key=lambda f: f.stat().st_size)
    content = bytearray(victim.read_bytes())
    content[len(content) // 2] ^= 0xFF
    victim.write_bytes(content)
    process = start("spo_single_stream", workdir)
    wait_for(process, lambda: (workdir / f"checkpoints/{step}.damaged").exists())
    process.send_signal(signal.SIGTERM)
    code, out, err = runs.finish(process)
    assert code == 0 and f"checkpoint {step} is damaged" in err and "going on from iteration" in err
    assert "saved; the same command goes on from here" in err and newest(workdir) == written(workdir) < 10
    check("spo_single_stream", tmp_path, workdir, start("spo_single_stream", workdir))
