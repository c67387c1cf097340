"""Joules per block and per unit of loss reduction, beside Bitcoin's per block.

Statistics: claims of miners' kernels and of replicas about themselves; never part of a score.
Pure.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

MILLI, MICRO = 1_000, 1_000_000
JOULES_PER_TWH = 3_600 * 10**12
BITCOIN_TWH_PER_YEAR = 138
BITCOIN_BLOCKS_PER_YEAR = 365 * 24 * 6  # one in ten minutes
BITCOIN_JOULES_PER_BLOCK = BITCOIN_TWH_PER_YEAR * JOULES_PER_TWH // BITCOIN_BLOCKS_PER_YEAR
BITCOIN_SOURCE = (
    f"{BITCOIN_TWH_PER_YEAR} TWh a year: Cambridge Centre for Alternative Finance, Cambridge "
    "Digital Mining Industry Report, April 2025"
)
BITCOIN_ARITHMETIC = (
    f"{BITCOIN_TWH_PER_YEAR} TWh x 3.6e15 J / {BITCOIN_BLOCKS_PER_YEAR} blocks "
    f"= {BITCOIN_JOULES_PER_BLOCK:.3g} J"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class CycleEnergy:
    """One cycle, as far as it was told."""

    cycle: int
    training_mj: int  # all miners' claims
    replicas_mj: int  # of those replicas that told
    replicas_told: int
    estimated_mj: int  # of both: CPU time times an assumed power
    loss: int | None  # micro-nats on held-out data, after the cycle
    height: int | None  # of the block that it brought

    @property
    def total_mj(self) -> int:
        """Training and replicas."""
        return self.training_mj + self.replicas_mj


def sum_up(cycles: Sequence[CycleEnergy], loss_before: int | None) -> dict[str, Any]:
    """The report over consecutive cycles, ascending.

    Args:
        loss_before: micro-nats before the first of `cycles`; None where that is not known, and
            the energy of cycles up to the first with a loss then counts for no reduction.
    """
    total_mj = sum(each.total_mj for each in cycles)
    blocks = sum(each.height is not None for each in cycles)
    per_block = total_mj / MILLI / blocks if blocks else None
    reduction, spent_mj = _reduction(cycles, loss_before)
    return {
        "first_cycle": cycles[0].cycle if cycles else None,
        "last_cycle": cycles[-1].cycle if cycles else None,
        "cycles": len(cycles),
        "blocks": blocks,
        "joules": total_mj / MILLI,
        "training_joules": sum(each.training_mj for each in cycles) / MILLI,
        "replicas_joules": sum(each.replicas_mj for each in cycles) / MILLI,
        "replicas_told": min((each.replicas_told for each in cycles), default=0),
        "estimated_part": sum(each.estimated_mj for each in cycles) / total_mj if total_mj else 0,
        "joules_per_block": per_block,
        "loss_reduction_nats": None if reduction is None else reduction / MICRO,
        "joules_per_nat": spent_mj / MILLI / (reduction / MICRO)
        if reduction is not None and reduction > 0
        else None,
        "bitcoin": {
            "joules_per_block": BITCOIN_JOULES_PER_BLOCK,
            "source": BITCOIN_SOURCE,
            "arithmetic": BITCOIN_ARITHMETIC,
            "times_ours": BITCOIN_JOULES_PER_BLOCK / per_block if per_block else None,
        },
    }


def _reduction(cycles: Sequence[CycleEnergy], loss_before: int | None) -> tuple[int | None, int]:
    """(micro-nats by which the loss fell, millijoules spent on it)."""
    spent_mj, since_mj, before, after = 0, 0, loss_before, None
    for each in cycles:
        if before is not None:
            since_mj += each.total_mj
        if each.loss is None:
            continue
        if before is None:
            before = each.loss
        else:
            after, spent_mj = each.loss, since_mj
    return (None, 0) if before is None or after is None else (before - after, spent_mj)
