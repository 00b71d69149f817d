"""Untrusted Python code in a process of its own: limits of time, memory, disk and processes, no network, none of the user's files.

Where the system allows user namespaces (Linux 5.12 or newer; as root or not), the program is nobody in user, mount, pid, net, ipc and uts
namespaces of its own. It sees the interpreter's files, read-only, and an empty /tmp of limited size; it sees no other process, and all that
it started ends with it. What remains: the kernel itself (system calls that programs seldom need are denied), the world-readable files of
the interpreter and of the C library, processor time up to `seconds`, and memory up to `memory_bytes` in each of its processes.

Where namespaces are missing (the default in Docker and Kubernetes), `run` refuses. With allow_without_namespaces=True it runs with the
limits, the filter of system calls (no sockets, no signals to others) and, if started as root, as a user id of its own; the program can then
read every file that is readable for all (for a user that is not root: all files of that user, and write them), and fill the disk; and for a
user that is not root, the limit of processes counts all of that user's.
"""

import contextlib
import fcntl
import functools
import json
import os
import secrets
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any, Literal, NamedTuple

JAIL = Path(__file__).with_name("jail.py")
START_SECONDS = 60.0  # for the walls and the interpreter's start, on a machine that may be busy; not counted in a program's time
CHUNK = 1 << 16

Status = Literal["ok", "error", "timeout", "memory", "killed", "output"]


class SandboxError(RuntimeError):
    """The sandbox could not be built: nothing has been run."""


class Result(NamedTuple):
    """How a program ended.

    status: ok, exit code 0; error, another one; timeout; memory, a MemoryError that nobody caught; killed, a signal; output, it wrote more
    than output_bytes. report: what the program wrote to descriptor 3.
    """

    status: Status
    stdout: str
    stderr: str
    seconds: float  # wall time of the program
    report: str = ""


def run(
    code: str,
    *,
    stdin: str = "",
    seconds: float | int = 5.0,
    memory_bytes: int = 512 << 20,
    file_bytes: int = 16 << 20,
    processes: int = 8,
    output_bytes: int = 1 << 20,
    allow_without_namespaces: bool = False,
) -> Result:
    """Run a program with a fresh interpreter (isolated, without site-packages), an empty environment and an empty temporary folder.

    seconds: wall time; processor time is limited too, to about the same. memory_bytes: address space of each process. file_bytes: the size
    of a file, and of all its files together. processes: processes and threads at a time. output_bytes: of stdout, of stderr and of the
    report each; a program that writes more is ended at once, and what lies beyond is lost.
    Raises SandboxError where the walls cannot be built, ValueError for a limit that is not positive.
    """
    sizes = dict(memory_bytes=memory_bytes, file_bytes=file_bytes, processes=processes, output_bytes=output_bytes)
    bare = allow_without_namespaces and protections()["refused"] is not None
    return _run(code, stdin=stdin, seconds=seconds, **sizes, bare=bare)[0]


@functools.cache
def protections(*, allow_without_namespaces: bool = False) -> Mapping[str, Any]:
    """What stands between a program and this machine, tried once: {protection: True or False}, and `refused`, why nothing runs, or None.

    namespaces: own user, mount, pid, net, ipc and uts namespaces. files_hidden: no files but the interpreter's. disk_limited: all files
    together, not each alone. network_denied, signals_denied: to processes outside. other_user: the program's user id is not the caller's.
    system_calls_filtered: DENIED of jail.py. Limits of time, memory, processes and output hold always.
    """
    if allow_without_namespaces and protections()["refused"] is None:
        return protections()
    sizes = dict(memory_bytes=512 << 20, file_bytes=1 << 20, processes=8, output_bytes=1 << 16)
    try:
        result, found = _run("print(1)", stdin="", seconds=30.0, **sizes, bare=allow_without_namespaces)
    except SandboxError as error:
        return {"refused": str(error)}
    return {**found, "refused": None if result.stdout == "1\n" else f"a trial program gave {result.status}: {result.stderr[-300:]}"}


def require(allow_without_namespaces: bool = False) -> None:
    """SandboxError where programs cannot be run."""
    refused = protections(allow_without_namespaces=allow_without_namespaces)["refused"]
    if refused:
        raise SandboxError(refused)


def _run(
    code: str,
    *,
    stdin: str,
    seconds: float | int,
    memory_bytes: int,
    file_bytes: int,
    processes: int,
    output_bytes: int,
    bare: bool,
) -> tuple[Result, dict[str, bool]]:
    """The result, and the protections under which the program ran; `bare`: without namespaces."""
    sizes = dict(memory_bytes=memory_bytes, file_bytes=file_bytes, processes=processes, output_bytes=output_bytes)
    for name, limit in dict(seconds=seconds, **sizes).items():
        if not 0 < limit < 1 << 62:
            raise ValueError(f"sandbox: {name} is {limit}, allowed: above 0")
    if not sys.platform.startswith("linux"):
        raise SandboxError(f"sandbox: found {sys.platform}, allowed: Linux")
    python = interpreter()
    limits = dict(AS=memory_bytes, FSIZE=file_bytes, NPROC=processes, NOFILE=64, CORE=0, MEMLOCK=0, MSGQUEUE=0)
    settings = dict(seconds=seconds, file_bytes=file_bytes, limits=limits, bare=bare, python=python, visible=_visible(python))
    with contextlib.ExitStack() as stack:
        folder = "/proc"  # the program's root lies over it in its own mount namespace: a folder that is everywhere and costs nothing
        if bare:
            folder = tempfile.mkdtemp(prefix="sandbox-")
            stack.callback(_remove, folder)
        code_file, stdin_file = (stack.enter_context(_memory_file(text)) for text in (code, stdin))
        (status, tell_status), (report, tell_report) = _pipe(stack), _pipe(stack)
        descriptors = dict(code=code_file.fileno(), status=tell_status.fileno(), report=tell_report.fileno())
        process = stack.enter_context(
            subprocess.Popen(
                [python, "-I", "-S", "-B", str(JAIL), json.dumps(settings | descriptors | dict(folder=folder))],
                stdin=stdin_file,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                pass_fds=tuple(descriptors.values()),
                start_new_session=True,
                env={},
                cwd="/",
            )
        )
        tell_status.close()
        tell_report.close()
        assert process.stdout is not None and process.stderr is not None
        streams = dict(stdout=process.stdout, stderr=process.stderr, report=report, status=status)
        return _watch(process, streams, seconds=seconds, output_bytes=output_bytes, bare=bare)


def interpreter() -> str:
    """The interpreter that runs programs: this one, without its virtual environment."""
    return os.path.realpath(getattr(sys, "_base_executable", None) or sys.executable)


def _visible(python: str) -> list[str]:
    """What the program must see beside the system's libraries: the interpreter, and the libraries where it was installed."""
    prefixes = dict.fromkeys(os.path.realpath(prefix) for prefix in (sys.base_prefix, sys.base_exec_prefix))
    return [python, *(f"{prefix}/{name}" for prefix in prefixes for name in dict.fromkeys(("lib", sys.platlibdir)))]


def _memory_file(text: str) -> IO[bytes]:
    """The text as a file that is in no folder, open for reading only."""
    with open(os.memfd_create("sandbox"), "wb") as file:
        file.write(text.encode(errors="replace"))
        file.flush()
        return _high(os.open(f"/proc/self/fd/{file.fileno()}", os.O_RDONLY), "rb")


def _pipe(stack: contextlib.ExitStack) -> tuple[IO[bytes], IO[bytes]]:
    reading, writing = os.pipe()
    return stack.enter_context(_high(reading, "rb")), stack.enter_context(_high(writing, "wb"))


def _high(descriptor: int, mode: str) -> IO[bytes]:
    """The descriptor moved to 10 or above: the program's own are 0 to 3."""
    try:
        return open(fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 10), mode, buffering=0)
    finally:
        os.close(descriptor)


def _watch(
    process: subprocess.Popen[bytes], streams: dict[str, IO[bytes]], *, seconds: float | int, output_bytes: int, bare: bool
) -> tuple[Result, dict[str, bool]]:
    """Read what the program writes until all is over, its time is up or it has written too much; nothing of it runs afterwards."""
    found = {name: bytearray() for name in streams}
    begin, started = time.monotonic(), None
    ended_by: Status | None = None
    with selectors.DefaultSelector() as selector:
        for name, stream in streams.items():
            selector.register(stream, selectors.EVENT_READ, name)
        while selector.get_map() and ended_by is None:
            deadline = begin + START_SECONDS if started is None else started + seconds
            left = deadline - time.monotonic()
            if left <= 0:
                ended_by = "timeout"
            for key, _ in selector.select(max(left, 0.0)) if ended_by is None else ():
                chunk = os.read(key.fd, CHUNK)
                found[key.data] += chunk
                if not chunk:
                    selector.unregister(key.fileobj)
                if key.data == "status" and started is None and b"started" in found["status"]:
                    started = time.monotonic()
                elif len(found[key.data]) > output_bytes and key.data != "status":
                    ended_by = "output"
    duration = time.monotonic() - (started or begin)
    _end(process)
    messages: dict[str, Any] = {}
    for line in found["status"].splitlines():
        messages |= json.loads(line)
    stdout, stderr, report = (found[name][:output_bytes].decode(errors="replace") for name in ("stdout", "stderr", "report"))
    if "refused" in messages or started is None:
        reason = messages.get("refused") or f"the interpreter did not start: {ended_by or stderr[-300:]}"
        raise SandboxError(f"sandbox: {reason}" + ("" if bare else "; allow_without_namespaces=True runs with less protection"))
    status = ended_by or _status(messages.get("exit"), stderr)
    return Result(status, stdout, stderr, duration, report), messages["protections"]


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the launcher, which sees to all that it has started: with it goes the first process of the namespaces, and with that the rest."""
    if process.poll() is None:
        process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _status(code: int | None, stderr: str) -> Status:
    if code == 0:
        return "ok"
    if code == -signal.SIGXCPU:
        return "timeout"
    if code is None or code < 0:
        return "killed"
    last = stderr.rstrip().rpartition("\n")[2]
    return "memory" if last.startswith("MemoryError") else "error"


def _remove(folder: str) -> None:
    """Remove a folder, whatever a program has left in it: a thousand folders inside each other, or folders that nobody may read.

    What is inside a folder is moved up before it is removed, so that the time is linear and nothing is recursive. Links are removed, not
    followed.
    """
    moved, prefix = 0, secrets.token_hex(8)
    while entries := list(os.scandir(folder)):
        for entry in entries:
            if not entry.is_dir(follow_symlinks=False):
                os.unlink(entry.path)
                continue
            os.chmod(entry.path, 0o700)
            for inner in list(os.scandir(entry.path)):
                if inner.is_dir(follow_symlinks=False):
                    os.chmod(inner.path, 0o700)
                os.rename(inner.path, f"{folder}/{prefix}{moved}")
                moved += 1
            os.rmdir(entry.path)
    os.rmdir(folder)
