"""Certificates and blocks as people and dashboards read them.

Hashes of blocks are shown reversed, as all of Bitcoin's tools do; other digests as they are.
"""

from typing import Any

from chain.records.block import Block
from chain.records.certificate import BlockCertificate
from chain.records.receipt import ExecutionReceipt
from chain.tree import BlockTree


def describe_tree(tree: BlockTree) -> dict[str, Any]:
    """The best block, and the one that is final."""
    return {
        "height": tree.tip.height,
        "tip": tree.tip.hash[::-1].hex(),
        "tip_time": tree.tip.time,
        "final_height": tree.final.height,
        "final": tree.final.hash[::-1].hex(),
    }


def describe_certificate(certificate: BlockCertificate) -> dict[str, Any]:
    """All its fields, in their order."""
    return {
        "chain_id": certificate.chain_id.hex(),
        "epoch": certificate.epoch,
        "cycle": certificate.cycle,
        "height": certificate.height,
        "rank": certificate.rank,
        "parent": certificate.parent[::-1].hex(),
        "not_before": certificate.not_before,
        "not_after": certificate.not_after,
        "nonce": certificate.nonce.hex(),
        "winner": certificate.winner.hex(),
        "parameters": certificate.parameters,
        "loss_reduction_micronats": certificate.loss_reduction,
        "tickets": certificate.tickets,
        "tickets_total": certificate.tickets_total,
        "contributions_root": certificate.contributions_root.hex(),
        "log_root": certificate.log_root.hex(),
        "log_size": certificate.log_size,
        "model_snapshot": certificate.model_snapshot.hex(),
        "next_federation": certificate.next_federation.hex(),
    }


def describe_block(block: Block) -> dict[str, Any]:
    """Header, reward and certificate."""
    return {
        "height": block.certificate.height,
        "hash": block.hash[::-1].hex(),
        "previous": block.header.previous[::-1].hex(),
        "merkle_root": block.header.merkle_root[::-1].hex(),
        "time": block.header.time,
        "bytes": len(block.data),
        "transactions": len(block.transactions),
        "reward": block.coinbase.reward,
        "certificate": describe_certificate(block.certificate),
    }


def describe_receipt(receipt: ExecutionReceipt) -> dict[str, Any]:
    """All its fields, in their order."""
    return {
        "chain_id": receipt.chain_id.hex(),
        "epoch": receipt.epoch,
        "client": receipt.client.hex(),
        "client_sequence": receipt.cseq,
        "request": receipt.request.hex(),
        "sequence": receipt.sequence,
        "outcomes": " ".join(code.decode("ascii", "replace") for code in receipt.outcomes),
    }
