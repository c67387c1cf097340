"""Readers of secrets and of a key's memory: a damaged or planted file is named, never believed."""

import io
import tarfile
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from coordinator.guard.claims import Domain, claim_of
from coordinator.guard.rules import Bound, Reservation
from coordinator.guard.text import read_memory, write_memory
from coordinator.keys.backup import read_backup
from coordinator.keys.store import KEYSTORE_FILE, Cost, create_keystore, open_keystore
from tests.coordinator.guard.messages import OWNER, checkpoint, new_view, view_change
from tests.fuzz.target import Read, Target

PASSPHRASE = b"right"


def _in_home(name: str, read: Callable[[Path], None]) -> tuple[Read, bytes]:
    """A reader of an encrypted home in which one file is hostile, and the good file."""
    with TemporaryDirectory(prefix="fuzz-") as root:
        keystore = create_keystore(Path(root), PASSPHRASE, Cost(n_log2=1))
        keystore.write("identity", b"07" * 32)
        files = {path.name: path.read_bytes() for path in Path(root).iterdir()}

    def read_with(data: bytes) -> None:
        with TemporaryDirectory(prefix="fuzz-") as root:
            for file, good in files.items():
                path = Path(root, file)
                path.write_bytes(data if file == name else good)
                path.chmod(0o600)
            read(Path(root))

    return read_with, files[name]


def _open(home: Path) -> None:
    open_keystore(home, PASSPHRASE).read("identity")


def _backup(data: bytes) -> None:
    with TemporaryDirectory(prefix="fuzz-") as root:
        archive = Path(root, "backup.tar")
        archive.write_bytes(data)
        read_backup(archive, Path(root, "home"))


def _archive() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as made:
        entry = tarfile.TarInfo("identity.key")
        entry.size = 64
        made.addfile(entry, io.BytesIO(b"07" * 32))
    return buffer.getvalue()


def _claim(data: bytes) -> None:
    claim_of(data)


def _memory(data: bytes) -> None:
    read_memory(data, OWNER, "here")


def targets() -> list[Target]:
    """All of them."""
    keystore, good_keystore = _in_home(KEYSTORE_FILE, _open)
    secret, good_secret = _in_home("identity.key", _open)
    bounds = {Domain.PREPARE: Bound(64, (1, 2)), Domain.BEACON: Bound(9, (0, 0))}
    return [
        Target(
            name="keystore",
            read=keystore,
            samples=(good_keystore,),
            covers=("coordinator.keys.store:open_keystore",),
            slow=True,
        ),
        Target(name="sealed-secret", read=secret, samples=(good_secret,), slow=True),
        Target(name="key-backup", read=_backup, samples=(_archive(),), slow=True),
        Target(
            name="guard-memory",
            read=_memory,
            samples=(write_memory(OWNER, Reservation(3, bounds)),),
        ),
        Target(
            name="guarded-message",
            read=_claim,
            samples=(checkpoint(128), view_change(3), new_view(3)),
        ),
    ]
