"""What all replicas, miners, nodes and auditors of one chain must agree on.

The whole record stands in the genesis record, so its bytes are part of the chain id: replicas with
different rules are on different chains.  How soon a result is known is a setting; what it is, is
here.
Pure.
"""

from msgspec.structs import replace

from bft.codec.canonical import Record
from bft.codec.types import U8, U16, U32, U63, Name
from chain.records import profile as profiles


class Params(Record):
    """The constants of one chain.  Durations in milliseconds, losses in micro-nats."""

    TAG = "gristmill.params/1"

    name: Name

    # Consensus.  Where an epoch ends follows from both, see chain/rules/membership.py.
    checkpoint_interval: U16  # K, batches
    window: U16  # L, batches; a multiple of K, at least 2 K

    # How long each phase of a cycle may take.  A phase ends earlier when all have delivered.
    registration_ms: U63
    training_ms: U63
    reveal_ms: U63
    evaluation_ms: U63
    snapshot_ms: U63
    block_ms: U63  # a rank's time to get its block seen before the next rank may

    # Who and how much.
    miners_max: U32  # registrations that one cycle takes
    units_per_miner_max: U16
    unit_capacity: U63  # parameter-samples per second that earn one work unit
    update_bytes_max: U32
    ranks_max: U8  # winner and runners-up in one draw

    # Measuring.  The evaluated step is the update times 2**-step_shift.
    step_shift: U8
    challenge_records: U32  # held-out records in a challenge batch
    own_records: U32  # records of the unit's own chunk in its own-data test
    control_records: U32  # training records that they are compared with
    tolerance_micronats: U63  # honest replicas' losses differ by no more than this

    # Scoring.  See chain/rules/scoring.py.
    volume_shift: U8
    gain_reference_micronats: U63  # before any cycle has set a trailing reference
    advantage_reference: U63  # the same, of the own-data test, in 2**-16
    reference_floor: U63  # no trailing reference falls below, micro-nats and 2**-16

    # Audits: replicas train some units again.  See chain/rules/audits.py.
    audit_share: U32  # of the revealed units, in 2**-16, rounded up to whole units
    audit_cosine: U32  # an honest update is at least so like the replica's own, 2**-16
    barred_cycles: U32  # so long a miner whose unit fails cannot register
    trial_audits: U8  # so many passed audits end a miner's trial, see chain/rules/standing.py

    # Who gets work.  See chain/rules/standing.py.
    newcomer_units: U32  # units a cycle for capacity that is not proven yet
    standing_cycles: U32  # so long a miner that is away keeps what it has proven

    # Reward.
    subsidy: U63  # of the first block, in the smallest unit
    halving_interval: U32  # blocks

    profile: U8  # of blocks' headers: 0 main, 1 regtest, 2 signet; see chain/records/profile.py


MAIN = Params(
    name=b"main",
    checkpoint_interval=128,
    window=256,
    registration_ms=60_000,
    training_ms=900_000,
    reveal_ms=60_000,
    evaluation_ms=120_000,
    snapshot_ms=60_000,
    block_ms=90_000,
    miners_max=10_000,
    units_per_miner_max=64,
    unit_capacity=50_000_000,
    update_bytes_max=64 * 1024 * 1024,
    ranks_max=8,
    step_shift=2,
    challenge_records=256,
    own_records=256,
    control_records=512,
    tolerance_micronats=1_000,
    volume_shift=20,
    gain_reference_micronats=10_000,
    advantage_reference=16_384,
    reference_floor=200,
    audit_share=1 << 10,
    audit_cosine=65_471,
    barred_cycles=1_008,
    trial_audits=2,
    newcomer_units=256,
    standing_cycles=504,
    subsidy=5_000_000_000,
    halving_interval=210_000,
    profile=0,
)
"""Cycles of 20 minutes."""

MINIMAL = Params(
    name=b"minimal",
    checkpoint_interval=128,
    window=256,
    registration_ms=6_000,
    training_ms=15_000,
    reveal_ms=6_000,
    evaluation_ms=10_000,
    snapshot_ms=10_000,
    block_ms=6_000,
    miners_max=64,
    units_per_miner_max=1,
    unit_capacity=10_000,
    update_bytes_max=1024 * 1024,
    ranks_max=4,
    step_shift=2,
    challenge_records=256,
    own_records=240,
    control_records=720,
    tolerance_micronats=1_000,
    volume_shift=0,
    gain_reference_micronats=450_000,
    advantage_reference=10_000,
    reference_floor=200,
    audit_share=1 << 13,
    audit_cosine=65_471,
    barred_cycles=16,
    trial_audits=0,
    newcomer_units=64,
    standing_cycles=16,
    subsidy=5_000_000_000,
    halving_interval=150,
    profile=0,
)
"""Cycles of seconds, for the demonstration and the tests."""

SIGNET = replace(
    MINIMAL,
    name=b"signet",
    profile=profiles.SIGNET.number,
    block_ms=profiles.SIGNET.block_ms_min,
    halving_interval=210_000,
)
"""Cycles of seconds and the work of a block, so that a stock Bitcoin Core can follow."""

PRESETS = {"main": MAIN, "minimal": MINIMAL, "signet": SIGNET}
