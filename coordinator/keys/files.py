"""Files that only their owner may read, written whole or not at all."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bft.errors import ConfigError

FILE_BYTES_MAX = 32 * 1024


def read_private(path: Path) -> bytes:
    """A file that only its owner may read.

    Raises:
        ConfigError: missing, others have rights, or longer than FILE_BYTES_MAX.
    """
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode & 0o777
            data = file.read(FILE_BYTES_MAX + 1)
    except FileNotFoundError:
        raise ConfigError(f"{path} is missing") from None
    if mode & 0o077:
        raise ConfigError(f"{path} has mode {mode:04o}; it must be 0600: chmod 600 {path}")
    if len(data) > FILE_BYTES_MAX:
        raise ConfigError(f"{path} is longer than {FILE_BYTES_MAX} bytes")
    return data


@contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Hold the lock file `path` meanwhile.

    Raises:
        ConfigError: another process holds it.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise ConfigError(f"{path} is held: stop the replica first") from None
        yield
    finally:
        os.close(descriptor)
