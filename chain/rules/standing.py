"""What a miner's finished work says for the next cycles: how much it may get, and on which segment.

Identities cost nothing, so they count for nothing: capacity is proven by units that earned tickets.
A miner gets as many units again; everything beyond, and every newcomer, shares `newcomer_units` a
cycle, so that any number of fresh identities takes work from nobody but one another.

Who was barred could begin again under a fresh key.  So a key is on trial until `trial_audits` of
its units passed an audit: till then it works, and proves capacity, without tickets in the draw.
With audits of a share p of the units that costs trial_audits / p units of honest work on average,
and a key that cheats is caught after 1 / p units, so cheating pays only where a unit gains more
than trial_audits of it.  Where those on trial have earned more than half of all, as on a chain's
first days, everybody's tickets count.
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
    """Whether the miner may not have work or win in `cycle`.

    A unit of it failed an audit, or it signed two blocks under one certificate (chain/barring.py).
    """
    standing = standings.get(miner)
    return standing is not None and cycle < standing.barred_until


def on_trial(standings: Mapping[bytes, Standing], miner: bytes, params: Params) -> bool:
    """Whether too few of the miner's units have passed an audit for its tickets to count."""
    standing = standings.get(miner)
    return (standing.passed if standing else 0) < params.trial_audits


def next_standings(
    cycle: int,
    standings: Mapping[bytes, Standing],
    units: Sequence[WorkUnit],
    rows: Sequence[ScoreRow],
    struck: Collection[bytes],
    params: Params,
) -> dict[bytes, Standing]:
    """Everybody's standing after the scores of `cycle`, by identity key, ascending.

    Who had units has proven those with merit, and its honesty by each that passed an audit; who is
    struck has proven nothing and is barred; who was barred while it worked has proven nothing
    either; who was away keeps its standing for `standing_cycles`.

    Args:
        units: all units of the cycle's assignment.
        rows: scores of those that were revealed.
        struck: identity keys.
    """
    earned: dict[bytes, int] = {unit.miner: 0 for unit in units}
    segments = {unit.miner: unit.segment for unit in units}  # its last one
    passed = {
        miner: standings[miner].passed if miner in standings else 0 for miner in sorted(earned)
    }
    for row in rows:
        earned[row.miner] += bool(row.merit)
        passed[row.miner] += bool(row.audited and row.valid and row.replay >= params.audit_cosine)
    after = dict(standings)
    for miner, count in earned.items():
        if is_barred(standings, miner, cycle):
            continue
        after[miner] = Standing(
            units=count,
            segment=segments[miner],
            cycle=cycle,
            barred_until=0,
            passed=min(params.trial_audits, passed[miner]),
        )
    for miner in struck:
        until = cycle + 1 + params.barred_cycles
        after[miner] = Standing(units=0, segment=0, cycle=cycle, barred_until=until)
    return {miner: after[miner] for miner in sorted(after) if _is_kept(after[miner], cycle, params)}


def _is_kept(standing: Standing, cycle: int, params: Params) -> bool:
    if standing.barred_until > cycle + 1:
        return True
    shown = standing.units > 0 or standing.passed > 0
    return shown and cycle - standing.cycle < params.standing_cycles
