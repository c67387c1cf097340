"""Asking nodes what a winner's block may hold beside the coinbase.

The answer is believed as far as it can be read: whoever asks names nodes of its own, because a
block with a transaction that is not valid is refused, and its winner has no second one.
"""

import logging
from collections.abc import Sequence
from typing import NamedTuple

from bft.codec.canonical import decode
from bft.errors import DecodeError, FederationError
from chain.bitcoin.ledger import MONEY_MAX, weight
from chain.federation import api
from chain.federation.transport import Transport
from chain.records.template import TEMPLATE_BYTES_MAX, TEMPLATE_WEIGHT_MAX, BlockTemplate
from chain.records.transaction import Transaction, decode_transaction

TEMPLATE_S = 5.0

log = logging.getLogger("gristmill.miner")


class Offer(NamedTuple):
    """What a block may hold beside its reward."""

    transactions: tuple[Transaction, ...] = ()
    fees: int = 0
    evidence: bytes = b""  # for the coinbase


async def fetch_template(nodes: Sequence[str], parent: bytes) -> Offer:
    """What there is for a block on `parent` (32 bytes), of the first node that has this tip.

    Without nodes, or if none of them has this tip, there is nothing.
    """
    async with Transport() as transport:
        for url in nodes:
            try:
                return await _ask(transport, url, parent)
            except FederationError as error:
                log.info("%s offers no transactions: %s", url, error)
    return Offer()


async def _ask(transport: Transport, url: str, parent: bytes) -> Offer:
    reply = await transport.exchange(
        "GET",
        url + api.TEMPLATE.format(parent=parent[::-1].hex()),
        bytes_max=TEMPLATE_BYTES_MAX,
        timeout_s=TEMPLATE_S,
    )
    if reply.status != 200:
        raise DecodeError(f"status {reply.status}")
    template = decode(BlockTemplate, reply.body, bytes_max=TEMPLATE_BYTES_MAX)
    transactions = tuple(decode_transaction(data) for data in template.transactions)
    if template.parent != parent or template.fees > MONEY_MAX:
        raise DecodeError("a template for another parent, or with impossible fees")
    if sum(weight(each) for each in transactions) > TEMPLATE_WEIGHT_MAX:
        raise DecodeError(f"a template heavier than {TEMPLATE_WEIGHT_MAX}")
    return Offer(transactions, template.fees, template.evidence)
