import os
import signal
import subprocess
import sys
import time

import misbehaving
import numpy as np
import pytest

from pojax.tasks import Tally, verify_rows
from pojax.tasks.text import Row, text_tasks
from pojax.tasks.tokenizers import Characters
from pojax.tasks.verifiers import bind, pool


@pytest.fixture(scope="module")
def workers():
    workers = pool.Pool(workers=2, memory=1 << 30)
    yield workers
    workers.close()


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    with open(f"/proc/{pid}/stat") as file:
        return file.read().rpartition(")")[2].split()[0] != "Z"


def wait_for(condition, seconds=20):
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.05)
    return condition()


def test_results_are_in_order(workers):
    outcomes = workers.map(misbehaving.double, [(i,) for i in range(300)], 5.0)
    assert [outcome.value["correct"] for outcome in outcomes] == [2.0 * i for i in range(300)]
    assert workers.map(misbehaving.double, [], 5.0) == []
    assert len({worker.process.pid for worker in workers._workers}) == 2


@pytest.mark.parametrize("what, status", [*((w, "raised") for w in ("raise", "leave", "recurse")), ("exit", "died"), ("spin", "timeout")])
def test_bad_calls_end_alone(workers, what, status):
    outcomes = workers.map(misbehaving.act, [("right",), (what,), ("right",)], 0.2)
    assert [outcome.status for outcome in outcomes] == ["done", status, "done"]
    assert outcomes[1].error == ("KeyError: 'no\\nsuch\\nkey'" if what == "raise" else outcomes[1].error) and "\n" not in outcomes[1].error
    if status != "raised":
        assert outcomes[1].verdict({"correct": (), "spans": (2,)})["spans"].tolist() == [0, 0]
    else:
        with pytest.raises(RuntimeError):
            outcomes[1].verdict({"correct": ()})


@pytest.mark.slow
def test_every_way_to_leave_a_worker(workers):
    ways = dict(sleep="timeout", power="timeout", alarm="timeout", abort="died", memory="died", killed="died", object="done")
    begun = time.monotonic()
    outcomes = workers.map(misbehaving.act, [(way,) for what in ways for way in (what, "right")], 0.2)
    assert [outcome.status for outcome in outcomes[::2]] == list(ways.values())
    assert all(outcome.value == {"correct": 1.0} for outcome in outcomes[1::2])
    assert time.monotonic() - begun < 120  # bounded, also where other work keeps the cores busy


def make_task(verifier, answers=("a", "b", "c", "d")):
    rows = [Row(f"{i}?", ["a"], bind(verifier).prepare(answer), {}) for i, answer in enumerate(answers)]
    tokenizer = Characters("abcdefghijklmnopqrstuvwxyz?0123456789")
    return text_tasks("acts", {"train": rows}, tokenizer, bind(verifier))["train"]


def test_rows_judged_in_processes():
    """A hanging verifier's row is wrong and counted, one that raises is out, the others have their verdicts."""
    task, tally = make_task(("misbehaving:judge", {})), Tally()
    texts = ["right", "spin", "raise", "exit"]
    ids = [task.tokenizer.encode(text) for text in texts]
    tokens = np.array([row + [1] * (6 - len(row)) for row in ids])
    components, ok, failures = verify_rows(task, np.arange(4), tokens, np.ones((4, 6), bool), np.ones(4, bool), tally=tally)
    np.testing.assert_array_equal(components["correct"], [1, 0, 0, 0])
    np.testing.assert_array_equal(ok, [True, True, False, True])
    assert [failure.split(": ")[1] for failure in failures] == ["the verifier took longer than it may; counted as wrong", "KeyError",
        "the verifier ended its process or took more memory than it may; counted as wrong"]  # fmt: skip
    found = tally.take()
    assert found.pop("verify/answers_per_second") > 0
    assert found == {"verify/failed": 1, "verify/timeouts": 1, "verify/died": 1} and tally.take() == {}


def test_a_closed_pool_is_replaced():
    first = pool.shared()
    pids = [worker.process.pid for worker in first._workers if worker.process]
    first.close()
    assert wait_for(lambda: not any(map(alive, pids)))
    assert pool.shared() is not first and pool.shared() is pool.shared()
    with pytest.raises(RuntimeError, match="closed"):
        first.submit(misbehaving.double, (1,), 1.0)


SCRIPT = """
import signal, sys, threading, misbehaving
from pojax.tasks.verifiers import pool
signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job of a shell may begin with it ignored
print("begun", flush=True)  # a second time, if a worker ran this script
workers = pool.shared()
workers.map(misbehaving.double, [(1,)] * 8, 5.0)
print(*[worker.process.pid for worker in workers._workers], flush=True)
if len(sys.argv) > 1:
    workers.map(misbehaving.act, [("sleep",)] * 8, 30.0)
"""


@pytest.mark.slow
@pytest.mark.parametrize("end", ["end", "interrupt", "kill"])
def test_no_process_is_left_behind(tmp_path, end):
    (tmp_path / "script.py").write_text(SCRIPT)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    command = [sys.executable, str(tmp_path / "script.py"), *(["hang"] if end != "end" else [])]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment, stderr=subprocess.DEVNULL) as script:
        try:
            assert script.stdout.readline() == "begun\n"
            pids = list(map(int, script.stdout.readline().split()))
            assert pids
            if end != "end":
                assert all(map(alive, pids))
                time.sleep(0.5)
                script.send_signal(signal.SIGINT if end == "interrupt" else signal.SIGKILL)
            assert script.wait(timeout=30) == {"end": 0, "interrupt": -signal.SIGINT, "kill": -signal.SIGKILL}[end]
            assert script.stdout.read() == ""
        finally:
            script.kill()  # or a failure would be waited for
    # Where the parent was killed, a worker that is busy ends with its own alarm, and one that is not ends at once.
    assert end == "kill" or wait_for(lambda: not any(map(alive, pids)))


def test_workers_that_cannot_start(monkeypatch):
    monkeypatch.setattr(pool, "PROGRAM", "raise SystemExit(7)")
    workers = pool.Pool(workers=1)
    with pytest.raises(RuntimeError, match=r"end before they begin \(exit code 7, 3 times\)"):
        workers.map(misbehaving.double, [(1,)], 1.0)
    workers.close()
