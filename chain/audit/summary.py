"""One summary a cycle, read off the derived leaves that the auditor found right.

Pure.
"""

from dataclasses import replace

from bft.codec.canonical import Record
from chain.audit.findings import CycleSummary, reason_name
from chain.records.block import block_hash
from chain.records.certificate import decode_certificate
from chain.records.score_log import (
    Aggregated,
    Assigned,
    BlockFinal,
    Certified,
    CycleClosed,
    Revealed,
    Scored,
)


def summarised(summary: CycleSummary, record: Record) -> CycleSummary:
    """The cycle's summary with one more verified leaf."""
    match record:
        case Assigned():
            return replace(summary, units=len(record.units))
        case Revealed():
            return replace(summary, revealed=len(record.units))
        case Scored():
            return replace(summary, tickets_total=record.tickets_total)
        case Aggregated():
            return replace(
                summary,
                model=record.digest,
                loss_micronats=record.loss,
                correct=record.correct,
                records=record.records,
            )
        case Certified():
            certificate, _ = decode_certificate(record.certificate)
            return replace(
                summary,
                winner=certificate.winner,
                rank=certificate.rank,
                tickets=certificate.tickets,
                certificates=summary.certificates + 1,
            )
        case BlockFinal():
            return replace(summary, height=record.height, block=block_hash(record.header))
        case CycleClosed():
            return replace(summary, closed=reason_name(record.reason))
    return summary
