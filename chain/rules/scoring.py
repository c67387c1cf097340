"""From measurements to tickets: the one scoring rule of coordinator, node and auditor.

For one work unit, in integers:

    V = parameters * samples >> volume_shift       what was assigned
    c = clamp(2**16 * advantage / reference)       that the unit's own data was trained on
    q = clamp(2**16 * gain / reference)            that the update helps on data nobody knew
    tickets = V * c * q >> 32

Gain and advantage are lower medians over the replicas' tables.  c and q are capped at 2**16, so
there is no prize for concentration, and both fall when work is skimped, so a split or lazy unit
earns less per unit of work.
Source: paper, section IV-A; docs/PROTOCOL.md, "Scores".
Pure.
"""

from collections.abc import Mapping, Sequence

from chain.params import Params
from chain.records.contribution import WorkUnit
from chain.records.evaluation import EvaluationRow, EvaluationTable, References, ScoreRow
from chain.records.job import Job
from chain.rules.families.registry import segment_parameters

ONE = 1 << 16
"""Full coverage or quality."""
TICKETS_MAX = 2**63 - 1


def lower_median(values: Sequence[int]) -> int:
    """The middle value, the lower of two.  With a strong quorum it lies between honest values."""
    if not values:
        raise ValueError("the median of nothing")
    return sorted(values)[(len(values) - 1) // 2]


def agree(tables: Mapping[int, EvaluationTable]) -> tuple[EvaluationRow, ...]:
    """Column-wise lower medians.  All tables list the same units in the same order."""
    ordered = [tables[replica] for replica in sorted(tables)]
    return tuple(
        EvaluationRow(
            unit=rows[0].unit,
            valid=lower_median([row.valid for row in rows]),
            gain=lower_median([row.gain for row in rows]),
            advantage=lower_median([row.advantage for row in rows]),
        )
        for rows in zip(*(table.rows for table in ordered), strict=True)
    )


def clamp_ratio(value: int, reference: int) -> int:
    """2**16 * value / reference, rounded down, within 0 .. 2**16.  `reference` is at least 1."""
    return max(0, min(ONE, value * ONE // reference))


def score(
    cycle: int,
    units: Mapping[int, WorkUnit],
    agreed: Sequence[EvaluationRow],
    references: Sequence[References],
    params: Params,
    job: Job,
) -> tuple[ScoreRow, ...]:
    """One row per measured unit, in the order of `agreed`.

    Args:
        units: unit number -> assignment.
        references: by segment.
    """
    return tuple(
        _score_unit(cycle, units[row.unit], row, references[units[row.unit].segment], params, job)
        for row in agreed
    )


def _score_unit(
    cycle: int,
    unit: WorkUnit,
    row: EvaluationRow,
    reference: References,
    params: Params,
    job: Job,
) -> ScoreRow:
    parameters = segment_parameters(job, unit.segment)
    samples = unit.steps * job.batch_records
    volume = parameters * samples >> params.volume_shift
    coverage = clamp_ratio(row.advantage, reference.advantage) if row.valid else 0
    quality = clamp_ratio(row.gain, reference.gain) if row.valid else 0
    return ScoreRow(
        cycle=cycle,
        unit=unit.unit,
        miner=unit.miner,
        segment=unit.segment,
        parameters=parameters,
        samples=samples,
        valid=row.valid,
        gain=row.gain,
        advantage=row.advantage,
        volume=volume,
        coverage=coverage,
        quality=quality,
        tickets=min(TICKETS_MAX, volume * coverage * quality >> 32),
    )


def tickets_by_miner(rows: Sequence[ScoreRow]) -> dict[bytes, int]:
    """Identity key -> sum of its units' tickets; miners without tickets are absent."""
    tickets: dict[bytes, int] = {}
    for row in rows:
        if row.tickets:
            tickets[row.miner] = tickets.get(row.miner, 0) + row.tickets
    return tickets


def initial_references(params: Params, job: Job) -> tuple[References, ...]:
    """What counts as full before any cycle was measured; one per segment."""
    first = References(
        gain=params.gain_reference_micronats, advantage=params.advantage_reference_micronats
    )
    return (first,) * job.segments


def next_references(
    references: Sequence[References], rows: Sequence[ScoreRow], params: Params
) -> tuple[References, ...]:
    """Each segment's medians of this cycle's positive measurements, for the next cycle.

    A segment that nobody improved keeps its references; none falls below the floor.
    """
    floor = params.reference_floor_micronats
    after = []
    for segment, before in enumerate(references):
        own = [row for row in rows if row.segment == segment and row.valid]
        gains = [row.gain for row in own if row.gain > 0]
        advantages = [row.advantage for row in own if row.advantage > 0]
        after.append(
            References(
                gain=max(floor, lower_median(gains)) if gains else before.gain,
                advantage=max(floor, lower_median(advantages)) if advantages else before.advantage,
            )
        )
    return tuple(after)


def deviations(
    tables: Mapping[int, EvaluationTable], agreed: Sequence[EvaluationRow], params: Params
) -> list[tuple[int, int, int]]:
    """(replica, unit, micro-nats) of every measurement farther from the median than tolerated.

    The larger of the gain's and the advantage's distance; a wrong validity counts as 2**63 - 1.
    """
    found = []
    for replica in sorted(tables):
        for row, median in zip(tables[replica].rows, agreed, strict=True):
            distance = max(abs(row.gain - median.gain), abs(row.advantage - median.advantage))
            if row.valid != median.valid:
                distance = TICKETS_MAX
            if distance > params.tolerance_micronats:
                found.append((replica, row.unit, distance))
    return found
