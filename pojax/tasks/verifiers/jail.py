"""The program that `sandbox.run` starts in a fresh interpreter: it builds the walls, then runs untrusted code inside them.

Three processes: the launcher, the first process of the new namespaces (whose end ends everything in them), and the program. Only the last
one runs code of others, after it has lost every right. Standard library alone, and few modules of it: starting it is what a run costs.
"""

import ctypes
import errno
import json
import os
import resource
import signal
import struct
import sys
from typing import Any, NoReturn

NOBODY = 65534
UNSHARE_ALL = 0x10000000 | 0x00020000 | 0x20000000 | 0x40000000 | 0x08000000 | 0x04000000  # user, mount, pid, net, ipc, uts
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_REMOUNT, MS_BIND, MS_REC, MS_PRIVATE = 1, 2, 4, 32, 4096, 16384, 1 << 18
PR_SET_PDEATHSIG, PR_SET_SECCOMP, PR_SET_CHILD_SUBREAPER, PR_SET_NO_NEW_PRIVS = 1, 22, 36, 38
PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}
MOUNT_SETATTR = 442  # one number on every architecture
LIBRARIES = ("/lib", "/lib32", "/lib64", "/usr/lib", "/usr/lib32", "/usr/lib64", "/etc/ld.so.cache", "/usr/share/zoneinfo", "/nix/store")
DEVICES = ("/dev/null", "/dev/zero", "/dev/random", "/dev/urandom")

# System calls that the program does not get, by number on (x86_64, aarch64). New sockets, io_uring (opens sockets too), other processes'
# memory, mounts and namespaces, keys, kernel interfaces; and memory that no limit counts: memfd, System V segments and messages.
DENIED = {
    **dict(socket=(41, 198), io_uring_setup=(425, 425), ptrace=(101, 117), process_vm_readv=(310, 270), process_vm_writev=(311, 271)),
    **dict(pidfd_open=(434, 434), pidfd_getfd=(438, 438), pidfd_send_signal=(424, 424), mount=(165, 40), umount2=(166, 39)),
    **dict(pivot_root=(155, 41), chroot=(161, 51), open_tree=(428, 428), move_mount=(429, 429), fsopen=(430, 430), fsmount=(432, 432)),
    **dict(fspick=(433, 433), mount_setattr=(442, 442), unshare=(272, 97), setns=(308, 268), keyctl=(250, 219), add_key=(248, 217)),
    **dict(request_key=(249, 218), bpf=(321, 280), perf_event_open=(298, 241), userfaultfd=(323, 282), personality=(135, 92)),
    **dict(open_by_handle_at=(304, 265), memfd_create=(319, 279), memfd_secret=(447, 447), shmget=(29, 194), msgget=(68, 186)),
}
DENIED_BARE = dict(kill=(62, 129), tkill=(200, 130), rt_sigqueueinfo=(129, 138), rt_tgsigqueueinfo=(297, 240), setpriority=(141, 140))
CLONE, CLONE3 = (56, 220), (435, 435)
AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
RETURN_ALLOW, RETURN_ERRNO, RETURN_KILL = 0x7FFF0000, 0x00050000, 0x80000000

libc = ctypes.CDLL(None, use_errno=True)


def call(function: str, *arguments: Any) -> int:
    """A function of the C library; OSError where it fails."""
    plain = [ctypes.c_long(a) if isinstance(a, int) else a for a in arguments]
    result = getattr(libc, function)(*plain)
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{function}: {os.strerror(code)}")
    return result


def main() -> NoReturn:
    """Settings (JSON) are the one argument; what happens is told, line by line, on the descriptor `status`."""
    settings = json.loads(sys.argv[1])
    os.umask(0o022)
    try:
        die_with_parent()
        with open("/proc/self/oom_score_adj", "w") as file:
            file.write("1000")  # where memory runs out, this goes first, not the training run
        if settings["bare"]:
            supervise(settings, walls=False)
        enter_namespaces()
        die_with_parent()  # new credentials have cleared it
        launch(settings)
    except (OSError, ValueError) as error:
        refuse(settings, str(error))


def tell(settings: dict[str, Any], **message: Any) -> None:
    os.write(settings["status"], json.dumps(message).encode() + b"\n")


def refuse(settings: dict[str, Any], reason: str) -> NoReturn:
    tell(settings, refused=reason)
    os._exit(1)


def die_with_parent() -> None:
    parent = os.getppid()
    call("prctl", PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


def enter_namespaces() -> None:
    """New user, mount, pid, net, ipc and uts namespaces for what is forked next; OSError where the system does not allow them.

    Root keeps all user ids in the new namespace, so that it can read the interpreter and then become nobody. Other users are nobody inside.
    """
    uid, gid = os.getuid(), os.getgid()
    if os.geteuid() != 0:
        call("unshare", UNSHARE_ALL)
        for name, line in (("setgroups", "deny"), ("uid_map", f"{NOBODY} {uid} 1"), ("gid_map", f"{NOBODY} {gid} 1")):
            with open(f"/proc/self/{name}", "w") as file:
                file.write(line)
        return
    entered, tell_entered = os.pipe()
    launcher, helper = os.getpid(), os.fork()
    if helper == 0:  # only a process outside may map more than one id
        os.close(tell_entered)
        os._exit(write_maps(launcher) if os.read(entered, 1) else 0)
    try:
        call("unshare", UNSHARE_ALL)
        os.write(tell_entered, b"1")
    finally:
        os.close(tell_entered)
        failed = os.waitpid(helper, 0)[1]
    if failed:
        raise OSError(errno.EPERM, "the map of user ids cannot be written")


def write_maps(pid: int) -> int:
    """Every id of this namespace keeps its number in that of `pid`; returns an exit code."""
    try:
        for name in ("uid_map", "gid_map"):
            with open(f"/proc/self/{name}") as own, open(f"/proc/{pid}/{name}", "w") as new:
                extents = [line.split() for line in own]
                new.write("\n".join(f"{inside} {inside} {length}" for inside, _, length in extents))
    except OSError:
        return 1
    return 0


def launch(settings: dict[str, Any]) -> NoReturn:
    """Fork the first process of the new pid namespace and wait for it; SIGTERM kills it, and with it all others in there."""
    first = 0
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    first = os.fork()
    if first == 0:
        try:
            die_with_parent()
            signal.signal(signal.SIGALRM, lambda *_: os._exit(1))
            signal.alarm(int(settings["seconds"]) + 120)  # should the launcher have died before die_with_parent
            build_root(settings)
            supervise(settings, walls=True)
        except (OSError, ValueError) as error:
            refuse(settings, str(error))
    signal.signal(signal.SIGTERM, lambda *_: os.kill(first, signal.SIGKILL))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    os.waitpid(first, 0)
    os._exit(0)


def build_root(settings: dict[str, Any]) -> None:
    """A root folder of nothing but the interpreter, its libraries and four devices, read-only, and a /tmp of limited size."""
    root = settings["folder"]  # what it holds is covered, in these namespaces alone
    with open(settings["code"], "rb") as file:
        code = file.read()
    call("mount", None, b"/", None, MS_REC | MS_PRIVATE, None)
    call("mount", b"tmpfs", root.encode(), b"tmpfs", MS_NOSUID | MS_NODEV, b"size=%d,mode=755" % (len(code) + (1 << 20)))
    for path in (*LIBRARIES, *settings["visible"]):
        show(root, path)
    for path in DEVICES:
        show(root, path, device=True)
    with open(f"{root}/program.py", "wb") as file:
        file.write(code)
    os.chmod(f"{root}/program.py", 0o644)
    os.mkdir(f"{root}/tmp")
    size = b"size=%d,nr_inodes=4096,mode=1777" % max(settings["file_bytes"], 1 << 12)
    call("mount", b"tmpfs", f"{root}/tmp".encode(), b"tmpfs", MS_NOSUID | MS_NODEV, size)
    call("mount", None, root.encode(), None, MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV, None)
    os.chdir(root)
    call("syscall", PIVOT_ROOT[os.uname().machine], b".", b".")
    call("umount2", b".", 2)  # detach the old root, which lies over the new one
    os.chdir("/tmp")


def show(root: str, path: str, *, device: bool = False) -> None:
    """The file or folder at the same place below `root`, read-only; a link as a link; nothing where there is none."""
    target = root + path
    if os.path.lexists(target) or not os.path.lexists(path):
        return
    os.makedirs(os.path.dirname(target), exist_ok=True)
    if os.path.islink(path):
        os.symlink(os.readlink(path), target)
        return
    if os.path.isdir(path):
        os.mkdir(target)
    else:
        os.close(os.open(target, os.O_CREAT | os.O_WRONLY, 0o644))
    call("mount", path.encode(), target.encode(), None, MS_BIND | MS_REC, None)
    flags = MS_RDONLY | MS_NOSUID | (0 if device else MS_NODEV)  # mount_setattr names these three as mount does
    attributes = struct.pack("=QQQQ", flags, 0, 0, 0)
    call("syscall", MOUNT_SETATTR, -1, target.encode(), 0x8000, attributes, len(attributes))  # AT_RECURSIVE: mounts below it too


def supervise(settings: dict[str, Any], *, walls: bool) -> NoReturn:
    """Fork the program, tell how it ended, and end what it has left behind (with walls, the kernel does)."""
    machine = os.uname().machine
    if not walls and machine not in AUDIT_ARCH:
        refuse(settings, f"no filter of system calls for {machine}, which would be the only thing between the program and the network")
    uid = os.getuid()
    if os.geteuid() == 0:  # without namespaces an id of its own: limits of processes count per user
        uid = NOBODY if walls else 1_900_000_000 + os.getpid()
    if not walls:
        call("prctl", PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        signal.signal(signal.SIGTERM, lambda *_: end_all())
        place_program(settings, uid)
    other = uid != os.getuid()
    found = dict(namespaces=walls, files_hidden=walls, disk_limited=walls, network_denied=True, signals_denied=walls or other)
    tell(settings, protections=found | dict(other_user=other, system_calls_filtered=machine in AUDIT_ARCH))
    program = os.fork()
    if program == 0:
        try:
            become_program(settings, uid, walls=walls)
        except (OSError, ValueError) as error:
            refuse(settings, f"{error} (as user {uid})")
    while (ended := os.wait())[0] != program:
        pass
    tell(settings, exit=os.waitstatus_to_exitcode(ended[1]))
    if not walls:
        end_all()
    os._exit(0)


def place_program(settings: dict[str, Any], uid: int) -> None:
    folder = settings["folder"]
    with open(settings["code"], "rb") as source, open(f"{folder}/program.py", "wb") as target:
        target.write(source.read())
    if uid != os.getuid():
        os.chown(folder, uid, uid)
        os.chown(f"{folder}/program.py", uid, uid)
    os.chdir(folder)


def end_all() -> NoReturn:
    """Kill the children of this process, and their children, which become its own, until none is left."""
    own = f"/proc/self/task/{os.getpid()}/children"
    while True:
        with open(own) as file:
            for child in file.read().split():
                os.kill(int(child), signal.SIGKILL)
        try:
            os.wait()
        except ChildProcessError:
            os._exit(0)


def become_program(settings: dict[str, Any], uid: int, *, walls: bool) -> NoReturn:
    """Limits, another user, no way to gain rights, the filter of system calls, and then a fresh interpreter with the program."""
    os.setsid()
    os.dup2(settings["report"], 3)
    if walls and uid == os.getuid():  # the launcher and the first process count for the same user
        settings["limits"]["NPROC"] += 2
    for name, soft, hard in (
        ("CPU", int(-(-settings["seconds"] // 1)) + 1, int(-(-settings["seconds"] // 1)) + 2),
        *((name, limit, limit) for name, limit in settings["limits"].items()),
    ):
        resource.setrlimit(getattr(resource, f"RLIMIT_{name}"), (soft, hard))
    if uid != os.getuid():
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
    die_with_parent()  # again after a change of user
    call("prctl", PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    program = system_call_filter(os.uname().machine, bare=not walls)
    if program:
        holder = ctypes.create_string_buffer(program)
        filter_program = struct.pack("@HP", len(program) // 8, ctypes.addressof(holder))
        call("prctl", PR_SET_SECCOMP, 2, filter_program, 0, 0)
    os.set_inheritable(settings["status"], False)  # open until the interpreter has started, to tell that it could not
    os.closerange(4, settings["status"])
    os.closerange(settings["status"] + 1, 4096)
    tell(settings, started=True)
    place = "/program.py" if walls else "program.py"
    os.execve(settings["python"], ["python", "-I", "-S", "-B", "-X", "utf8", place], {})


def system_call_filter(machine: str, *, bare: bool) -> bytes:
    """A program of the kernel's packet filter, 8 bytes an instruction: DENIED gives EPERM; empty for an unknown machine."""
    if machine not in AUDIT_ARCH:
        return b""
    column = list(AUDIT_ARCH).index(machine)

    def load(offset: int) -> bytes:
        return struct.pack("=HBBI", 0x20, 0, 0, offset)

    def unless(code: int, value: int, skip: int) -> bytes:
        return struct.pack("=HBBI", code, 0, skip, value)

    def answer(value: int) -> bytes:
        return struct.pack("=HBBI", 0x06, 0, 0, value)

    equal, at_least, any_bit = 0x15, 0x35, 0x45
    denied = answer(RETURN_ERRNO | errno.EPERM)
    parts = [load(4), struct.pack("=HBBI", equal, 1, 0, AUDIT_ARCH[machine]), answer(RETURN_KILL), load(0)]
    parts += [unless(at_least, 0x40000000, 1), denied]  # the x32 numbering of x86_64
    for numbers in (DENIED | (DENIED_BARE if bare else {})).values():
        parts += [unless(equal, numbers[column], 1), denied]
    parts += [
        unless(equal, CLONE3[column], 1),
        answer(RETURN_ERRNO | errno.ENOSYS),
    ]  # its flags lie in memory; libraries fall back to clone
    parts += [unless(equal, CLONE[column], 3), load(16), unless(any_bit, 0x7E020000, 1), denied, answer(RETURN_ALLOW)]
    return b"".join(parts)


if __name__ == "__main__":
    main()
