"""Sinks: what is written can be read back by others, and going back to a step leaves each step exactly once."""

import io
import json
import struct
import sys
import types

import jax.numpy as jnp
import numpy as np
import pytest
from tensorboardX import crc32c
from tensorboardX.proto import event_pb2

from pojax import environment, metrics


def masked(data):
    crc = crc32c._crc32c(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def events(folder):
    """(step, {tag: value}) of every event below a folder, by a reader that checks lengths and both checksums."""
    found = []
    for path in sorted(folder.rglob("events.out.tfevents.*")):
        content, at = path.read_bytes(), 0
        while at < len(content):
            (size,) = struct.unpack("<Q", content[at : at + 8])
            header_sum, data = content[at + 8 : at + 12], content[at + 12 : at + 12 + size]
            data_sum = content[at + 12 + size : at + 16 + size]
            assert struct.pack("<I", masked(content[at : at + 8])) == header_sum and struct.pack("<I", masked(data)) == data_sum
            event = event_pb2.Event.FromString(data)
            assert (at == 0) == (event.file_version == "brain.Event:2")
            if at:
                found.append((event.step, {value.tag: value.simple_value for value in event.summary.value}))
            at += 16 + size
    return found


def fill(workdir, steps):
    sinks = [metrics.jsonl(workdir / "metrics.jsonl"), metrics.tensorboard(workdir / "tensorboard")]
    for step in steps:
        for sink in sinks:
            sink.write(step, {"reward": step / 8, "policy/loss": -step})
    for sink in sinks:
        sink.close()


def test_jsonl(tmp_path):
    path = tmp_path / "new" / "metrics.jsonl"
    sink = metrics.jsonl(path)
    sink.write(
        1, {"reward": jnp.float32(0.5), "count": np.int64(3), "bad": float("nan"), "flag": True, "half": jnp.ones((1,), jnp.bfloat16)}
    )
    assert json.loads(path.read_text()) == {
        "step": 1,
        "bad": None,
        "count": 3,
        "flag": 1,
        "half": 1.0,
        "reward": 0.5,
    }  # before it is closed
    sink.close()
    again = metrics.jsonl(path)
    again.write(2, {})
    again.close()
    assert [line["step"] for line in metrics.read(path)] == [1, 2]
    with pytest.raises(ValueError, match=r"metrics: reward is float32 of shape \(2,\), allowed: one number"):
        metrics.jsonl(path).write(3, {"reward": np.zeros(2, np.float32)})
    with pytest.raises(ValueError, match="metrics: name is <U1"):
        metrics.jsonl(path).write(3, {"name": "x"})


def test_tensorboard(tmp_path):
    fill(tmp_path, [1, 2, 300])
    assert events(tmp_path) == [(step, {"reward": step / 8, "policy/loss": -step}) for step in (1, 2, 300)]


def test_cut_back_and_go_on(tmp_path):
    fill(tmp_path, range(1, 8))
    (tmp_path / "metrics.jsonl").open("a").write('{"step": 8, "rew')  # killed while it wrote
    (path,) = tmp_path.rglob("events.out.tfevents.*")
    path.open("ab").write(path.read_bytes()[40:70])  # half of the record behind the first
    for step in (5, 3):
        metrics.cut_back(tmp_path, step)
        assert [line["step"] for line in metrics.read(tmp_path / "metrics.jsonl")] == list(range(1, step + 1))
        assert [at for at, _ in events(tmp_path)] == list(range(1, step + 1))
    fill(tmp_path, range(4, 300))  # the run goes on, in a second event file
    metrics.cut_back(tmp_path, 250)  # steps of two bytes in the record
    fill(tmp_path, range(251, 253))
    assert [line["step"] for line in metrics.read(tmp_path / "metrics.jsonl")] == list(range(1, 253))
    assert events(tmp_path) == [(step, {"reward": step / 8, "policy/loss": -step}) for step in range(1, 253)]
    metrics.cut_back(tmp_path, 0)  # no checkpoint: from the beginning
    assert (tmp_path / "metrics.jsonl").read_text() == "" and events(tmp_path) == []
    assert not list(tmp_path.rglob(".*"))


def test_cut_back_needs_no_package(tmp_path, monkeypatch):
    fill(tmp_path, range(1, 4))
    monkeypatch.setattr(metrics, "optional", lambda *_, **__: pytest.fail("asked for a package"))
    metrics.cut_back(tmp_path, 2)
    metrics.cut_back(tmp_path / "nothing", 2)
    assert [at for at, _ in events(tmp_path)] == [1, 2]


@pytest.mark.parametrize("line", ["{", "[1]", '{"reward": 1}', '{"step": 1.5}', "text"])
def test_lines_that_are_none(tmp_path, line):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1}\n' + line + "\n")
    with pytest.raises(ValueError, match=r"metrics\.jsonl:2: found .*allowed: a JSON object with an integer"):
        metrics.cut_back(tmp_path, 9)
    assert path.read_text().endswith(line + "\n")


@pytest.mark.parametrize("name, sink", [("tensorboard", metrics.tensorboard), ("wandb", lambda x: metrics.wandb(x, project="p"))])
def test_missing_packages_name_the_extra(tmp_path, monkeypatch, name, sink):
    for module in [module for module in sys.modules if module.startswith(("tensorboardX", "wandb"))]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setattr(sys, "meta_path", [])
    with pytest.raises(ImportError, match=rf"pip install 'pojax\[{name}\]'"):
        sink(tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_a_package_that_is_broken_is_not_called_missing(tmp_path, monkeypatch):
    (tmp_path / "halfbroken.py").write_text("import what_it_needs")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="what_it_needs"):
        environment.optional("halfbroken", extra="x", what="it")


def test_wandb_goes_on_as_the_same_run(tmp_path, monkeypatch):
    calls = []

    class Run:
        def log(self, numbers, step):
            calls.append((step, numbers))

        def finish(self):
            calls.append("finish")

    package = types.ModuleType("wandb")
    package.init = lambda **settings: calls.append(settings) or Run()
    monkeypatch.setitem(sys.modules, "wandb", package)
    for step in (1, 2):
        sink = metrics.wandb(tmp_path / "wandb", project="p", config={"seed": 0})
        sink.write(step, {"reward": jnp.float32(1)})
        sink.close()
    first, second = calls[0], calls[3]
    assert first == second and first["id"] and first["resume"] == "allow" and first["project"] == "p"
    assert calls[1:3] == [(1, {"reward": 1.0}), "finish"] and calls[4][0] == 2


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize("stream", [io.StringIO(), Terminal()], ids=["file", "terminal"])
def test_progress(stream):
    now = [100.0]
    sink = metrics.progress(10, stream=stream, clock=lambda: now[0])
    for step in range(3, 11):  # a run that was resumed
        sink.write(step, {"reward": step / 10, "tokens_per_second": 12345.6} | ({"validation/pass_at_1": 0.25} if step == 4 else {}))
        now[0] += 2.0
    sink.close()
    lines = stream.getvalue().replace("\r\x1b[K", "\n").strip("\n").split("\n")
    if stream.isatty():
        assert len(lines) == 8 and stream.getvalue().endswith("\n")
        assert lines[1] == "[########            ] 4/10  reward 0.400  pass@1 25.0%  12,346 tokens/s  0:12 left"
    else:
        assert [line.split("/")[0].split()[-1] for line in lines] == ["3", "6", "9", "10"]  # at 0, 6 and 12 seconds, and the last
    assert lines[0] == "[######              ] 3/10  reward 0.300  12,346 tokens/s"
    assert lines[-1] == "[####################] 10/10  reward 1.000  pass@1 25.0%  12,346 tokens/s  0:00 left"


def test_progress_line():
    assert metrics.progress_line(0, 0, {}) == "[####################] 0/0"
    assert metrics.progress_line(1, 4, {"loss": 2.0}, 3725) == "[#####               ] 1/4  loss 2.000  1:02:05 left"
