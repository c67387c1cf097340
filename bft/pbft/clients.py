"""Which requests were executed: replicated state, so that none is executed twice.

A sliding window per client as in IPsec (RFC 4303 section 3.4.3): the highest cseq, and one bit for
each of the last 64.  A client that lost its state goes on with Unix milliseconds as cseq.
Pure.  The application asks it at execution and commits to it in its state root.
"""

from typing import Annotated

from msgspec import Meta

from bft.codec.canonical import Record, decode, encode
from bft.codec.types import U32, U63, IdentityKey
from bft.errors import DecodeError
from bft.ordering.request import CLIENTS_MAX, CSEQ_WINDOW

_MASK = (1 << CSEQ_WINDOW) - 1


class ClientEntry(Record):
    """One client's window.  The bitmap is split, because fields hold 63 bits."""

    client: IdentityKey
    high: U63
    bits_low: U32  # bit i: high - i was executed, for i in 0..31
    bits_high: U32  # the same for 32..63
    sequence: U63  # batch of the last execution


class _Table(Record):
    TAG = "pbft.clients/1"

    entries: Annotated[tuple[ClientEntry, ...], Meta(max_length=CLIENTS_MAX)]


class ClientTable:
    """At-most-once execution.  Changes in place; `encode` gives one sequence of bytes.

    Entries stand in the order of their last execution, which is the same at every replica.
    """

    def __init__(self) -> None:
        self._of: dict[bytes, tuple[int, int, int]] = {}  # client -> (high, bitmap, sequence)

    def __len__(self) -> int:
        return len(self._of)

    def fresh(self, client: bytes, cseq: int) -> bool:
        """Whether (client, cseq) may still be executed."""
        known = self._of.get(client)
        if known is None or cseq > known[0]:
            return True
        age = known[0] - cseq
        return age < CSEQ_WINDOW and not known[1] >> age & 1

    def high(self, client: bytes) -> int:
        """The highest executed cseq of `client`; 0 when it is not known."""
        known = self._of.get(client)
        return 0 if known is None else known[0]

    def mark(self, client: bytes, cseq: int, sequence: int) -> None:
        """(client, cseq) was executed in batch `sequence`.  It must be fresh."""
        assert self.fresh(client, cseq)
        high, bits, _ = self._of.pop(client, (cseq, 0, 0))
        if cseq > high:
            shift = cseq - high
            bits = (bits << shift) & _MASK if shift < CSEQ_WINDOW else 0
            high = cseq
        self._of[client] = (high, bits | 1 << (high - cseq), sequence)
        if len(self._of) > CLIENTS_MAX:
            del self._of[next(iter(self._of))]

    def copy(self) -> "ClientTable":
        """An independent table with the same content."""
        other = ClientTable()
        other._of = dict(self._of)
        return other

    def encode(self) -> bytes:
        """For the state root and for snapshots."""
        return encode(
            _Table(
                entries=tuple(
                    ClientEntry(
                        client=client,
                        high=high,
                        bits_low=bits & 0xFFFFFFFF,
                        bits_high=bits >> 32,
                        sequence=sequence,
                    )
                    for client, (high, bits, sequence) in self._of.items()
                )
            )
        )

    @classmethod
    def decode(cls, data: bytes) -> "ClientTable":
        """Raises DecodeError: malformed, too many clients, or one of them twice."""
        table = cls()
        for entry in decode(_Table, data).entries:
            if entry.client in table._of:
                raise DecodeError(f"client {entry.client.hex()[:16]}... stands there twice")
            bits = entry.bits_high << 32 | entry.bits_low
            table._of[entry.client] = (entry.high, bits & _MASK, entry.sequence)
        return table
