"""What a miner's finished work says for the next cycles: how much it may get, and on which segment.

Identities cost nothing, so they count for nothing: capacity is proven by units that earned tickets.
A miner gets as many units again; everything beyond, and every newcomer, shares `newcomer_units` a
cycle, so that any number of fresh identities takes work from nobody but one another.
Source: docs/PROTOCOL.md, "Assignment"; docs/SCORING.md.
Pure.
"""

from collections.abc import Collection, Mapping, Sequence

from chain.params import Params
from chain.records.contribution import Standing, WorkUnit
from chain.records.evaluation import ScoreRow


def proven(standings: Mapping[bytes, Standing], miner: bytes) -> int:
    """Units that the miner has shown it can do in a cycle."""
    standing = standings.get(miner)
    return standing.units if standing else 0


def is_barred(standings: Mapping[bytes, Standing], miner: bytes, cycle: int) -> bool:
    """Whether the miner may not have work in `cycle`, because a unit of it failed an audit."""
    standing = standings.get(miner)
    return standing is not None and cycle < standing.barred_until


def next_standings(
    cycle: int,
    standings: Mapping[bytes, Standing],
    units: Sequence[WorkUnit],
    rows: Sequence[ScoreRow],
    struck: Collection[bytes],
    params: Params,
) -> dict[bytes, Standing]:
    """Everybody's standing after the scores of `cycle`, by identity key, ascending.

    Who had units has proven those that earned tickets; who is struck has proven nothing and is
    barred; who was away keeps its standing for `standing_cycles`.

    Args:
        units: all units of the cycle's assignment.
        rows: scores of those that were revealed.
        struck: identity keys.
    """
    earned: dict[bytes, int] = {unit.miner: 0 for unit in units}
    segments = {unit.miner: unit.segment for unit in units}  # its last one
    for row in rows:
        earned[row.miner] += bool(row.tickets)
    after = dict(standings)
    for miner, count in earned.items():
        after[miner] = Standing(units=count, segment=segments[miner], cycle=cycle, barred_until=0)
    for miner in struck:
        until = cycle + 1 + params.barred_cycles
        after[miner] = Standing(units=0, segment=0, cycle=cycle, barred_until=until)
    return {miner: after[miner] for miner in sorted(after) if _is_kept(after[miner], cycle, params)}


def _is_kept(standing: Standing, cycle: int, params: Params) -> bool:
    if standing.barred_until > cycle + 1:
        return True
    return standing.units > 0 and cycle - standing.cycle < params.standing_cycles
