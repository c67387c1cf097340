"""Loopback ports for tests: no two test processes of this machine are ever given the same one.

A port that is only looked for and then left may be taken by somebody else before its server
listens: by another pytest-xdist worker, another session, or as the near end of any connection.
So ports come from below the system's own ephemeral range, and a process claims each with a lock
on the byte of that number in a file that all test processes share.  The kernel drops the locks
when the process ends, however it ends.
"""

import fcntl
import os
import random
import socket
import tempfile
from functools import cache
from pathlib import Path

from chain.params import Params
from chain.records.federation import Genesis
from chain.records.job import Job
from coordinator.ceremony import local_federation

FIRST, END = 10_000, 20_000
"""Below those that `gristmill demo` takes, which are below the ephemeral ones."""

_claimed: set[int] = set()


@cache
def _claims() -> int:
    """The shared file's descriptor; it stays open, since closing any would drop all locks."""
    path = Path(tempfile.gettempdir()) / f"gristmill-test-ports-{os.getuid()}"
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def claim_ports(count: int, start: int | None = None) -> tuple[int, ...]:
    """Ports of 127.0.0.1 that are free and this process's own until it ends.

    Args:
        start: where to begin looking; anywhere when left out.
    """
    if start is None:
        start = random.SystemRandom().randrange(FIRST, END)
    found: list[int] = []
    for step in range(END - FIRST):
        if len(found) == count:
            return tuple(found)
        port = FIRST + (start - FIRST + step) % (END - FIRST)
        if port not in _claimed and _claim(port) and _is_free(port):
            found.append(port)
    raise AssertionError(f"{count} ports wanted; {len(found)} left, {len(_claimed)} claimed before")


def _claim(port: int) -> bool:
    try:
        fcntl.lockf(_claims(), fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
    except (BlockingIOError, PermissionError):
        return False
    _claimed.add(port)
    return True


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def federation_here(
    root: Path, replicas: int, params: Params, job: Job, snapshot: bytes
) -> tuple[Genesis, tuple[Path, ...]]:
    """`local_federation` on ports of this process's own."""
    return local_federation(root, replicas, params, job, snapshot, claim_ports(2 * replicas))
