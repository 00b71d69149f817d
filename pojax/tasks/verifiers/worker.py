"""What runs in a worker process of `pool`: it is asked in pickles, by the process that started it, and answers in JSON."""

import json
import os
import pickle
import signal
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

from pojax.tasks.verifiers.pool import WALL


def serve(descriptor: int, memory: int) -> None:
    """Answer until the other side closes. A request is (pickled function, pickled arguments or None to load it, seconds)."""
    connection = Connection(descriptor)
    functions: dict[bytes, Any] = {}
    while True:
        try:
            function, arguments, seconds = pickle.loads(connection.recv_bytes())
        except (EOFError, OSError):
            return
        if arguments is None:
            answer = _load(functions, function)
            _limit_memory(memory)
        else:
            answer = _call(functions[function], pickle.loads(arguments), seconds)
        connection.send_bytes(json.dumps(answer).encode())


def _load(functions: dict[bytes, Any], function: bytes) -> tuple[str, Any, str]:
    _limit_memory(None)
    try:
        functions[function] = pickle.loads(function)
        getattr(functions[function], "load", lambda: None)()
    except Exception as error:
        return "raised", None, _line(error)
    return "done", None, ""


def _call(function: Any, arguments: tuple[Any, ...], seconds: float) -> tuple[str, Any, str]:
    # The signals keep their default: they end the process whatever it is doing, in C too, and also if the parent is gone.
    signal.setitimer(signal.ITIMER_PROF, seconds)
    signal.setitimer(signal.ITIMER_REAL, WALL * seconds)
    try:
        return "done", _plain(function(*arguments)), ""
    except MemoryError:
        os._exit(1)  # what is left of this interpreter is not to be trusted
    except Exception as error:
        return "raised", None, _line(error)
    except SystemExit as error:
        return "raised", None, _line(error)
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGPROF, signal.SIG_DFL)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)


def _line(error: BaseException) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:200]


def _plain(value: Any) -> Any:
    """What JSON can hold of a verdict; anything else as its type's name, which the caller refuses."""
    if isinstance(value, dict):
        return {str(name): _plain(each) for name, each in value.items()}
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool | int | float | list | tuple | np.ndarray | np.generic):
        return np.asarray(value, np.float64).tolist()
    return type(value).__name__


def _limit_memory(more: int | None) -> None:
    """Allow this process `more` bytes of address space than it has now, where the system tells; None takes the limit back."""
    try:
        import resource

        soft = resource.RLIM_INFINITY
        if more is not None:
            with open("/proc/self/statm") as file:
                soft = int(file.read().split()[0]) * resource.getpagesize() + more
        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        resource.setrlimit(resource.RLIMIT_AS, (soft if hard == resource.RLIM_INFINITY else min(soft, hard), hard))
    except (ImportError, OSError, ValueError):  # a system without: time is limited all the same
        return
