"""Worker processes for verifiers that are slow or may hang: one shared pool, results in order, limits of time and memory per call.

Workers are new interpreters, not forks: a process in which JAX has threads must not fork. What a worker says is read as JSON, never
unpickled: it has worked on untrusted text.
"""

import atexit
import contextlib
import json
import os
import pickle
import queue
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

import numpy as np

WALL = 5  # seconds of the clock for each second of processor time: a loaded machine is slow, a call that sleeps is not working
LOAD_SECONDS = 120.0
PROGRAM = (  # not `-m`: the modules are those that this process imports
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from pojax.tasks.verifiers.worker import serve; serve(int(sys.argv[2]), int(sys.argv[3]))"
)
STARTS = 3  # in a row that fail before the pool says that workers cannot be started here


class Outcome(NamedTuple):
    """What became of a call."""

    status: str  # "done", "raised" (by the function), "timeout", "died" (out of memory, a crash: the worker is gone)
    value: Any = None  # what it returned, as JSON holds it
    error: str = ""  # what it raised

    def verdict(self, fields: Mapping[str, tuple[int, ...]]) -> Any:
        """What the function returned; all components 0 for a call over a limit, RuntimeError with what it raised.

        A call over a limit is a wrong answer and not a row without a verdict: a policy must not escape a verdict by stopping the verifier.
        """
        if self.status == "raised":
            raise RuntimeError(self.error)
        return self.value if self.status == "done" else {name: np.zeros(shape) for name, shape in fields.items()}


class Pool:
    """Worker processes, each fed by a thread of this one; a worker that is lost is replaced.

    workers: default one per core that this process may use; they start when there is work for them. memory: bytes that a worker may take
    beside what it has when its function is loaded (where the system limits address space).
    """

    def __init__(self, workers: int | None = None, memory: int = 2 << 30):
        self.size = workers or (len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
        self.memory = memory
        self._jobs: queue.SimpleQueue[tuple[Future[Outcome], bytes, bytes, float] | None] = queue.SimpleQueue()
        self._workers: list[_Worker] = []
        self._lock, self.closed = threading.Lock(), False
        atexit.register(self.close)

    def submit(self, function: Callable[..., Any], arguments: tuple[Any, ...], seconds: float) -> "Future[Outcome]":
        """Begin function(*arguments) in a worker, to end within `seconds` of processor time and WALL times that of the clock.

        Both can be pickled, the function by its name; a method `load` of it is called once per worker, outside the limits.
        """
        future: Future[Outcome] = Future()
        job = (future, pickle.dumps(function), pickle.dumps(arguments), float(seconds))
        with self._lock:
            if self.closed:
                raise RuntimeError("the pool of verifiers is closed")
            if len(self._workers) < self.size:
                self._workers.append(_Worker(self._jobs, self.memory))
            self._jobs.put(job)
        return future

    def map(self, function: Callable[..., Any], calls: Iterable[tuple[Any, ...]], seconds: float) -> list[Outcome]:
        """function(*arguments) for all arguments, on all workers; the outcomes in the order of the calls.

        A call over a limit, or one in which the worker dies, costs that call alone. RuntimeError where no worker can be started.
        """
        futures = [self.submit(function, arguments, seconds) for arguments in calls]
        try:
            return [future.result() for future in futures]
        finally:  # interrupted: what has not begun does not
            for future in futures:
                future.cancel()

    def close(self) -> None:
        """Kill the workers; calls that run end as "died", those that wait are cancelled."""
        with self._lock:
            self.closed, workers = True, self._workers
            self._workers = []
        atexit.unregister(self.close)
        while True:
            try:
                job = self._jobs.get_nowait()
            except queue.Empty:
                break
            if job is not None:
                job[0].cancel()
        for _ in workers:
            self._jobs.put(None)
        for worker in workers:
            worker.stop()
        for worker in workers:
            worker.thread.join(timeout=5)


class _Worker:
    """A thread that feeds one process at a time."""

    def __init__(self, jobs: Any, memory: int):
        self.jobs, self.memory = jobs, memory
        self.process: subprocess.Popen[bytes] | None = None
        self.connection: Connection | None = None
        self.loaded: set[bytes] = set()
        self.failed, self.stopped = 0, False
        self.lock = threading.Lock()  # a process is not started while the pool closes
        self.thread = threading.Thread(target=self._run, name="pojax verifier", daemon=True)
        self.thread.start()

    def stop(self) -> None:
        with self.lock:
            self.stopped = True
            if self.process is not None:
                _kill_group(self.process)

    def _run(self) -> None:
        while (job := self.jobs.get()) is not None:
            future, *call = job
            if not future.set_running_or_notify_cancel():
                continue
            try:
                # The system kills processes for memory that others took: one such death is not the answer's fault.
                future.set_result(self._call(*call) or self._call(*call) or Outcome("died"))
            except BaseException as error:
                future.set_exception(error)
        self._reap()

    def _call(self, function: bytes, arguments: bytes, seconds: float) -> Outcome | None:
        """The outcome of a call; None if the worker was killed from outside."""
        if self.stopped:
            return Outcome("died")
        if self.process is not None and self.process.poll() is not None:
            self._reap()  # it died while it had nothing to do
        if function not in self.loaded:
            failure = self._load(function)
            if failure is not None:
                return failure
        answer = self._ask((function, arguments, seconds), WALL * seconds + 5.0)  # the worker's own clock is the first to end it
        if isinstance(answer, Outcome):
            return answer
        code = self._reap()
        if answer == "silent" or code in (-signal.SIGPROF, -signal.SIGALRM):
            return Outcome("timeout")
        return None if code == -signal.SIGKILL and not self.stopped else Outcome("died")

    def _load(self, function: bytes) -> Outcome | None:
        """Start a process if there is none, and load a function there; the outcome if that raises."""
        while self.failed < STARTS:
            if self.process is None:
                self._start()
            answer = self._ask((function, None, LOAD_SECONDS), LOAD_SECONDS)
            if isinstance(answer, Outcome):
                self.failed = 0
                if answer.status == "raised":
                    return answer
                self.loaded.add(function)
                return None
            code = self._reap()
            if self.stopped:
                return Outcome("died")
            self.failed += 1
        raise RuntimeError(f"worker processes of verifiers end before they begin (exit code {code}, {STARTS} times)")

    def _start(self) -> None:
        ours, theirs = socket.socketpair()
        quiet = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
        # JAX, where a verifier imports it, leaves the accelerator alone; equal hashes give equal orders of symbols in sympy.
        environment = {**os.environ, **quiet, "JAX_PLATFORMS": "cpu", "PYTHONHASHSEED": "0"}
        with self.lock, ours, theirs:
            if self.stopped:
                raise RuntimeError("the pool of verifiers is closed")
            self.process = subprocess.Popen(
                [sys.executable, "-c", PROGRAM, json.dumps([os.path.abspath(p) for p in sys.path]), str(theirs.fileno()), str(self.memory)],
                pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C is for this process, which then closes the pool
                env=environment,
            )  # fmt: skip
            self.connection = Connection(ours.detach())
        self.loaded = set()

    def _ask(self, request: tuple[Any, ...], seconds: float) -> "Outcome | str":
        """The worker's answer; "gone" where it has ended, "silent" where it says nothing for that time."""
        assert self.connection is not None
        try:
            self.connection.send_bytes(pickle.dumps(request))
            if not self.connection.poll(seconds):
                return "silent"
            return Outcome(*json.loads(self.connection.recv_bytes()))
        except (EOFError, OSError):
            return "gone"

    def _reap(self) -> int | None:
        """End the process; its exit code."""
        if self.process is None or self.connection is None:
            return None
        process, self.process = self.process, None
        self.connection.close()
        self.connection, self.loaded = None, set()
        try:
            code = process.wait(timeout=0.5)  # one that has closed its end is about to go by itself
        except subprocess.TimeoutExpired:
            code = None
        _kill_group(process)
        return process.wait() if code is None else code


def _kill_group(process: "subprocess.Popen[bytes]") -> None:
    """Kill a worker with what it started."""
    with contextlib.suppress(ProcessLookupError, PermissionError):  # nobody is left
        os.killpg(process.pid, signal.SIGKILL)


_shared: list[tuple[int, Pool]] = []
_lock = threading.Lock()


def shared() -> Pool:
    """The pool of this process, made when it is first asked for."""
    with _lock:
        if not _shared or _shared[0][0] != os.getpid() or _shared[0][1].closed:
            _shared[:] = [(os.getpid(), Pool())]
        return _shared[0][1]
