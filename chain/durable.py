"""Files that are whole, whatever happens: a small one is replaced, and names are synced.

Edge.  For homes that one process holds; miners, whose training is a process of its own, have
theirs in miner/files.py.
"""

import os
from pathlib import Path

OWN = 0o600  # readable for its user only


def write_whole(path: Path, data: bytes, mode: int = OWN) -> None:
    """All of `data` stands in `path` and is on disk after this; before, what stood there.

    It is never readable for more people meanwhile than `mode` says.  Raises OSError.
    """
    beside = path.with_name(path.name + ".new")
    beside.unlink(missing_ok=True)
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)
    sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """Make names that came or went in `path` durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
