"""A node's evidence against winners, shown to the replicas that it asks.

Each piece is one signed request, the same for all replicas, so that it is ordered once, whoever of
them takes it.  The key under it says nothing and lives as long as the process.
"""

import secrets
from collections.abc import Sequence

from bft.crypto.identity import PrivateKey
from bft.errors import Busy, DecodeError, Unavailable
from bft.ordering.request import seal_request
from chain.federation.answers import Verdict, read_verdict
from chain.federation.transport import Reply
from chain.params import Params
from chain.records.conviction import shown
from chain.records.evidence import Equivocation
from chain.records.operations import encode_operation

SHOWN_PER_POLL_MAX = 4
LATER = frozenset({"pending", "wrong-phase", "wrong-cycle"})
"""A replica that is behind may take it yet."""


class Showing:
    """What there is to show, and what each replica has answered."""

    def __init__(self, chain_id: bytes, params: Params) -> None:
        self._chain_id, self._params = chain_id, params
        self._key = PrivateKey(secrets.token_bytes(32))
        self._sealed: dict[bytes, bytes] = {}  # by certificate
        self._done: dict[str, set[bytes]] = {}  # certificates, by replica

    def due(
        self, replica: str, winners: tuple[Equivocation, ...], cycle: int
    ) -> tuple[tuple[bytes, bytes], ...]:
        """(certificate, sealed request) that this replica has not settled; a few of them.

        Args:
            cycle: of the newest block; evidence whose bar is over then is shown no more.
        """
        done, found = self._done.setdefault(replica, set()), []
        for evidence in winners:
            certificate = evidence.first.coinbase.certificate
            live = evidence.first.certificate.cycle + self._params.barred_cycles > cycle
            if live and certificate not in done:
                found.append((certificate, self._request(certificate, evidence)))
        return tuple(found[:SHOWN_PER_POLL_MAX])

    def requests(self, winners: Sequence[Equivocation]) -> list[bytes]:
        """A sealed request for each piece, whatever was shown before."""
        return [self._request(each.first.coinbase.certificate, each) for each in winners]

    def settle(self, replica: str, certificate: bytes, reply: Reply) -> Verdict | None:
        """What the replica says, if it is its last word on it; None: ask again."""
        try:
            verdict = read_verdict(replica, reply)
        except (Busy, DecodeError, Unavailable):
            return None
        if verdict.code in LATER:
            return None
        self._done[replica].add(certificate)
        return verdict

    def _request(self, certificate: bytes, evidence: Equivocation) -> bytes:
        if certificate not in self._sealed:
            self._sealed[certificate] = seal_request(
                self._chain_id,
                self._key.public_key,
                len(self._sealed) + 1,
                encode_operation(shown(evidence)),
                self._key.sign,
            )
        return self._sealed[certificate]
