"""Asking nodes what a winner's block may hold beside the coinbase.

The answer is believed as far as it can be read: whoever asks names nodes of its own, because a
block with a transaction that is not valid is refused, and its winner has no second one.
"""

import logging
from collections.abc import Sequence

from bft.codec.canonical import decode
from bft.errors import DecodeError, FederationError
from chain.bitcoin.ledger import MONEY_MAX, weight
from chain.federation import api
from chain.federation.transport import Transport
from chain.records.template import TEMPLATE_BYTES_MAX, TEMPLATE_WEIGHT_MAX, BlockTemplate
from chain.records.transaction import Transaction, decode_transaction

TEMPLATE_S = 5.0

log = logging.getLogger("gristmill.miner")


async def fetch_template(
    nodes: Sequence[str], parent: bytes
) -> tuple[tuple[Transaction, ...], int]:
    """Transactions on `parent` (32 bytes) and their fees, of the first node that has them.

    Without nodes, or if none of them has this tip, there are none.
    """
    async with Transport() as transport:
        for url in nodes:
            try:
                return await _ask(transport, url, parent)
            except FederationError as error:
                log.info("%s offers no transactions: %s", url, error)
    return (), 0


async def _ask(
    transport: Transport, url: str, parent: bytes
) -> tuple[tuple[Transaction, ...], int]:
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
    return transactions, template.fees
