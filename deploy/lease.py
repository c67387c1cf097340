"""One live holder of one key among several processes of an operator: a hot standby's etcd side.

A lease makes it likely that one process at a time believes that it holds the key; that is liveness.
Safety is the memory beside it: a value that says how far the key may have signed, raised by
compare-and-swap under a fencing token (the revision at which the lock began to exist).  A process
that was stopped for longer than its lease finds that it cannot raise the memory any more, and
whoever holds the key next stays silent below what it reads there.

etcd is inside one operator's trust: if it lies, that operator's replica is one of the f.  No lock
and no watch of etcd3 is used (both are broken, see deploy/etcd.py), and no write is repeated whose
outcome is unknown: the lock is let go, and everything is read again.

    PREFIX/lock      bound to the lease; its creation is the fencing token
    PREFIX/memory    not bound: what the key may have signed
    PREFIX/disabled  if it is there, nobody signs (the key is being moved)

Source: etcd's own page on leases (a lock is no mutual exclusion, check the revision); Kleppmann,
"How to do distributed locking" (fencing tokens); web3signer's and horcrux' watermarks.
"""

import time
from dataclasses import dataclass

from bft.errors import Busy, Refused
from deploy.etcd import ABSENT, EtcdClient, Lease, Standing

TTL_S = 8  # of the lease; a standby takes over at most so long after the holder died, and one try
RENEWALS = 5  # in one TTL
DEADLINE = (2, 3)  # of what is left of a lease: after that this process holds nothing, to itself
HOLDER_BYTES_MAX = 256


def key_prefix(chain_id: bytes, public_key: bytes) -> bytes:
    """Where all of one key stands."""
    return b"/gristmill/v1/%s/guard/%s/" % (
        chain_id.hex()[:16].encode(),
        public_key.hex().encode(),
    )


@dataclass(frozen=True)
class Found:
    """What a new holder finds."""

    memory: bytes | None  # None: nobody ever held the key
    standing: Standing


class Hold:
    """This process holds the key.  One thread at a time.

    Methods raise Unavailable when etcd does not answer; after a `raise_to` that did, nobody knows
    whether the memory was raised, and the key is to be let go.
    """

    def __init__(
        self, client: EtcdClient, prefix: bytes, lease: Lease, fence: int, deadline: float
    ) -> None:
        """See `acquire`."""
        self._client, self._prefix, self._lease = client, prefix, lease
        self._fence, self._deadline = fence, deadline
        self._revision = ABSENT

    @property
    def fence(self) -> int:
        """The fencing token: higher than that of every holder before."""
        return self._fence

    @property
    def ttl_s(self) -> int:
        """Of the lease, as granted."""
        return self._lease.ttl_s

    @property
    def current(self) -> bool:
        """Whether the lease surely stands.  False says that it has to be renewed first."""
        return time.monotonic() < self._deadline

    def look(self) -> Found:
        """The memory as it is; `raise_to` goes on from there."""
        value = self._client.get(self._prefix + b"memory")
        self._revision = ABSENT if value is None else value.revision
        standing = self._client.standing(self._prefix + b"memory")
        return Found(None if value is None else value.data, standing)

    def renew(self) -> None:
        """Begin the lease anew.  Raises Refused: "fenced", it has ended."""
        asked = time.monotonic()
        try:
            left = self._client.keep_alive(self._lease)
        except Refused as refused:
            raise Refused("fenced", f"the lease on the signing key has ended: {refused}") from None
        self._deadline = _deadline(asked, left)

    def raise_to(self, memory: bytes) -> None:
        """Replace the memory that was read or written last.

        Raises:
            Refused: "fenced", another process holds the key or has raised its memory, or the key
                is disabled.  Nothing was written.
        """
        lock, disabled = self._prefix + b"lock", self._prefix + b"disabled"
        revision = self._client.put_if(
            self._prefix + b"memory",
            memory,
            expected=self._revision,
            held={lock: self._fence, disabled: ABSENT},
        )
        if revision is None:
            raise Refused("fenced", "another process holds the signing key now, or it is disabled")
        self._revision = revision

    def release(self) -> None:
        """Let others have the key at once."""
        try:
            self._client.revoke(self._lease)
        except Refused:
            return  # it had ended


def acquire(client: EtcdClient, prefix: bytes, holder: bytes, ttl_s: int = TTL_S) -> Hold:
    """Take the key if nobody holds it.

    Args:
        holder: for people: who holds it, where, since when.

    Raises:
        Busy: somebody holds it.
        Refused: "disabled", see `disable`.
        Unavailable: etcd does not answer.
    """
    if len(holder) > HOLDER_BYTES_MAX:
        raise ValueError(f"{len(holder)} bytes name a holder; at most {HOLDER_BYTES_MAX}")
    disabled = client.get(prefix + b"disabled")
    if disabled is not None:
        raise Refused("disabled", f"this key signs no more: {_text(disabled.data)}")
    lock = prefix + b"lock"
    there = client.get(lock)
    if there is not None:
        raise Busy(f"the signing key is held by {_text(there.data)}")
    asked = time.monotonic()
    lease = client.grant_lease(ttl_s)
    if not client.compare_and_swap(lock, holder, expected=ABSENT, lease=lease):
        client.revoke(lease)
        raise Busy("another process took the signing key at the same time")
    mine = client.get(lock)
    if mine is None or mine.lease != lease.id:
        raise Busy("the lease ended while the signing key was being taken")
    return Hold(client, prefix, lease, mine.created, _deadline(asked, lease.ttl_s))


def disable(client: EtcdClient, prefix: bytes, reason: bytes) -> None:
    """Let nobody sign with the key any more: it is being moved.  `enable` takes it back."""
    client.put(prefix + b"disabled", reason[:HOLDER_BYTES_MAX])


def enable(client: EtcdClient, prefix: bytes) -> bool:
    """Whether it was disabled."""
    return client.delete(prefix + b"disabled")


def holder_of(client: EtcdClient, prefix: bytes) -> str | None:
    """Who says that he holds the key."""
    there = client.get(prefix + b"lock")
    return None if there is None else _text(there.data)


def _deadline(asked: float, ttl_s: int) -> float:
    numerator, denominator = DEADLINE
    return asked + ttl_s * numerator / denominator


def _text(data: bytes) -> str:
    return data[:HOLDER_BYTES_MAX].decode("utf-8", "replace")
