"""Checkpoints: the same bits come back, whatever happened to the process, the disk or the files in between."""

import hashlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from pojax import checkpointing
from pojax.checkpointing import Checkpoints, abstract, digest, load_config, load_params
from pojax.types import LearnerState

CONFIG = {"seed": 0, "losses": [["k3", {"scale": 0.1}]]}


def small(seed=0):
    """A state with one large incompressible array, so that damage to its file meets numbers."""
    numbers = np.random.default_rng(seed).normal(size=(64, 256)).astype(np.float32)
    return {"params": {"policy": {"embed": jnp.asarray(numbers), "bias": jnp.full(3, seed, jnp.float32)}}, "step": jnp.int32(seed)}


def full():
    """Everything that a state may hold."""
    params = {"policy": {"w": jnp.arange(12.0).reshape(3, 4), "half": jnp.ones((2, 3), jnp.bfloat16)}, "value": {"w": jnp.full(2, jnp.nan)}}
    return LearnerState(
        step=jnp.int32(7),
        params=params,
        opt={"policy": optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(1e-3)).init(params["policy"]), "none": ()},
        copies={"ref": {"policy": jax.tree.map(jnp.copy, params["policy"])}},
        tables={"seen": jnp.zeros((0, 3)), "flags": jnp.array([True, False]), "fp8": jnp.ones(4, jnp.float8_e4m3fn)},
        source={"order": np.arange(5), "offset": np.array(2.5), "keys": jax.random.split(jax.random.key(1), 3)},
        key=jax.random.key(3),
    )


def same(a, b):
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        assert isinstance(x, jax.Array) == isinstance(y, jax.Array) and x.dtype == y.dtype and x.shape == y.shape
    return digest(a) == digest(b)


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """A folder with checkpoints 1 and 2, to be copied."""
    folder = tmp_path_factory.mktemp("two")
    with Checkpoints(folder) as checkpoints:
        for step in (1, 2):
            checkpoints.save(step, small(step), config=CONFIG, score=float(-step))
    return folder


@pytest.fixture
def folder(two, tmp_path):
    return shutil.copytree(two, tmp_path / "checkpoints")


# ---- the digest


def test_a_large_state_in_host_memory_is_written_where_it_is(tmp_path, monkeypatch):
    """No second copy is taken, and the step is on disk when `save` returns, so that the state may be donated all the same."""
    monkeypatch.setattr(checkpointing, "LARGE", 1000)
    monkeypatch.setattr(checkpointing, "_copy", None)
    state = small(3)
    expected = digest(state)
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(1, state, config=CONFIG)
        assert (tmp_path / "1").is_dir()
        jax.tree.map(lambda x: x.delete(), state)
        restored, step = checkpoints.restore(abstract(small(0)))
    assert step == 1 and digest(restored) == expected


def test_digest_against_an_independent_one():
    state = {"b": np.arange(6, dtype=np.int16).reshape(2, 3).T, "a": [np.float32([1.5]), np.array(True)]}
    assert not state["b"].flags.c_contiguous
    lines = [
        json.dumps([path, dtype, shape, hashlib.sha256(content).hexdigest()])
        for path, dtype, shape, content in (
            ("a/0", "float32", [1], np.float32(1.5).tobytes()),
            ("a/1", "bool", [], b"\x01"),
            ("b", "int16", [3, 2], np.int16([0, 3, 1, 4, 2, 5]).tobytes()),
        )
    ]
    assert digest(state) == hashlib.sha256("\n".join(lines).encode()).hexdigest()


def test_digest_sees_path_dtype_shape_and_bits():
    base = {"a": np.zeros(4, np.float32), "b": jax.random.key(0)}
    others = [
        {"c": np.zeros(4, np.float32), "b": jax.random.key(0)},
        {"a": np.zeros(4, np.int32), "b": jax.random.key(0)},
        {"a": np.zeros((2, 2), np.float32), "b": jax.random.key(0)},
        {"a": np.float32([0, 0, 0, -0.0]), "b": jax.random.key(0)},
        {"a": np.zeros(4, np.float32), "b": jax.random.key(1)},
        {"a": np.zeros(4, np.float32), "b": jax.random.key_data(jax.random.key(0))},
    ]
    assert len({digest(x) for x in [base, *others]}) == 7
    assert digest(dict(reversed(base.items()))) == digest({"a": jnp.zeros(4), "b": jax.random.key(0)}) == digest(base)


# ---- back and forth


def test_everything_comes_back(tmp_path):
    state = full()
    with Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.restore(abstract(state)) is None
        checkpoints.save(7, state, config=CONFIG)
        restored, step = checkpoints.restore(abstract(state))
    assert step == 7 and same(restored, state)
    assert load_config(tmp_path) == CONFIG


def test_another_mesh(tmp_path):
    devices = np.array(jax.devices())
    assert len(devices) == 8
    there, here = Mesh(devices.reshape(4, 2), ("fsdp", "tensor")), Mesh(devices.reshape(2, 4), ("fsdp", "tensor"))
    specs = {"params": {"policy": {"embed": PartitionSpec("fsdp", "tensor"), "bias": PartitionSpec()}}, "step": PartitionSpec()}
    place = lambda mesh: jax.device_put(small(5), jax.tree.map(lambda spec: NamedSharding(mesh, spec), specs))  # noqa: E731
    state, target = place(there), abstract(place(here))
    assert digest(state) == digest(small(5))
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(5, state, config=CONFIG)
        restored, _ = checkpoints.restore(target)
    assert digest(restored) == digest(state)
    embed = restored["params"]["policy"]["embed"]
    assert embed.sharding == NamedSharding(here, specs["params"]["policy"]["embed"])
    assert embed.addressable_shards[0].data.shape == (32, 64)


def test_state_may_be_donated_right_after_save(tmp_path):
    state = {"params": [jnp.full((256, 1024), float(i)) for i in range(8)], "host": np.zeros(3)}
    advance = jax.jit(lambda params: [x + 1 for x in params], donate_argnums=0)
    digests = {}
    with Checkpoints(tmp_path, keep=3) as checkpoints:
        for step in (1, 2, 3):
            digests[step] = digest(state)
            checkpoints.save(step, state, config={})
            donated = state["params"]
            state["params"] = advance(donated)
            state["host"] += 1  # numpy arrays are copied too
            assert donated[0].is_deleted()
        restored, step = checkpoints.restore(abstract(state))
    assert digest(restored) == digests[step]


def test_save_does_not_wait_for_the_disk(tmp_path, monkeypatch):
    write, go_on = Checkpoints._write, threading.Event()

    def slow(self, *args):
        assert go_on.wait(30)
        write(self, *args)

    monkeypatch.setattr(Checkpoints, "_write", slow)
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(1, small(), config={})
        assert not (tmp_path / "1").exists()  # save has returned, nothing is written
        go_on.set()
        assert checkpoints.steps() == [1]


def test_newest_and_best_are_kept_across_processes(tmp_path):
    for step, score in ((1, 0.2), (2, 0.9), (3, float("nan")), (4, None), (5, 0.4)):
        with Checkpoints(tmp_path, keep=2) as checkpoints:  # as a run that is started again each time
            checkpoints.save(step, {"params": {"policy": jnp.float32(step)}}, config={}, score=score)
    with Checkpoints(tmp_path, keep=2) as checkpoints:
        assert checkpoints.steps() == [2, 4, 5]
    target = {"policy": jax.ShapeDtypeStruct((), jnp.float32)}
    assert load_params(tmp_path, target, best=True)["policy"] == 2
    assert load_params(tmp_path, target)["policy"] == 5


def test_order_of_steps(folder):
    with Checkpoints(folder) as checkpoints:
        checkpoints.save(2, small(9), config={})  # the newest again: nothing happens
        with pytest.raises(ValueError, match="step 1 is older than the newest in .*, 2"):
            checkpoints.save(1, small(1), config={})
        assert digest(checkpoints.restore(abstract(small()))[0]) == digest(small(2))


# ---- damage


def largest(folder, below):
    return max((path for path in (folder / below).rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)


def truncate(folder):
    path = largest(folder, "2/state")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip(folder):
    path = largest(folder, "2/state")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)


def remove_data(folder):
    largest(folder, "2/state").unlink()


def remove_record(folder):
    shutil.rmtree(folder / "2/facts")


def swap(folder):  # readable, of the right shapes, and wrong
    shutil.rmtree(folder / "2/state")
    shutil.copytree(folder / "1/state", folder / "2/state")


def forge(folder):
    path = largest(folder, "2/facts")
    text = path.read_text()
    assert '"k3"' in text
    path.write_text(text.replace('"k3"', '"k2"'))


@pytest.mark.parametrize("damage", [truncate, flip, remove_data, remove_record, swap, forge])
def test_a_damaged_checkpoint_is_set_aside(folder, damage):
    damage(folder)
    said = []
    with Checkpoints(folder, say=said.append) as checkpoints:
        restored, step = checkpoints.restore(abstract(small()))
        assert step == 1 and digest(restored) == digest(small(1))
        assert len(said) == 1 and "checkpoint 2 is damaged" in said[0] and "\n" not in said[0]
        assert checkpoints.steps() == [1] and (folder / "2.damaged").is_dir()
        checkpoints.save(2, small(2), config=CONFIG)  # the run comes to that step again
        assert digest(checkpoints.restore(abstract(small()))[0]) == digest(small(2))


def test_altered_bytes_restore_silently_without_the_digest(folder, monkeypatch):
    """What the digest is for: the same damage, with the check made blind."""
    flip(folder)
    record = json.loads(largest(folder, "2/facts").read_text())["facts"]["leaves"]
    monkeypatch.setattr(checkpointing, "_fingerprint", lambda leaf: next(x for x in record.values() if x[1] == list(leaf.data.shape)))
    with Checkpoints(folder) as checkpoints:
        restored, step = checkpoints.restore(abstract(small()))
    monkeypatch.undo()
    assert step == 2 and digest(restored) != digest(small(2))


def test_nothing_is_whole(folder):
    for step in ("1", "2"):
        largest(folder, f"{step}/state").unlink()
    (folder / "2.damaged").mkdir()  # a name that is taken
    said = []
    with Checkpoints(folder, say=said.append) as checkpoints:
        assert checkpoints.restore(abstract(small())) is None
    assert len(said) == 3 and "starting from the beginning" in said[2]
    assert sorted(path.name for path in folder.iterdir()) == ["1.damaged", "2.damaged", "2.damaged-2"]


def test_another_layout_is_an_error_and_changes_nothing(folder):
    target = abstract(small())
    grown = jax.ShapeDtypeStruct((65, 256), jnp.float32)
    cases = {
        r"2: params/policy/embed is \(64, 256\) float32, expected \(65, 256\) float32": dict(embed=grown),
        r"params/policy/bias is \(3,\) float32, expected \(3,\) float16": dict(bias=jax.ShapeDtypeStruct((3,), jnp.float16)),
        r"params/policy/head is not in it; expected \(65, 256\) float32": dict(head=grown),
    }
    with Checkpoints(folder) as checkpoints:
        for message, change in cases.items():
            wrong = target | {"params": {"policy": target["params"]["policy"] | change}}
            with pytest.raises(ValueError, match=message):
                checkpoints.restore(wrong)
        with pytest.raises(ValueError, match=r"holds step \(\) int32"):
            checkpoints.restore({"params": target["params"]})
        assert checkpoints.steps() == [1, 2]


# ---- what cannot be saved


@pytest.mark.parametrize("leaf", ["text", 3, 1.5, np.array(["a"]), np.array([None]), np.datetime64("2026-01-01")], ids=repr)
def test_leaves_that_are_not_arrays(tmp_path, leaf):
    with pytest.raises(ValueError, match="state: table/0 is .*allowed: numeric and boolean arrays"):
        digest({"table": [leaf]})


def test_a_refused_save_leaves_everything_usable(folder):
    with Checkpoints(folder) as checkpoints:
        with pytest.raises(ValueError, match="state: name is str"):
            checkpoints.save(3, small() | {"name": "x"}, config={})
        with pytest.raises(ValueError, match="two arrays have the path 'a/b'"):
            checkpoints.save(3, {"a": {"b": jnp.zeros(1)}, "a/b": jnp.zeros(1)}, config={})
        with pytest.raises(ValueError, match="checkpoint 3: the config is not JSON"):
            checkpoints.save(3, small(), config={"function": len})
        checkpoints.save(3, small(3), config={})
        assert checkpoints.steps() == [1, 2, 3]
    with pytest.raises(ValueError, match="keep is 0"):
        Checkpoints(folder, keep=0)


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=f"cannot write to {tmp_path}/file/checkpoints: .*nothing was changed"):
        Checkpoints(tmp_path / "file" / "checkpoints")


def test_a_failed_save_is_told_at_the_next_call(folder, monkeypatch):
    def fail(self, *args):
        raise RuntimeError("quota exceeded")

    said = []
    with pytest.raises(RuntimeError, match="the run's own"), Checkpoints(folder, say=said.append) as checkpoints:
        with monkeypatch.context() as patch:
            patch.setattr(Checkpoints, "_start", fail)
            checkpoints.save(3, small(3), config={})
        with pytest.raises(
            OSError, match="checkpoint 3 could not be written to .*: quota exceeded; the checkpoints before it are complete"
        ):
            checkpoints.save(4, small(4), config={})
        checkpoints.save(3, small(3), config={})
        assert checkpoints.steps() == [1, 2, 3]
        monkeypatch.setattr(Checkpoints, "_start", fail)
        checkpoints.save(4, small(4), config={})
        raise RuntimeError("the run's own error is not hidden by that of the save")
    assert len(said) == 1 and "checkpoint 4 could not be written" in said[0]


# ---- parameters of another run


def test_parameters_alone(folder):
    target = abstract(small())["params"]
    assert same(load_params(folder, target), small(2)["params"])
    assert same(load_params(folder, target, best=True), small(1)["params"])
    vocabulary = {"policy": target["policy"] | {"embed": jax.ShapeDtypeStruct((80, 256), jnp.float32)}}
    with pytest.raises(ValueError, match=r"params/policy/embed is \(64, 256\) float32, expected \(80, 256\) float32"):
        load_params(folder, vocabulary)
    with pytest.raises(ValueError, match=r"holds params/policy/embed \(64, 256\) float32, which the model"):
        load_params(folder, {"policy": {"bias": target["policy"]["bias"]}})
    with pytest.raises(ValueError, match="params/value/w is not in it"):
        load_params(folder, target | {"value": {"w": target["policy"]["bias"]}})
    flip(folder)
    said = []
    assert same(load_params(folder, target, say=said.append), small(1)["params"])
    assert "params/policy/embed was altered" in said[0] and (folder / "2").is_dir()  # another run's folder: nothing is renamed
    with pytest.raises(ValueError, match="no whole checkpoint"):
        load_params(folder / "missing", target)
    assert load_config(folder / "missing") is None


# ---- killed processes and full disks

CHILD = """
import os, resource, signal, sys, threading, time
import jax.numpy as jnp, numpy as np
from pojax.checkpointing import Checkpoints
folder = sys.argv[1]
state = lambda step: {"w": jnp.asarray(np.random.default_rng(step).normal(size=(256, 4096)).astype(np.float32))}
with Checkpoints(folder) as checkpoints:
    checkpoints.save(1, state(1), config={})
    checkpoints.wait()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))  # the disk is full
    checkpoints.save(2, state(2), config={})
    try:
        checkpoints.wait()
        sys.exit("the disk was full and nobody said so")
    except OSError as error:
        print(error)
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)  # and has room again
    assert checkpoints.steps() == [1]
    checkpoints.save(2, state(2), config={})
    checkpoints.wait()
    checkpoints.save(3, state(3), config={})
    while not any("tmp" in name for name in os.listdir(folder)):
        time.sleep(0.0002)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def start(code, *args):
    environment = os.environ | {"XLA_FLAGS": "", "PYTHONPATH": str(Path(__file__).parents[1])}
    command = [sys.executable, "-c", code, *map(str, args)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_disk_full_then_killed_in_mid_save(tmp_path):
    child = start(CHILD, tmp_path)
    out, err = child.communicate(timeout=120)
    assert child.returncode == -signal.SIGKILL, err
    assert "checkpoint 2 could not be written" in out and out.count("\n") == 1
    left = [path.name for path in tmp_path.iterdir() if "tmp" in path.name]
    assert left and (tmp_path / "2").is_dir() and not (tmp_path / "3").exists()
    state = lambda step: {"w": np.random.default_rng(step).normal(size=(256, 4096)).astype(np.float32)}  # noqa: E731
    with Checkpoints(tmp_path) as checkpoints:
        restored, step = checkpoints.restore(abstract(state(0)))
        assert step == 2 and digest(restored) == digest(state(2))
        checkpoints.save(3, state(3), config={})
    with Checkpoints(tmp_path) as checkpoints:
        restored, step = checkpoints.restore(abstract(state(0)))
    assert step == 3 and digest(restored) == digest(state(3))
    assert not [path for path in tmp_path.iterdir() if "tmp" in path.name]


PAIR = """
import sys
import jax
jax.config.update("jax_num_cpu_devices", 2)
port, me, folder = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
jax.distributed.initialize(f"127.0.0.1:{port}", num_processes=2, process_id=me)
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec
from pojax.checkpointing import Checkpoints, abstract, digest
mesh = jax.make_mesh((4,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
def state(step):
    value = np.random.default_rng(step).normal(size=(64, 256)).astype(np.float32)
    make = lambda spec: jax.make_array_from_callback(value.shape, NamedSharding(mesh, spec), lambda index: value[index])
    return {"sharded": make(PartitionSpec("data")), "whole": make(PartitionSpec())}
with Checkpoints(folder) as checkpoints:
    for step in (1, 2):
        checkpoints.save(step, state(step), config={})
    restored, step = checkpoints.restore(abstract(state(0)))
    assert step == 2 and restored["sharded"].sharding.spec == PartitionSpec("data")
    assert digest(restored) == digest(state(2)) != digest(state(1))
print(digest(restored))
"""


@pytest.mark.slow
def test_two_processes_and_restore_in_one(tmp_path):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    pair = [start(PAIR, port, me, tmp_path) for me in (0, 1)]
    outputs = [child.communicate(timeout=120) for child in pair]
    assert [child.returncode for child in pair] == [0, 0], outputs
    value = np.random.default_rng(2).normal(size=(64, 256)).astype(np.float32)
    alone = {"sharded": jnp.asarray(value), "whole": jnp.asarray(value)}
    assert [out.split()[-1] for out, _ in outputs] == [digest(alone)] * 2
    with Checkpoints(tmp_path) as checkpoints:
        restored, step = checkpoints.restore(abstract(alone))
    assert step == 2 and same(restored, alone)
