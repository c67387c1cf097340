"""A home's keys and public files in one tar file, and back.  What changes while it runs stays out.

A backup is what a replica needs to exist again, not what it needs to go on: journal and guard are
memories, and an old memory forgets promises.  So a restored home has no guard, and signs nothing.
"""

import io
import tarfile
from pathlib import Path

from bft.errors import ConfigError
from chain.durable import sync_directory, write_whole
from coordinator.keys.files import FILE_BYTES_MAX
from coordinator.keys.store import KEYSTORE_FILE, NAME, SUFFIX, is_encrypted, secret_names

PUBLIC = ("genesis.bin", "member.bin", "replica.yaml", "tls.crt")
PUBLIC_BYTES_MAX = 16 * 1024 * 1024  # a genesis record of a thousand members
FILES_MAX = 4_096
MEMORIES = ("guard.db", "journal.db")


def write_backup(home: Path, output: Path, *, plain: bool = False) -> tuple[str, ...]:
    """The names of the files that are in `output` now.

    Args:
        plain: also if the secrets are not encrypted.

    Raises:
        ConfigError: `output` exists, there are no keys, or they are plain and `plain` is not set.
    """
    names = secret_names(home)
    if not names:
        raise ConfigError(f"{home} holds no keys")
    if not is_encrypted(home) and not plain:
        raise ConfigError(
            f"the keys in {home} are plain, and so would be the backup: `gristmill operator keys "
            "encrypt` first, or say --plain"
        )
    if output.exists():
        raise ConfigError(f"{output} exists; a backup is never overwritten")
    wanted = [*PUBLIC, KEYSTORE_FILE, *(name + SUFFIX for name in names)]
    files = [name for name in wanted if (home / name).is_file()]
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name in files:
            data = (home / name).read_bytes()
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(data), _mode(name)
            archive.addfile(entry, io.BytesIO(data))
    write_whole(output, buffer.getvalue(), 0o600)
    return tuple(files)


def read_backup(archive: Path, home: Path) -> tuple[str, ...]:
    """The names of the files that are in `home` now.

    Raises:
        ConfigError: there are keys or memories in `home`, or this is no such backup.
    """
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    for name in (KEYSTORE_FILE, *MEMORIES, *(name + SUFFIX for name in secret_names(home))):
        if (home / name).exists():
            raise ConfigError(f"{home / name} exists; keys and memories are never overwritten")
    try:
        with tarfile.open(archive, mode="r:") as opened:
            found = list(_entries(opened, archive))
    except (tarfile.TarError, EOFError) as error:
        raise ConfigError(f"{archive} is no backup: {error}") from None
    if not any(name.endswith(SUFFIX) for name, _ in found):
        raise ConfigError(f"{archive} holds no keys")
    for name, data in found:
        write_whole(home / name, data, _mode(name))
    sync_directory(home)
    return tuple(name for name, _ in found)


def _entries(opened: tarfile.TarFile, archive: Path) -> list[tuple[str, bytes]]:
    found: list[tuple[str, bytes]] = []
    for entry in opened:
        if len(found) == FILES_MAX or not (entry.isreg() and _is_ours(entry.name)):
            raise ConfigError(f"{archive}: {entry.name[:80]!r} belongs to no backup")
        bytes_max = PUBLIC_BYTES_MAX if entry.name in PUBLIC else FILE_BYTES_MAX
        if entry.size > bytes_max:
            raise ConfigError(
                f"{archive}: {entry.name} has {entry.size} bytes; {bytes_max} at most"
            )
        file = opened.extractfile(entry)
        assert file is not None
        found.append((entry.name, file.read()))
    if len({name for name, _ in found}) != len(found):
        raise ConfigError(f"{archive}: a file is there twice")
    return found


def _is_ours(name: str) -> bool:
    """No path, and a name that a home has."""
    secret = name.endswith(SUFFIX) and NAME.fullmatch(name.removesuffix(SUFFIX))
    return name in PUBLIC or name == KEYSTORE_FILE or bool(secret)


def _mode(name: str) -> int:
    return 0o644 if name in PUBLIC else 0o600
