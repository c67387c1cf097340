"""Whatever one miner does or sends, no other miner's score changes.

Three miners in the real cycle machine with real training and measuring: two honest ones, and one
that misbehaves in every way that the table below knows.  The honest rows of each case must be
exactly those of the cycle in which the third one is honest too.

NaN, infinities and denormals cannot be written in an update at all: it holds integers, so such
bytes are of a wrong type.  Sparse updates, their duplicate indices and second encodings are refused
in tests/chain/rules/test_sparse.py.
"""

import copy
import gzip
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
import pytest
import safetensors.numpy
from msgspec.structs import replace

from bft.codec.canonical import Record
from bft.codec.envelope import seal
from bft.crypto.hashing import sha256
from bft.crypto.identity import PrivateKey
from bft.ordering.request import seal_request
from chain.records.contribution import (
    Profile,
    Register,
    ResourceReport,
    StorageReceipt,
    UpdateCommitment,
    UpdateReveal,
    WorkUnit,
    commitment_digest,
)
from chain.records.evaluation import EvaluationTable, ScoreRow
from chain.records.operations import encode_operation
from chain.records.phase import Phase
from chain.records.score_log import Scored
from chain.rules.assignment import chunk_records, training_seed
from chain.rules.families.registry import segment_parameters
from chain.rules.tensors import Tensor, encode_tensors
from chain.rules.updates import EXPONENT_MAX, EXPONENTS, update_layout
from miner.training.trainer import train_unit
from tests.chain.federation_fixture import key_of
from tests.miner.small_federation import JOB, REPLICAS, SNAPSHOT, SmallFederation, member_key

KEYS = [key_of(f"miner {number}") for number in range(3)]
BAD = 2  # which of them misbehaves
SALT = b"s" * 32
CLAIM = 2**62
RESOURCES = ResourceReport(
    cpu_user_ms=1, cpu_system_ms=1, wall_ms=1, memory_peak_bytes=1, energy_mj=1, estimated=1
)


class Federation(SmallFederation):
    """All replicas measure alike, so one of them does it for all."""

    def _table(self, cycle: int) -> EvaluationTable:
        tables = [table for _, table in sorted(self.state.tables.items())]
        return tables[0] if tables else super()._table(cycle)


@dataclass
class Scene:
    """A cycle in which three miners have a unit each, and training is open."""

    federation: Federation
    cseq: int = 100

    def unit(self, miner: int) -> WorkUnit:
        key = KEYS[miner].public_key
        return next(unit for unit in self.federation.state.units if unit.miner == key)

    def say(self, miner: int, operation: Record) -> str:
        """The outcome's word."""
        self.cseq += 1
        key, chain_id = KEYS[miner], self.federation.genesis.chain_id
        sealed = seal_request(
            chain_id, key.public_key, self.cseq, encode_operation(operation), key.sign
        )
        return self.federation.order(sealed).code

    def commit(self, miner: int, update: bytes, salt: bytes = SALT) -> str:
        unit, cycle = self.unit(miner), self.federation.state.cycle
        digest = commitment_digest(
            self.federation.genesis.chain_id,
            cycle,
            unit.unit,
            unit.miner,
            sha256(update),
            salt,
        )
        return self.say(miner, UpdateCommitment(cycle=cycle, unit=unit.unit, commitment=digest))

    def store(self, update: bytes) -> None:
        self.federation.blobs[sha256(update)] = update

    def opening(self, miner: int, update: bytes, signers: tuple[PrivateKey, ...]) -> UpdateReveal:
        unit, cycle = self.unit(miner), self.federation.state.cycle
        receipt = StorageReceipt(
            chain_id=self.federation.genesis.chain_id,
            cycle=cycle,
            miner=unit.miner,
            digest=sha256(update),
            size=len(update),
        )
        return UpdateReveal(
            cycle=cycle,
            unit=unit.unit,
            salt=SALT,
            digest=sha256(update),
            size=len(update),
            parameters=segment_parameters(JOB, unit.segment),
            resources=RESOURCES,
            receipts=tuple(seal(receipt, key.public_key, key.sign) for key in signers),
        )

    def reveal(self, miner: int, update: bytes) -> str:
        """With the receipts of all replicas, whatever the bytes are."""
        self.store(update)
        return self.say(miner, self.opening(miner, update, HOLDERS))

    def to_reveals(self) -> None:
        """The honest ones commit; who has not by then is too late."""
        for miner in (0, 1):
            assert self.commit(miner, honest(miner)) == "accepted"
        if self.federation.state.phase == Phase.TRAINING:
            self.federation.run_out(Phase.TRAINING)

    def scores(self) -> dict[bytes, ScoreRow]:
        """After the honest reveals, miner -> row; who has not revealed by then is too late."""
        for miner in (0, 1):
            assert self.reveal(miner, honest(miner)) == "accepted"
        if self.federation.state.phase == Phase.REVEAL:
            self.federation.run_out(Phase.REVEAL)
        scored = self.federation.found(Scored, 1)
        assert isinstance(scored, Scored)
        return {row.miner: row for row in scored.rows}


HOLDERS = tuple(member_key(index) for index in range(REPLICAS))


@cache
def opened() -> Federation:
    """Made once; each case goes on from a copy."""
    federation = Federation()
    federation.work()
    scene = Scene(federation, cseq=0)
    for miner in range(3):
        capacity = CLAIM if miner == BAD else federation.genesis.params.unit_capacity
        profile = Profile(device=b"cpu", capacity=capacity, memory_bytes=2**30)
        assert scene.say(miner, Register(cycle=1, profile=profile)) == "accepted"
    federation.run_out(Phase.REGISTRATION)
    federation.work()
    assert federation.state.phase == Phase.TRAINING
    return federation


@pytest.fixture
def scene() -> Scene:
    federation = copy.copy(opened())
    federation._clients = opened()._clients.copy()
    federation.log, federation.blobs = list(opened().log), dict(opened().blobs)
    federation.blocks, federation.accepted = {}, set()
    return Scene(federation)


@cache
def honest(miner: int) -> bytes:
    """What this miner's unit trains to."""
    state = opened().state
    unit = Scene(opened()).unit(miner)
    seed = training_seed(state.seed, unit)
    return train_unit(JOB, SNAPSHOT, unit, chunk_records(state.seed, JOB, unit.chunk), seed)


@cache
def expected() -> dict[bytes, ScoreRow]:
    """The honest rows when all three are honest."""
    federation = copy.copy(opened())
    federation._clients = opened()._clients.copy()
    federation.log, federation.blobs = list(opened().log), dict(opened().blobs)
    federation.blocks, federation.accepted = {}, set()
    scene = Scene(federation)
    assert scene.commit(BAD, honest(BAD)) == "accepted"
    scene.to_reveals()
    assert scene.reveal(BAD, honest(BAD)) == "accepted"
    rows = scene.scores()
    assert rows[KEYS[BAD].public_key].valid == 1
    return {KEYS[miner].public_key: rows[KEYS[miner].public_key] for miner in (0, 1)}


def unharmed(rows: dict[bytes, ScoreRow]) -> None:
    """The two honest rows are what they are among honest miners; audits are drawn anew."""
    assert all(row.valid and row.tickets for row in expected().values())
    for key, row in expected().items():
        assert replace(rows[key], audited=0, replay=0) == replace(row, audited=0, replay=0)


# What it reveals.


def floats(value: float) -> bytes:
    layout = update_layout(JOB, Scene(opened()).unit(BAD).segment)
    return safetensors.numpy.save(
        {name: np.full(shape, value, np.float32) for name, (_, shape) in layout.items()}
    )


def filled(magnitude: int, exponent: int, kind: type[np.integer] = np.int8) -> bytes:
    tensors: dict[str, Tensor] = {}
    for name, (_, shape) in update_layout(JOB, Scene(opened()).unit(BAD).segment).items():
        tensors[name] = np.full(shape, exponent if name.endswith(EXPONENTS) else magnitude, kind)
    return encode_tensors(tensors)


def reshaped() -> bytes:
    tensors: dict[str, Tensor] = {}
    for name, (_, shape) in update_layout(JOB, Scene(opened()).unit(BAD).segment).items():
        tensors[name] = np.zeros((*shape, 1), np.int8)
    return encode_tensors(tensors)


def with_header(change: Callable[[str], str]) -> bytes:
    """The honest update with another header."""
    update = honest(BAD)
    end = 8 + int.from_bytes(update[:8], "little")
    header = change(update[8:end].decode()).encode()
    return len(header).to_bytes(8, "little") + header + update[end:]


def lying_offsets(header: str) -> str:
    told = json.loads(header)
    first = next(iter(told))
    told[first]["data_offsets"] = [0, 2**40]
    return json.dumps(told, separators=(",", ":"))


def twice(header: str) -> str:
    """The first tensor stands there two times."""
    return "{" + header[1 : header.index("}") + 1] + "," + header[1:]


INVALID: dict[str, Callable[[], bytes]] = {
    "NaN": lambda: floats(float("nan")),
    "infinite": lambda: floats(float("inf")),
    "denormals": lambda: floats(1e-45),
    "another type": lambda: filled(1, 1, np.int32),
    "another shape": reshaped,
    "another segment": lambda: honest(
        next(
            miner
            for miner in (0, 1)
            if Scene(opened()).unit(miner).segment != Scene(opened()).unit(BAD).segment
        )
    ),
    "a whole model": lambda: SNAPSHOT,
    "one byte short": lambda: honest(BAD)[:-1],
    "one byte more": lambda: honest(BAD) + b"\0",
    "one byte": lambda: b"\0",
    "an exponent beyond the bound": lambda: filled(1, EXPONENT_MAX + 1),
    "a negative exponent": lambda: filled(1, -1),
    "a header with spaces": lambda: with_header(lambda header: header.replace(":", ": ")),
    "a header whose offsets lie": lambda: with_header(lying_offsets),
    "a name twice in the header": lambda: with_header(twice),
    "a header longer than the file": lambda: b"\xff" * 8 + honest(BAD)[8:],
    "nested without end": lambda: (10**5).to_bytes(8, "little") + b"[" * 10**5,
    "a bomb": lambda: gzip.compress(bytes(10**7)),
    "pickle": lambda: b"\x80\x04K\x01.",
}


@pytest.mark.parametrize("case", INVALID)
def test_bytes_that_are_no_update_earn_nothing_and_change_no_other_score(
    scene: Scene, case: str
) -> None:
    update = INVALID[case]()
    assert scene.commit(BAD, update) == "accepted"
    scene.to_reveals()
    assert scene.reveal(BAD, update) == "accepted"
    rows = scene.scores()
    row = rows[KEYS[BAD].public_key]
    assert (row.valid, row.gain, row.advantage, row.tickets) == (0, 0, 0, 0)
    unharmed(rows)


HARMFUL: dict[str, Callable[[], bytes]] = {
    "the strongest that can be written": lambda: filled(127, EXPONENT_MAX),
    "the strongest the other way": lambda: filled(-127, EXPONENT_MAX),
    "zeros": lambda: filled(0, 0),
}


@pytest.mark.parametrize("case", HARMFUL)
def test_updates_that_do_harm_or_nothing_earn_next_to_nothing_and_change_no_other_score(
    scene: Scene, case: str
) -> None:
    """Moving all weights alike may help the challenge batch by chance, a little."""
    update = HARMFUL[case]()
    assert scene.commit(BAD, update) == "accepted"
    scene.to_reveals()
    assert scene.reveal(BAD, update) == "accepted"
    rows = scene.scores()
    bad = KEYS[BAD].public_key
    assert 100 * rows[bad].tickets <= sum(row.tickets for row in rows.values())
    unharmed(rows)


# What it does.


def vanishes_at_once(scene: Scene) -> None:
    scene.to_reveals()


def vanishes_after_its_commitment(scene: Scene) -> None:
    assert scene.commit(BAD, honest(BAD)) == "accepted"
    scene.to_reveals()


def commits_twice_and_opens_the_second(scene: Scene) -> None:
    assert scene.commit(BAD, honest(BAD)) == "accepted"
    assert scene.commit(BAD, filled(1, 1)) == "twice"
    scene.to_reveals()
    assert scene.reveal(BAD, filled(1, 1)) == "mismatch"


def commits_when_reveals_are_open(scene: Scene) -> None:
    scene.to_reveals()
    assert scene.commit(BAD, honest(0)) == "wrong-phase"
    assert scene.reveal(BAD, honest(BAD)) == "not-committed"


def reveals_without_data(scene: Scene) -> None:
    """No receipt; one alone; those of strangers; those for other bytes; one many times."""
    assert scene.commit(BAD, honest(BAD)) == "accepted"
    scene.to_reveals()
    other = scene.opening(BAD, filled(1, 1), HOLDERS).receipts
    strangers = tuple(key_of(f"stranger {number}") for number in range(4))
    for receipts in (
        (),
        scene.opening(BAD, honest(BAD), HOLDERS[:1]).receipts,
        scene.opening(BAD, honest(BAD), HOLDERS[:1] * 4).receipts,
        scene.opening(BAD, honest(BAD), strangers).receipts,
        other,
        (b"nonsense",) * 4,
    ):
        opening = replace(scene.opening(BAD, honest(BAD), ()), receipts=receipts)
        assert scene.say(BAD, opening) == "unavailable"


def stores_data_and_never_reveals(scene: Scene) -> None:
    assert scene.commit(BAD, honest(BAD)) == "accepted"
    scene.to_reveals()
    scene.store(honest(BAD))


def reveals_for_others(scene: Scene) -> None:
    scene.to_reveals()
    scene.store(honest(0))
    assert scene.say(BAD, scene.opening(0, honest(0), HOLDERS)) == "not-assigned"


def claims_a_thousand_times_the_parameters(scene: Scene) -> None:
    assert scene.commit(BAD, honest(BAD)) == "accepted"
    scene.to_reveals()
    opening = scene.opening(BAD, honest(BAD), HOLDERS)
    assert scene.say(BAD, replace(opening, parameters=1000 * opening.parameters)) == (
        "wrong-parameters"
    )


def claims_another_size(scene: Scene) -> None:
    assert scene.commit(BAD, honest(BAD)) == "accepted"
    scene.to_reveals()
    opening = scene.opening(BAD, honest(BAD), HOLDERS)
    most = scene.federation.genesis.params.update_bytes_max
    for size, said in ((0, "too-long"), (most + 1, "too-long"), (most, "unavailable")):
        assert scene.say(BAD, replace(opening, size=size)) == said


def speaks_of_other_cycles_and_units(scene: Scene) -> None:
    assert scene.commit(BAD, honest(BAD)) == "accepted"
    scene.to_reveals()
    opening = scene.opening(BAD, honest(BAD), HOLDERS)
    assert scene.say(BAD, replace(opening, cycle=0)) == "wrong-cycle"
    assert scene.say(BAD, replace(opening, cycle=2)) == "wrong-cycle"
    assert scene.say(BAD, replace(opening, unit=10**6)) == "not-assigned"


@pytest.mark.parametrize(
    "behaviour",
    [
        vanishes_at_once,
        vanishes_after_its_commitment,
        commits_twice_and_opens_the_second,
        commits_when_reveals_are_open,
        reveals_without_data,
        stores_data_and_never_reveals,
        reveals_for_others,
        claims_a_thousand_times_the_parameters,
        claims_another_size,
        speaks_of_other_cycles_and_units,
    ],
)
def test_a_miner_that_keeps_to_no_rule_has_no_row_and_changes_no_other_score(
    scene: Scene, behaviour: Callable[[Scene], None]
) -> None:
    behaviour(scene)
    rows = scene.scores()
    assert KEYS[BAD].public_key not in rows
    unharmed(rows)


def test_a_miner_that_reveals_twice_or_too_late_changes_nothing(scene: Scene) -> None:
    assert scene.commit(BAD, honest(BAD)) == "accepted"
    scene.to_reveals()
    assert scene.reveal(BAD, honest(BAD)) == "accepted"
    assert scene.reveal(BAD, honest(BAD)) == "twice"
    rows = scene.scores()
    assert scene.reveal(BAD, honest(BAD)) == "wrong-phase"
    unharmed(rows)


def test_whatever_capacity_is_claimed_units_are_bounded(scene: Scene) -> None:
    units = [unit for unit in scene.federation.state.units if unit.miner == KEYS[BAD].public_key]
    assert len(units) == scene.federation.genesis.params.units_per_miner_max
