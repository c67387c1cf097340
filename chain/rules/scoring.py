"""From measurements to tickets: the one scoring rule of coordinator, node and auditor.

For one work unit, in integers:

    V = parameters * samples >> volume_shift       what was assigned
    c = clamp(2**16 * advantage / reference)       own data was trained on, at most 2
    q = clamp(2**16 * gain / reference)            unknown data gains, at most 1
    merit = V * c * c * q >> 48

Gain and advantage are lower medians over the replicas' tables.  The advantage of a part of the work
falls with its square root at most, because what an update learns of one record drowns in what it
learns of all the others; so coverage counts twice, and half a unit earns less than half of its
merit.  A unit that was drawn for an audit and is another update than its training gives costs all
merit of its miner (chain/rules/audits.py).  A unit's tickets are its merit, or none while its miner
is on trial or barred (chain/rules/standing.py).
Source: paper, section IV-A; docs/PROTOCOL.md, "Scores"; docs/SCORING.md has the measurements.
Pure.
"""

from collections.abc import Collection, Mapping, Sequence

from msgspec.structs import replace

from chain.params import Params
from chain.records.contribution import Standing, WorkUnit
from chain.records.evaluation import EvaluationRow, EvaluationTable, References, ScoreRow
from chain.records.job import Job
from chain.rules.audits import failed
from chain.rules.families.registry import segment_parameters
from chain.rules.standing import is_barred, on_trial

ONE = 1 << 16
"""Full coverage or quality."""
COVERAGE_MAX = 2 * ONE
QUALITY_MAX = ONE
TICKETS_MAX = 2**63 - 1
TRAILING_SHIFT = 2
"""References move by 2**-TRAILING_SHIFT of the way to what a cycle measured."""


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
            norm=lower_median([row.norm for row in rows]),
            replay=lower_median([row.replay for row in rows]),
        )
        for rows in zip(*(table.rows for table in ordered), strict=True)
    )


def clamp_ratio(value: int, reference: int, most: int = ONE) -> int:
    """2**16 * value / reference, rounded down, within 0 .. most.  `reference` is at least 1."""
    return max(0, min(most, value * ONE // reference))


def struck(
    units: Mapping[int, WorkUnit],
    agreed: Sequence[EvaluationRow],
    audited: Collection[int],
    params: Params,
) -> tuple[bytes, ...]:
    """Identity keys of the miners whose audited unit failed, ascending."""
    caught = {
        units[row.unit].miner for row in agreed if row.unit in audited and failed(row, params)
    }
    return tuple(sorted(caught))


def score(
    cycle: int,
    units: Mapping[int, WorkUnit],
    agreed: Sequence[EvaluationRow],
    references: Sequence[References],
    params: Params,
    job: Job,
    audited: Collection[int] = (),
    standings: Mapping[bytes, Standing] | None = None,
) -> tuple[ScoreRow, ...]:
    """One row per measured unit, in the order of `agreed`.

    Args:
        units: unit number -> assignment.
        references: by segment.
        audited: the units that were drawn for an audit.
        standings: in force in this cycle, by identity key; None: nobody has any.
    """
    caught = struck(units, agreed, audited, params)
    rows = tuple(
        _score_unit(
            cycle,
            units[row.unit],
            row,
            references[units[row.unit].segment],
            params,
            job,
            row.unit in audited,
            units[row.unit].miner in caught,
        )
        for row in agreed
    )
    held = standings or {}
    barred = {row.miner for row in rows if is_barred(held, row.miner, cycle)}
    without = barred | _held_back([row for row in rows if row.miner not in barred], held, params)
    return tuple(replace(row, tickets=0) if row.miner in without else row for row in rows)


def _held_back(
    rows: Sequence[ScoreRow], standings: Mapping[bytes, Standing], params: Params
) -> set[bytes]:
    """The miners on trial, if the others have at least half of all merit."""
    trials = {row.miner for row in rows if on_trial(standings, row.miner, params)}
    free = sum(row.merit for row in rows if row.miner not in trials)
    return set() if 2 * free < sum(row.merit for row in rows) else trials


def _score_unit(
    cycle: int,
    unit: WorkUnit,
    row: EvaluationRow,
    reference: References,
    params: Params,
    job: Job,
    audited: bool,
    caught: bool,
) -> ScoreRow:
    parameters = segment_parameters(job, unit.segment)
    samples = unit.steps * job.batch_records
    volume = parameters * samples >> params.volume_shift
    coverage = clamp_ratio(row.advantage, reference.advantage, COVERAGE_MAX) if row.valid else 0
    quality = clamp_ratio(row.gain, reference.gain, QUALITY_MAX) if row.valid else 0
    merit = 0 if caught else min(TICKETS_MAX, volume * coverage * coverage * quality >> 48)
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
        tickets=merit,
        norm=row.norm,
        cap=reference.norm,
        audited=int(audited),
        replay=row.replay if audited else 0,
        merit=merit,
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
        gain=params.gain_reference_micronats, advantage=params.advantage_reference, norm=0
    )
    return (first,) * job.segments


def next_references(
    references: Sequence[References], rows: Sequence[ScoreRow], params: Params
) -> tuple[References, ...]:
    """Each segment's references moved towards this cycle's medians, for the next cycle.

    Over the units with merit; norms, as they were before the cap, only of those with at least
    half of full quality, so that nobody shrinks the steps of all by idle ones.  What no unit tells
    stays as it is; no gain or advantage falls below the floor.
    """
    after = []
    for segment, before in enumerate(references):
        own = [row for row in rows if row.segment == segment and row.merit]
        good = [row for row in own if 2 * row.quality >= QUALITY_MAX]
        gain = trailing(before.gain, [row.gain for row in own])
        advantage = trailing(before.advantage, [row.advantage for row in own])
        after.append(
            References(
                gain=max(params.reference_floor, gain),
                advantage=max(params.reference_floor, advantage),
                norm=trailing(before.norm, [row.norm for row in good]),
            )
        )
    return tuple(after)


def trailing(before: int, values: Sequence[int]) -> int:
    """A quarter of the way from `before` to the lower median, rounded down.

    Without values `before` stays; where there is none (0), the median is the first.
    """
    if not values:
        return before
    median = lower_median(values)
    return before + (median - before >> TRAILING_SHIFT) if before else median


def deviations(
    tables: Mapping[int, EvaluationTable], agreed: Sequence[EvaluationRow], params: Params
) -> list[tuple[int, int, int]]:
    """(replica, unit, distance) of every measurement farther from the median than tolerated.

    The largest distance of gain (micro-nats), advantage and replay (2**-16); a wrong validity or
    norm, which are exact, counts as 2**63 - 1.
    """
    found = []
    for replica in sorted(tables):
        for row, median in zip(tables[replica].rows, agreed, strict=True):
            distance = max(
                abs(row.gain - median.gain),
                abs(row.advantage - median.advantage),
                abs(row.replay - median.replay),
            )
            if (row.valid, row.norm) != (median.valid, median.norm):
                distance = TICKETS_MAX
            if distance > params.tolerance_micronats:
                found.append((replica, row.unit, distance))
    return found
