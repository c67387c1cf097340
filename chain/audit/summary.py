"""One summary a cycle, read off the derived leaves that the auditor found right.

Pure.
"""

from collections.abc import Mapping
from dataclasses import replace

from bft.codec.canonical import Record
from chain.audit.findings import CycleSummary, Figure, Throw, UnitScore, reason_name
from chain.records.block import block_hash
from chain.records.certificate import decode_certificate
from chain.records.evaluation import EvaluationRow, EvaluationTable, ScoreRow
from chain.records.score_log import (
    Aggregated,
    Assigned,
    BlockFinal,
    Certified,
    CycleClosed,
    Drawn,
    Revealed,
    Scored,
)
from chain.rules.lottery import throws

MEASURED = tuple(
    name
    for name in EvaluationRow.__struct_fields__
    if name != "unit" and name in ScoreRow.__struct_fields__
)
"""What replicas measure of a unit, and then agree on."""


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
                certified_s=certificate.not_before,
            )
        case BlockFinal():
            return replace(summary, height=record.height, block=block_hash(record.header))
        case CycleClosed():
            return replace(summary, closed=reason_name(record.reason))
    return summary


def detailed(
    summary: CycleSummary, record: Record, tables: Mapping[int, EvaluationTable]
) -> CycleSummary:
    """The summary with each unit's measurements and the draw's arithmetic.

    Args:
        record: already in `summary`.
        tables: those that were counted in this cycle, by replica.
    """
    match record:
        case Scored():
            scores = scores_of(record, tables)
            return replace(summary, evaluators=record.evaluators, scores=scores)
        case Drawn():
            tickets: dict[bytes, int] = {}
            for score in summary.scores:
                tickets[score.miner] = tickets.get(score.miner, 0) + score.tickets
            told = throws_of(record, tickets)
            return replace(summary, randomness=record.randomness, throws=told)
    return summary


def scores_of(scored: Scored, tables: Mapping[int, EvaluationTable]) -> tuple[UnitScore, ...]:
    """By unit, with the spread between the tables that were counted."""
    counted = [tables[replica].rows for replica in scored.evaluators if replica in tables]
    columns = zip(*counted, strict=True) if counted else ((),) * len(scored.rows)
    scores = []
    for row, measured in zip(scored.rows, columns, strict=True):
        figures = []
        for name in MEASURED:
            values = [getattr(one, name) for one in measured] or [getattr(row, name)]
            median, low, high = getattr(row, name), min(values), max(values)
            figures.append(Figure(name=name, median=median, lowest=low, highest=high))
        scores.append(
            UnitScore(
                unit=row.unit,
                miner=row.miner,
                segment=row.segment,
                tickets=row.tickets,
                figures=tuple(figures),
            )
        )
    return tuple(scores)


def throws_of(drawn: Drawn, tickets: Mapping[bytes, int]) -> tuple[Throw, ...]:
    """Where each rank's point fell."""
    told = []
    for throw in throws(drawn.randomness, tickets, len(drawn.ranks)):
        first = 0
        for miner, held in throw.holders:
            if miner == throw.rank.miner:
                break
            first += held
        told.append(
            Throw(
                miner=throw.rank.miner,
                tickets=throw.rank.tickets,
                first=first,
                point=throw.point,
                total=throw.total,
            )
        )
    return tuple(told)
