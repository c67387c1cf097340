"""A second implementation, written from docs/PROTOCOL.md alone, derives the same whole logs."""

from collections.abc import Sequence
from functools import cache

import pytest
from msgspec.structs import replace

from bft.codec.canonical import Record, encode
from chain.params import MINIMAL
from chain.records.score_log import (
    Assigned,
    BeaconRound,
    Certified,
    LogEntry,
    Scored,
    decode_leaf,
)
from tests.chain.audit.epochs import change_members
from tests.chain.audit.mill import Mill, make_genesis
from tests.oracle.__main__ import replay
from tests.oracle.replay import Differs, Replay
from tests.sim import scenarios

SHORT = replace(MINIMAL, checkpoint_interval=8, window=16)


def replayed(genesis: bytes, entries: Sequence[LogEntry]) -> Replay:
    return Replay(genesis, [(entry.leaf, entry.proof) for entry in entries])


@cache
def mill() -> Mill:
    """A cycle, a change of members, and a cycle of the next epoch."""
    made = Mill(make_genesis(params=SHORT)).found().cycle()
    change_members(made, (0, 1, 2, 5))
    return made.cycle()


def test_a_log_with_a_change_of_members() -> None:
    made = mill()
    oracle = replayed(encode(made.genesis), made.entries).mill
    assert (oracle.epoch, oracle.cycle) == (made.state.epoch, made.state.cycle) == (1, 3)
    assert oracle.tip == (made.state.tip.height, made.state.tip.hash, made.state.tip.time)
    assert len(oracle.used) == 11  # two activations, a sharing, and four signatures a cycle


def test_a_simulated_federations_log() -> None:
    """`python -m tests.oracle` replays as many, of all kinds, as you like."""
    oracle = replay(scenarios.run("absent-winner", 7, cycles=1)).mill
    assert oracle.cycle == 2 and oracle.tip.height == 1


@pytest.mark.parametrize("kind", [Assigned, BeaconRound, Scored, Certified])
def test_what_does_not_follow_is_found_at_its_entry(kind: type[Record]) -> None:
    made = mill()
    entry = next(entry for entry in made.entries if isinstance(decode_leaf(entry.leaf), kind))
    changed = replace(entry, leaf=entry.leaf[:-1] + bytes([entry.leaf[-1] ^ 1]))
    entries = [*made.entries[: entry.index], changed]
    with pytest.raises(Differs, match=f"entry {entry.index}: {kind.__name__} .* follows"):
        replayed(encode(made.genesis), entries)


def test_a_forged_proof_is_found_at_its_entry() -> None:
    made = mill()
    first = made.entries[0]
    changed = replace(first, proof=first.proof[:-1] + bytes([first.proof[-1] ^ 1]))
    with pytest.raises(Differs, match="entry 0: a forged proof"):
        replayed(encode(made.genesis), [changed])
