"""What replicas measured, and what follows from it for each work unit.

Pure.  Losses are integers in micro-nats, because replicas sign them and take the median.
"""

from typing import Annotated

from msgspec import Meta

from bft.codec.canonical import Record
from bft.codec.types import I32, I64, U8, U16, U32, U63, Bytes32, IdentityKey

UNITS_MAX = 10_000
"""Work units of one cycle: a replica's table of so many rows still fits into one request."""


class EvaluationRow(Record):
    """One replica's measurement of one unit.  An invalid update has zeros."""

    unit: U32
    valid: U8  # 1 when the bytes decode to an update of the unit's segment
    gain: I32  # loss that the damped update removes on the challenge batch, micro-nats
    advantage: (
        I64  # own records improve more than control records: -2**16 (never) .. 2**16 (always)
    )
    norm: U32 = 0  # of the decoded update, see chain/rules/norms.py
    replay: U32 = 0  # likeness to the update that this replica trained itself, 2**-16; if audited


class EvaluationTable(Record):
    """One replica's measurements of all revealed units, by unit, ascending."""

    TAG = "gristmill.evaluation/1"

    cycle: U63
    rows: Annotated[tuple[EvaluationRow, ...], Meta(max_length=UNITS_MAX)]


class ScoreRow(Record):
    """The agreed score of one unit; as a leaf of the contributions tree, itself a certificate."""

    TAG = "gristmill.contribution/1"

    cycle: U63
    unit: U32
    miner: IdentityKey
    segment: U16
    parameters: U63  # trained
    samples: U63  # assigned: records times steps' share of them
    valid: U8
    gain: I64  # median, micro-nats
    advantage: I64  # median, -2**16 .. 2**16
    volume: U63  # V
    coverage: U32  # c, 0 .. 2**17
    quality: U32  # q, 0 .. 2**16
    tickets: U63  # in the draw: merit, or 0 while the miner is on trial
    norm: U32 = 0  # median
    cap: U32 = 0  # norm to which the update is scaled down; 0: none
    audited: U8 = 0  # 1 when the challenge round drew the unit for an audit
    replay: U32 = 0  # median, 2**-16; 0 unless audited
    merit: U63 = 0  # w, what the unit is worth


class References(Record):
    """What counts as full work on one segment: trailing values of the cycles before."""

    gain: U63  # micro-nats
    advantage: U63  # 2**-16
    norm: U32 = 0  # the largest norm that counts; 0: none known yet


HALVINGS_MAX = 2
"""Times that back-tracking halves the outer step at most."""


class NextModel(Record):
    """One result of the outer step, and how the whole model does with it."""

    digest: Bytes32  # SHA-256 of the snapshot's bytes; equal on every correct replica
    challenge_loss: U63  # mean on the cycle's challenge batch, micro-nats: by which it is chosen
    loss: U63  # mean on held-out records, micro-nats: which decides nothing
    correct: U32  # held-out predictions that are right


class SnapshotVote(Record):
    """One replica's results of the outer step: the full step, then each halving of it."""

    TAG = "gristmill.snapshot-vote/2"

    cycle: U63
    models: Annotated[tuple[NextModel, ...], Meta(min_length=1, max_length=HALVINGS_MAX + 1)]
    records: U32  # held-out predictions: the job's held-out records times predictions of each
