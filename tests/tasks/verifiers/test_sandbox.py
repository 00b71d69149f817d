"""The sandbox against programs that mean harm. Each attack first proves that it would have been seen: a program reports what it reached."""

import os
import shutil
import socket
import sys
import tempfile
import threading
import time
from functools import partial
from pathlib import Path

import pytest

from pojax.tasks.verifiers import sandbox
from pojax.tasks.verifiers.jail import AUDIT_ARCH
from pojax.tasks.verifiers.sandbox import SandboxError, run

LINUX = sys.platform.startswith("linux")
WALLS = sandbox.protections() if LINUX else {"refused": "needs Linux"}
walled = pytest.mark.skipif(WALLS["refused"] is not None, reason=f"no namespaces here: {WALLS['refused']}")
pytestmark = pytest.mark.skipif(not LINUX, reason="needs Linux")


@pytest.fixture
def readable_interpreter(monkeypatch):
    """An interpreter that a user without rights can start: this one, or the system's; skips where there is none."""
    for python in (sandbox.interpreter(), *filter(None, [shutil.which("python3", path="/usr/bin:/usr/local/bin")])):
        folders = [Path(python).resolve(), *Path(python).resolve().parents]
        if os.getuid() != 0 or all(folder.stat().st_mode & 1 for folder in folders):
            monkeypatch.setattr(sandbox, "interpreter", partial(os.path.realpath, python))
            return
    pytest.skip("no interpreter that another user may start")


@pytest.fixture(params=["namespaces", "bare"])
def attempt(request, monkeypatch):
    """`run` with namespaces, and as on a system without them."""
    if request.param == "namespaces":
        if WALLS["refused"] is not None:
            pytest.skip(f"no namespaces here: {WALLS['refused']}")
        return run
    if os.uname().machine not in AUDIT_ARCH:
        pytest.skip("no filter of system calls for this machine")
    request.getfixturevalue("readable_interpreter")
    missing = {"refused": "not here"}
    monkeypatch.setattr(sandbox, "protections", lambda **options: missing)
    return partial(run, allow_without_namespaces=True)


def processes(marker: str) -> list[str]:
    """Command lines on this machine that hold a text."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if marker in line:
            found.append(line)
    return found


def test_a_program_runs_alone_with_its_input_in_an_empty_folder(attempt):
    code = """
import os, sys
print(input(), os.listdir() in ([], ['program.py']), __name__, len(sys.argv))
print('e', file=sys.stderr)
os.write(3, b'r')
"""
    result = attempt(code, stdin="hello\n")
    assert (result.status, result.stdout, result.stderr, result.report) == ("ok", "hello True __main__ 1\n", "e\n", "r")
    assert 0 < result.seconds < 5
    assert attempt("import sys; print(sys.stdin.read() == '', 'site' in sys.modules)").stdout == "True False\n"


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("raise ValueError('no')", "error"),
        ("import sys; sys.exit(3)", "error"),
        ("import sys; sys.exit(0)", "ok"),
        ("def", "error"),
        ("import os; os.abort()", "killed"),
        ("import os; os._exit(0)", "ok"),
    ],
)
def test_statuses(attempt, code, status):
    assert attempt(code).status == status


IGNORE = """
import signal
for number in range(1, 65):
    try: signal.signal(number, signal.SIG_IGN)
    except (OSError, ValueError): pass
while True: pass
"""
CATCH = """
while True:
    try: raise SystemExit
    except BaseException: pass
"""
ENDLESS = {
    "loop": "while True: pass",
    "sleep": "import time; time.sleep(60)",
    "closed streams": "import os\nfor f in (0, 1, 2, 3): os.close(f)\nwhile True: pass",
    "ignored signals": IGNORE,
    "caught exits": CATCH,
}


@pytest.mark.parametrize("code", ENDLESS.values(), ids=ENDLESS)
def test_time_is_limited(attempt, code):
    begin = time.monotonic()
    result = attempt(code, seconds=0.5)
    assert result.status == "timeout" and 0.5 <= result.seconds < 5 and time.monotonic() - begin < 20


def test_processor_time_of_threads_counts(attempt):
    code = "import threading\nfor _ in range(3): threading.Thread(target=lambda: exec('while True: pass')).start()"
    assert attempt(code, seconds=1.0).status == "timeout"


def test_memory_is_limited(attempt):
    assert attempt("x = bytearray(1 << 20); print(len(x))", memory_bytes=128 << 20).stdout == "1048576\n"
    assert attempt("x = bytearray(1 << 28)", memory_bytes=128 << 20).status == "memory"
    grown = attempt("x = []\nwhile True: x.append(bytearray(1 << 20))", memory_bytes=128 << 20)
    assert grown.status == "memory" and "MemoryError" in grown.stderr


def test_a_fork_bomb_meets_its_limit_and_leaves_nothing(attempt):
    code = """
import os, sys, time
made = 0
try:
    for _ in range(40):
        if os.fork() == 0:
            while True:
                try: os.fork()
                except OSError: time.sleep(0.01)
        made += 1
except OSError as error:
    print(made, type(error).__name__, flush=True)
"""
    result = attempt(code, processes=4, seconds=2.0)
    made, error = result.stdout.split()  # its children made some of the four processes
    assert 1 <= int(made) <= 3 and error == "BlockingIOError"
    assert attempt("print(1)").stdout == "1\n"  # the next program has its own count


def test_threads_count_as_processes(attempt):
    code = """
import threading, time
for i in range(10):
    try: threading.Thread(target=time.sleep, args=(0.2,)).start()
    except RuntimeError: print(i); break
"""
    assert attempt(code, processes=3).stdout == "2\n"


def test_a_file_is_limited(attempt):
    result = attempt("open('x', 'wb').write(bytes(1 << 21))", file_bytes=1 << 20)
    assert result.status == "error" and "OSError" in result.stderr


@walled
def test_all_files_together_are_limited():
    code = """
n = 0
try:
    while n < 100: open(f'/tmp/{n}', 'wb').write(bytes(1 << 18)); n += 1
except OSError as e: print(n, e.errno)
"""
    number, error = run(code, file_bytes=1 << 20).stdout.split()
    assert 2 <= int(number) <= 4 and int(error) == 28  # ENOSPC
    empty = "n = 0\ntry:\n    while True: open(f'/tmp/{n}', 'w').close(); n += 1\nexcept OSError as e: print(n < 5000, e.errno)"
    assert run(empty).stdout == "True 28\n"


@walled
@pytest.mark.parametrize("place", ["/", "/usr/lib", "/etc", "/root", "/dev/shm", "/dev", "/program.py", os.path.dirname(os.__file__)])
def test_nothing_can_be_written_outside_the_folder(place):
    code = f"""
import os
try: open({place!r} + ('/x' if os.path.isdir({place!r}) else ''), 'w'); print('written')
except OSError: print('refused')
"""
    assert run(code).stdout == "refused\n"
    assert not os.path.exists(f"{place}/x")


def test_the_folder_is_removed(attempt, tmp_path, monkeypatch):
    (tmp_path / "t").mkdir()
    for folder in (tmp_path / "t", tmp_path, *tmp_path.parents):
        if folder.is_relative_to(tempfile.gettempdir()) and folder != Path(tempfile.gettempdir()):
            folder.chmod(0o755)  # the program is another user, who must get there
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "t"))
    code = "import os\nopen('a', 'w').close()\nfor _ in range(30): os.mkdir('d'); os.chdir('d')\nos.chmod('.', 0)\nprint('made')"
    assert attempt(code).stdout == "made\n"
    assert os.listdir(tmp_path / "t") == []


@walled
def test_files_of_the_user_are_not_there(tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("secret")
    secret.chmod(0o644)
    code = f"""
import os
def there(path):
    try: return os.listdir(path) if os.path.isdir(path) else open(path).read(10)
    except OSError as error: return type(error).__name__
for path in ({str(secret)!r}, {os.getcwd()!r}, {os.path.expanduser("~/.profile")!r}, '/etc/passwd'):
    print(there(path))
for path in ('/proc/1/environ', '/proc', '/sys', '/home', '/var'):
    print(there(path))
print(there('/tmp'))
"""
    assert run(code).stdout.split("\n") == [*["FileNotFoundError"] * 9, "[]", ""]


def test_the_environment_is_empty(attempt, monkeypatch):
    monkeypatch.setenv("SECRET_TOKEN", "secret")
    result = attempt("import os; print(dict(os.environ))")
    assert "secret" not in result.stdout.lower() and set(eval(result.stdout)) <= {"LC_CTYPE"}


@pytest.mark.parametrize("family", ["AF_INET", "AF_INET6", "AF_UNIX", "AF_NETLINK"])
def test_no_sockets(attempt, family):
    code = f"import socket\ntry: socket.socket(socket.{family}); print('open')\nexcept OSError as e: print(e.errno)"
    assert attempt(code).stdout == "1\n"


def test_a_server_on_this_machine_is_not_reached(attempt):
    reached = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.2)

        def accept():
            while True:
                try:
                    server.accept()[0].close()
                    reached.append(1)
                except TimeoutError:
                    continue
                except OSError:
                    return

        thread = threading.Thread(target=accept)
        thread.start()
        address = server.getsockname()
        socket.create_connection(address).close()  # it can be reached from here
        code = f"import socket\ntry: socket.create_connection({address!r}, 2); print('in')\nexcept OSError: print('out')"
        result = attempt(code)
        time.sleep(0.3)
    thread.join()
    assert result.stdout == "out\n" and len(reached) == 1


@walled
def test_without_the_filter_of_system_calls_the_namespace_has_no_network(tmp_path, monkeypatch):
    jail = sandbox.JAIL.read_text()
    (tmp_path / "jail.py").write_text(jail.replace("    if program:\n", "    if not program:\n"))
    monkeypatch.setattr(sandbox, "JAIL", tmp_path / "jail.py")
    with socket.create_server(("127.0.0.1", 0)) as server:
        code = f"""
import socket
socket.socket()
print('socket')
try: socket.create_connection({server.getsockname()!r}, 2); print('in')
except OSError: print('out')
"""
        assert run(code).stdout == "socket\nout\n"


def test_other_processes_cannot_be_signalled(attempt):
    code = f"""
import os, signal
for pid in ({os.getpid()}, os.getppid(), 1, -1):
    try: os.kill(pid, 0 if pid == -1 else signal.SIGKILL); print('sent', pid)
    except OSError: pass
print('done')
"""
    lines = attempt(code).stdout.split("\n")
    assert lines[-2:] == ["done", ""] and not any(str(os.getpid()) in line for line in lines)


def test_what_a_program_leaves_running_ends_with_it(attempt):
    code = """
import os, sys, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.execv({python!r}, ['left-behind-marker', '-I', '-S', '-c', 'import time; time.sleep(300)  # left-behind-marker'])
    os._exit(0)
time.sleep(0.3)
print('left')
"""
    python = sandbox.interpreter()
    begin = time.monotonic()
    if attempt(code.replace("{python!r}", repr(python))).stdout != "left\n":
        pytest.fail("the program did not run")
    assert time.monotonic() - begin < 20 and processes("left-behind-marker") == []


@pytest.mark.parametrize("stream", ["sys.stdout.write", "sys.stderr.write", "lambda t: os.write(3, t.encode())"])
def test_output_is_cut_off_while_it_comes(attempt, stream):
    begin = time.monotonic()
    result = attempt(f"import os, sys\nw = {stream}\nwhile True: w('x' * 1000)", output_bytes=10_000, seconds=30.0)
    assert result.status == "output" and time.monotonic() - begin < 20
    assert sorted(map(len, (result.stdout, result.stderr, result.report))) == [0, 0, 10_000]


@pytest.mark.parametrize(
    "call",
    [
        "libc.unshare(0x10000000)",
        "libc.mount(b'none', b'/tmp', b'tmpfs', 0, 0)",
        "libc.ptrace(0, 0, 0, 0)",
        "libc.memfd_create(b'x', 0)",
        "libc.shmget(0, 1 << 20, 0o1600)",
        "libc.syscall(56, 0x10000000 | 17, 0, 0, 0, 0)",
        "libc.syscall(425, 8, 0)",
        "libc.chroot(b'/tmp')",
        "libc.setuid(0)",
    ],
)
def test_system_calls_that_are_denied(attempt, call):
    if os.uname().machine != "x86_64":
        pytest.skip("numbers of x86_64")
    result = attempt(f"import ctypes\nlibc = ctypes.CDLL(None, use_errno=True)\nprint({call}, ctypes.get_errno())")
    assert result.stdout == "-1 1\n"  # EPERM


def test_programs_lose_all_rights(attempt):
    result = attempt("import os; print(os.getuid(), os.geteuid(), os.getgid(), os.getgroups())")
    uid, euid, gid, *groups = result.stdout.split(maxsplit=3)
    if os.getuid() == 0:
        assert "0" not in (uid, euid, gid) and groups == ["[]\n"]


@pytest.mark.parametrize("limit", ["seconds", "memory_bytes", "file_bytes", "processes", "output_bytes"])
def test_limits_are_positive(limit):
    with pytest.raises(ValueError, match=f"{limit} is 0, allowed: above 0"):
        run("", **{limit: 0})


def test_without_namespaces_nothing_runs_unless_that_is_allowed(tmp_path, monkeypatch, readable_interpreter):
    jail = sandbox.JAIL.read_text()
    (tmp_path / "jail.py").write_text(jail.replace("UNSHARE_ALL =", "UNSHARE_ALL = -1; OTHER =", 1))  # the kernel refuses
    monkeypatch.setattr(sandbox, "JAIL", tmp_path / "jail.py")
    sandbox.protections.cache_clear()
    try:
        with pytest.raises(SandboxError, match="unshare: .*allow_without_namespaces"):
            run("print(1)")
        with pytest.raises(SandboxError, match="unshare: .*allow_without_namespaces"):
            sandbox.require()
        if os.uname().machine in AUDIT_ARCH:
            assert run("print(1)", allow_without_namespaces=True).stdout == "1\n"
            bare = sandbox.protections(allow_without_namespaces=True)
            assert bare["refused"] is None and bare["network_denied"] and not bare["namespaces"] and not bare["files_hidden"]
    finally:
        sandbox.protections.cache_clear()


@walled
def test_protections_are_reported():
    assert all(WALLS[name] for name in ("namespaces", "files_hidden", "disk_limited", "network_denied", "signals_denied"))


def test_many_at_once(attempt):
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda i: attempt(f"print({i})").stdout, range(16)))
    assert results == [f"{i}\n" for i in range(16)]
