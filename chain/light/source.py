"""What a light client asks of a replica or a node.  Nothing here is believed: follow.py judges."""

from urllib.parse import quote

from bft.codec.canonical import decode
from chain.bitcoin.merkle_block import PROOF_BYTES_MAX
from chain.federation import api
from chain.federation.fetch import fetch
from chain.records.block import CERTIFIED_HEADER_BYTES_MAX, block_hash
from chain.records.evidence import Finality
from chain.records.federation import FederationKey
from chain.records.peer_message import decode_certheaders
from chain.records.score_log import BlockFinal

HEADERS_BYTES_MAX = 9 + api.HEADERS_LIMIT_MAX * (3 + CERTIFIED_HEADER_BYTES_MAX)
FINAL_BYTES_MAX = 512


class Source:
    """One server.

    Every method raises Unavailable: no answer; DecodeError: something else than was asked for.
    """

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")

    def headers(self, first: int) -> tuple[bytes, ...]:
        """Encoded certified headers from height `first` on; fewer than the limit are the last."""
        url = f"{self.url}{api.HEADERS}?from={first}"
        return decode_certheaders(fetch(url, HEADERS_BYTES_MAX))

    def finality(self, height: int) -> Finality | None:
        """The federation's word on a height, where the server has it."""
        try:
            data = fetch(self.url + api.FINALITY.format(height=height), FINAL_BYTES_MAX)
        except FileNotFoundError:
            return None
        final = decode(BlockFinal, data, bytes_max=FINAL_BYTES_MAX)
        return Finality(
            height=final.height, block=block_hash(final.header), signature=final.signature
        )

    def epochs(self, first: int) -> tuple[FederationKey, ...]:
        """Certificates of epochs from `first` on; a node has none to give."""
        try:
            data = fetch(f"{self.url}{api.EPOCHS}?from={first}", api.EPOCHS_ANSWER_BYTES_MAX)
        except FileNotFoundError:
            return ()
        limit = api.EPOCHS_ANSWER_BYTES_MAX
        return decode(tuple[FederationKey, ...], data, bytes_max=limit)

    def proof(self, height: int, txid: str) -> bytes:
        """That a transaction is in a block.  Raises FileNotFoundError: it is not, they say."""
        path = api.PROOF.format(height=height, txid=quote(txid, safe=""))
        return fetch(self.url + path, PROOF_BYTES_MAX)
