"""Artifacts by digest for an audit: from directories, or from replicas that still have them.

Edge.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from bft.errors import DecodeError, Unavailable
from chain.audit.fetch import ReplicaLog
from chain.federation.api import BLOBS

ARTIFACT_BYTES_MAX = 256 * 1024 * 1024


def reader(directories: Sequence[Path], urls: Sequence[str]) -> Callable[[bytes], bytes]:
    """Reads an artifact; directories are laid out as a replica's `blobs`, or flat.

    Nothing that it gives is checked.
    """
    replicas = [ReplicaLog(url) for url in urls]

    def read(digest: bytes) -> bytes:
        name = digest.hex()
        for directory in directories:
            for path in (directory / name[:2] / name, directory / name):
                with suppress(OSError):
                    return path.read_bytes()
        for replica in replicas:
            with suppress(Unavailable, DecodeError):
                return replica.artifact(BLOBS.format(digest=name), ARTIFACT_BYTES_MAX)
        raise Unavailable(f"nobody has the artifact {name}")

    return read
