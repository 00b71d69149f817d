"""Verifiers that do what a verifier must not, for worker processes to import."""

import os
import signal
import sys
import time

from pojax.tasks.verifiers import verifier


def double(x):
    return {"correct": 2 * x}


def act(what):
    """One of the ways to leave a worker."""
    if what == "sleep":
        time.sleep(1000)
    elif what == "spin":
        while True:
            pass
    elif what == "power":
        return {"correct": 9**9**9}  # in C: no Python signal handler gets a turn
    elif what == "exit":
        os._exit(3)
    elif what == "leave":
        sys.exit(3)
    elif what == "abort":
        os.abort()
    elif what == "memory":
        return {"correct": len(bytearray(1 << 40))}
    elif what == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    elif what == "raise":
        raise KeyError("no\nsuch\nkey")
    elif what == "recurse":
        return act(what)
    elif what == "object":
        return {"correct": object()}
    elif what == "alarm":  # takes the pool's own alarm away
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGPROF, signal.SIG_IGN)
        time.sleep(1000)
    return {"correct": 1.0}


@verifier("correct", processes=True)
def judge(sample, answer, *, seconds=0.2):
    """Does what the response says."""
    return act(sample.text)


def plain_function(sample, answer, *, least: int = 0):
    """As a user writes one: without a decorator."""
    return {"correct": float(len(sample.text) >= least and sample.text == answer)}
