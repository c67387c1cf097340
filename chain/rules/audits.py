"""Which units replicas train again, and what follows for a miner whose update is another one.

The challenge round, signed after the reveals closed, draws them.  What a miner was to do follows
from public data (base model, chunk, order of records, optimiser), so a replica that does it gets
the same update up to the rounding of its hardware.
Source: docs/PROTOCOL.md, "Audits".
Pure.
"""

from collections.abc import Sequence

from chain.params import Params
from chain.records.evaluation import EvaluationRow
from chain.records.job import SPARSE, Job
from chain.rules.sampling import sample

_TAG = "gristmill/audit/v1"
ONE = 1 << 16
"""A cosine of 1, and a share of all units."""


def audited_units(
    randomness: bytes, revealed: Sequence[int], params: Params, job: Job
) -> tuple[int, ...]:
    """The units that every replica trains again, ascending: `audit_share` of them, rounded up.

    None where updates are sparse: they tell what earlier ones left out, which nobody else knows.
    """
    if job.compression == SPARSE:
        return ()
    count = -(-len(revealed) * params.audit_share // ONE)
    return tuple(sorted(sample(_TAG, randomness, revealed, count)))


def failed(row: EvaluationRow, params: Params) -> bool:
    """Whether an audited unit's agreed row says that the update is another one than the unit's."""
    return bool(row.valid) and row.replay < params.audit_cosine
