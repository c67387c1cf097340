"""What goes from hand to hand: public records, and nothing else; checked when all is over."""

import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

PUBLIC = frozenset({"member.bin", "genesis.bin", "model.bin", "federation-key.hex"})
"""OPERATING.md says so."""
SECRET = ("*.key", "*.pass", "keystore.json")
"""Names of files that stay where they were made."""
SCANNED_BYTES_MAX = 256 << 20

_FILE = re.compile(r"[\w./-]+/[\w-]+\.(?:bin|hex)\b")


def carry(command: str, to: Path, hosts: Mapping[str, Path]) -> Iterator[str]:
    """Bring the public records that `command` names and `to` lacks, from whoever has them."""
    for name in _FILE.findall(command):
        target = to / name
        if target.exists() or target.name not in PUBLIC:
            continue
        for who, files in hosts.items():
            if (files / name).is_file():
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(files / name, target)
                yield f"{who} gives {to.name} {name}"
                break


def leaks(hosts: Mapping[str, Path]) -> list[str]:
    """Secrets of one host whose bytes stand in a file of another."""
    found = []
    for who, files in hosts.items():
        for pattern in SECRET:
            for secret in files.rglob(pattern):
                data = secret.read_bytes()
                assert data, f"{secret} is empty"
                for other, theirs in hosts.items():
                    if other != who:
                        found += [
                            f"{secret.relative_to(files.parent)} stands in "
                            f"{path.relative_to(theirs.parent)}"
                            for path in sorted(theirs.rglob("*"))
                            if path.is_file() and data in _read(path)
                        ]
    return found


def _read(path: Path) -> bytes:
    assert path.stat().st_size <= SCANNED_BYTES_MAX, f"{path} is too large to be searched"
    return path.read_bytes()
