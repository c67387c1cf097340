"""What a winner may put into its block beside the coinbase, as a node offers it.

Pure.
"""

from typing import Annotated

from msgspec import Meta

from bft.codec.canonical import Record
from bft.codec.types import U63, Bytes32
from chain.federation.api import BLOCK_BYTES_MAX
from chain.records.coinbase import CARRIED_EVIDENCE_BYTES_MAX

TEMPLATE_BYTES_MAX = BLOCK_BYTES_MAX
TEMPLATE_WEIGHT_MAX = 900_000
"""Of the transactions together: at most as many bytes, so that block and coinbase always fit."""


class BlockTemplate(Record):
    """Transactions, valid in this order on the coins that `parent` leaves."""

    parent: Bytes32
    fees: U63  # the coinbase may pay them on top of the subsidy
    evidence: Annotated[bytes, Meta(max_length=CARRIED_EVIDENCE_BYTES_MAX)]  # for the coinbase
    transactions: tuple[Annotated[bytes, Meta(min_length=60, max_length=BLOCK_BYTES_MAX)], ...]
