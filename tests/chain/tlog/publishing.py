"""A log in files with a checkpoint that all its federation's replicas cosigned."""

from collections.abc import Iterable
from functools import cache
from pathlib import Path

from bft.crypto.hashing import sha256
from chain.records.certificate import decode_certificate
from chain.records.score_log import Certified, LogEntry, decode_leaf
from chain.tlog.checkpoint import (
    Checkpoint,
    certificate_line,
    cosign,
    log_origin,
    note_of,
    sign,
)
from chain.tlog.keys import LogKeys, cosigner_name, seal_keys
from chain.tlog.note import COSIGNATURE_V1, ED25519, Line, Signer
from chain.tlog.tiles import TileTree
from tests.chain.audit.mill import Mill

TIME_S = 1_800_000_000


@cache
def mill() -> Mill:
    """Two cycles."""
    return Mill().found().cycle().cycle()


def log_signer(made: Mill, replica: int) -> Signer:
    secret = sha256(b"log" + made.replicas[replica].public_key)
    return Signer(log_origin(made.rules.chain_id), ED25519, secret)


def cosigner(made: Mill, replica: int) -> Signer:
    key = made.replicas[replica].public_key
    return Signer(cosigner_name(made.rules.chain_id, key), COSIGNATURE_V1, sha256(b"co" + key))


def log_keys(made: Mill, replica: int) -> LogKeys:
    return LogKeys(
        chain_id=made.rules.chain_id,
        replica=made.replicas[replica].public_key,
        log_key=log_signer(made, replica).verifier.key,
        cosigner_key=cosigner(made, replica).verifier.key,
    )


def sealed_keys(made: Mill, replica: int) -> bytes:
    return seal_keys(log_keys(made, replica), made.replicas[replica].sign)


def certificates(made: Mill) -> list[bytes]:
    records = (decode_leaf(entry.leaf) for entry in made.entries)
    return [record.certificate for record in records if isinstance(record, Certified)]


def write(home: Path, files: Iterable[tuple[str, bytes]]) -> None:
    for path, data in files:
        (home / path).parent.mkdir(parents=True, exist_ok=True)
        (home / path).write_bytes(data)


def write_entries(home: Path, entries: Iterable[LogEntry]) -> TileTree:
    """All tiles and bundles of these entries."""
    tree = TileTree()
    for entry in entries:
        write(home, tree.append(entry.leaf, entry.proof))
    write(home, tree.partial())
    return tree


def publish(
    home: Path,
    made: Mill,
    replicas: Iterable[int],
    certified: bool = True,
    entries: int | None = None,
) -> Checkpoint:
    """Write the log and the signed checkpoint.

    Up to its newest certificate; or not `certified`, and its first `entries`, or all.
    """
    assert made.state.federation_key is not None
    key, newest = made.state.federation_key.key, certificates(made)[-1]
    size = decode_certificate(newest)[0].log_size if certified else entries or len(made.entries)
    tree = write_entries(home, made.entries[:size])
    checkpoint = Checkpoint(log_origin(made.rules.chain_id), size, tree.root())
    lines: list[Line] = [sign(checkpoint, log_signer(made, 0))]
    lines += [cosign(checkpoint, cosigner(made, replica), TIME_S) for replica in replicas]
    if certified:
        lines.append(certificate_line(checkpoint.origin, key, newest))
    write(home, [("checkpoint", note_of(checkpoint, *lines).encode())])
    return checkpoint
