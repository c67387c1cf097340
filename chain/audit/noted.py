"""What a checkpoint's signatures are worth, for whoever has replayed the log.

Source: docs/PROTOCOL.md section 15; C2SP tlog-checkpoint, tlog-cosignature.
Pure.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from bft.errors import BadSignature, DecodeError
from bft.membership import Membership
from chain.audit.findings import Finding, Severity
from chain.tlog.checkpoint import (
    Checkpoint,
    decode_checkpoint,
    federation_verifier,
    log_origin,
    verify_certificate_line,
    verify_line,
)
from chain.tlog.keys import LogKeys, open_keys
from chain.tlog.note import Note, decode_note


@dataclass(slots=True)
class Noted:
    """One checkpoint, and who signed it."""

    source: str  # where it came from
    size: int = 0
    root: bytes = b""
    cosigners: tuple[int, ...] = ()  # members of `epoch`
    epoch: int = 0
    members: int = 0
    newest_s: int = 0  # Unix time of the newest cosignature that counts
    publisher: bytes = b""  # identity key of the member whose log key signed it
    federation: bool = False  # the federation's own line stands
    findings: list[Finding] = field(default_factory=list)

    def line(self) -> str:
        """For people."""
        also = " and the federation" if self.federation else ""
        names = ", ".join(str(index) for index in self.cosigners) or "none"
        return (
            f"checkpoint of {self.size} entries at {self.source}: cosigned by {len(self.cosigners)}"
            f" of {self.members} replicas ({names}){also}"
        )


def check_note(
    source: str,
    data: bytes,
    chain_id: bytes,
    memberships: Sequence[Membership],
    federation_key: bytes | None,
    statements: Mapping[bytes, bytes],
    root_at: Callable[[int], bytes | None],
) -> Noted:
    """Verify a checkpoint against the log that was replayed.

    Args:
        memberships: of the newest epochs, the newest last.
        statements: sealed LogKeys by identity key; those that do not stand are ignored.
        root_at: the replayed log's root at a size; None where it is not known any more.
    """
    noted = Noted(source=source)
    try:
        note = decode_note(data)
        checkpoint = decode_checkpoint(note.text)
        if checkpoint.origin != log_origin(chain_id):
            raise DecodeError(f"it is of the log {checkpoint.origin[:100]!r}")
    except DecodeError as error:
        noted.findings.append(_broken(0, f"{source}: the checkpoint cannot be read: {error}"))
        return noted
    noted.size, noted.root = checkpoint.size, checkpoint.root
    here = root_at(checkpoint.size)
    if here is not None and here != checkpoint.root:
        text = (
            f"the checkpoint of {source} says root {checkpoint.root.hex()[:16]} over the first "
            f"{checkpoint.size} entries; these entries lead to {here.hex()[:16]}"
        )
        noted.findings.append(_broken(checkpoint.size, text))
    _check_publisher(noted, note, checkpoint, memberships, statements, chain_id)
    _count(noted, note, checkpoint, memberships, statements, chain_id)
    if federation_key is not None:
        _check_federation(noted, note, checkpoint, federation_key, chain_id)
    return noted


def _check_publisher(
    noted: Noted,
    note: Note,
    checkpoint: Checkpoint,
    memberships: Sequence[Membership],
    statements: Mapping[bytes, bytes],
    chain_id: bytes,
) -> None:
    """A member publishes the log, whoever mirrors it: its log key signed the checkpoint."""
    for key in dict.fromkeys(key for each in reversed(memberships) for key in each.keys):
        try:
            verifier = open_keys(statements.get(key, b""), chain_id, key).publisher
        except DecodeError:
            continue
        for line in note.lines:
            with suppress(BadSignature):
                if verifier.signed(line):
                    verify_line(checkpoint, line, verifier)
                    noted.publisher = key
                    return
    text = f"no member's log key signed the checkpoint of {noted.source}"
    noted.findings.append(_broken(checkpoint.size, text))


def _count(
    noted: Noted,
    note: Note,
    checkpoint: Checkpoint,
    memberships: Sequence[Membership],
    statements: Mapping[bytes, bytes],
    chain_id: bytes,
) -> None:
    """The epoch of which most members cosigned must give a strong quorum."""
    best: list[tuple[int, int]] = []
    members = memberships[-1]
    for membership in reversed(memberships):
        found = []
        for index, key in enumerate(membership.keys):
            time_s = _cosigned(note, checkpoint, statements.get(key), chain_id, key)
            if time_s is not None:
                found.append((index, time_s))
        if len(found) > len(best):
            best, members = found, membership
    noted.cosigners = tuple(index for index, _ in best)
    noted.epoch, noted.members = members.epoch, members.n
    noted.newest_s = max((time_s for _, time_s in best), default=0)
    if len(best) < members.strong:
        text = (
            f"{len(best)} of {members.n} replicas cosigned the checkpoint of {noted.source}; "
            f"{members.strong} are needed"
        )
        noted.findings.append(_broken(checkpoint.size, text))


def _cosigned(
    note: Note, checkpoint: Checkpoint, statement: bytes | None, chain_id: bytes, key: bytes
) -> int | None:
    """When this replica cosigned, if it did."""
    if statement is None:
        return None
    try:
        keys: LogKeys = open_keys(statement, chain_id, key)
    except DecodeError:
        return None
    for line in note.lines:
        if keys.cosigner.signed(line):
            try:
                return verify_line(checkpoint, line, keys.cosigner)
            except BadSignature:
                return None
    return None


def _check_federation(
    noted: Noted, note: Note, checkpoint: Checkpoint, key: bytes, chain_id: bytes
) -> None:
    verifier = federation_verifier(checkpoint.origin, key)
    for line in note.lines:
        if verifier.signed(line):
            try:
                verify_certificate_line(checkpoint, line, key, chain_id)
                noted.federation = True
            except BadSignature as error:
                noted.findings.append(_broken(checkpoint.size, str(error)))


def _broken(size: int, text: str) -> Finding:
    return Finding(
        severity=Severity.BROKEN,
        entry=max(0, size - 1),
        sequence=0,
        cycle=0,
        rule="checkpoint",
        text=text,
    )
