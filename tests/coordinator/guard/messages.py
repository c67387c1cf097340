"""Claims and signed messages for the guard's tests."""

from typing import Any

from bft.codec.canonical import Record, encode
from bft.codec.envelope import pre_authentication_encoding
from bft.crypto.hashing import sha256
from bft.pbft.messages import Checkpoint, Commit, NewView, Prepare, PrePrepare, ViewChange
from coordinator.guard.claims import Claim, Domain

CHAIN = sha256(b"chain")
OWNER = b"\x02" + sha256(b"key")


def signed(record: Record) -> bytes:
    """The bytes that a key signs for `record`."""
    return pre_authentication_encoding(record.TAG.encode(), encode(record))


def vote(
    kind: type[PrePrepare] | type[Prepare] | type[Commit],
    sequence: int,
    digest: str = "a",
    *,
    view: int = 0,
    epoch: int = 1,
) -> bytes:
    """A signed vote of replica 0 for one batch."""
    return signed(
        kind(
            chain_id=CHAIN,
            epoch=epoch,
            view=view,
            sequence=sequence,
            digest=sha256(digest.encode()),
            replica=0,
        )
    )


def checkpoint(sequence: int, state: str = "a", *, epoch: int = 1) -> bytes:
    """A signed CHECKPOINT."""
    root = sha256(state.encode())
    fields: dict[str, Any] = dict.fromkeys(Checkpoint.__struct_fields__, 0)
    told = {"chain_id": CHAIN, "epoch": epoch, "sequence": sequence}
    return signed(Checkpoint(**{**fields, **told, "chain": root, "state_root": root}))


def view_change(view: int, *, low: int = 0, epoch: int = 1) -> bytes:
    """A signed VIEW-CHANGE."""
    return signed(
        ViewChange(
            chain_id=CHAIN, epoch=epoch, view=view, low=low, stable=(), prepared=(), replica=0
        )
    )


def new_view(view: int, *, epoch: int = 1) -> bytes:
    """A signed NEW-VIEW."""
    return signed(
        NewView(chain_id=CHAIN, epoch=epoch, view=view, view_changes=(), proposals=(), replica=0)
    )


def claim(domain: Domain, slot: int, digest: str = "a", rank: tuple[int, int] = (1, 0)) -> Claim:
    """A claim without its message."""
    return Claim(domain, slot, rank, sha256(digest.encode()))
