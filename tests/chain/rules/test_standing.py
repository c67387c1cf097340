"""Capacity is proven by work, and fresh identities share what is left for newcomers."""

from msgspec.structs import replace

from bft.crypto.hashing import sha256
from chain.params import MAIN
from chain.records.contribution import Profile, Standing, WorkUnit
from chain.records.evaluation import ScoreRow
from chain.rules.assignment import assign
from chain.rules.standing import is_barred, next_standings, on_trial
from tests.chain.audit.mill import JOB, key
from tests.chain.rules.training_job import row

PARAMS = replace(MAIN, unit_capacity=1, newcomer_units=3, barred_cycles=4, standing_cycles=2)
SEED = sha256(b"standing")
A, B, C = (key(f"miner {number}").public_key for number in range(3))


def shown(units: int, segment: int = 0) -> Standing:
    return Standing(units=units, segment=segment, cycle=1, barred_until=0)


def profile(units: int) -> Profile:
    return Profile(device=b"cpu", capacity=units, memory_bytes=1)


def unit(number: int, miner: bytes, segment: int = 0) -> WorkUnit:
    return WorkUnit(unit=number, miner=miner, segment=segment, chunk=number, steps=1)


def scored(number: int, miner: bytes, tickets: int) -> ScoreRow:
    return replace(row(number, 0, 1, tickets=tickets), miner=miner)


def test_any_number_of_fresh_identities_takes_nothing_from_proven_capacity() -> None:
    """JOB has ten chunks; a thousand newcomers get three of them."""
    crowd = {key(f"sybil {number}").public_key: profile(5) for number in range(1_000)}
    profiles = {**crowd, A: profile(4), B: profile(2)}
    units = assign(SEED, profiles, {A: shown(4), B: shown(2)}, PARAMS, JOB)
    assert [sum(unit.miner == miner for unit in units) for miner in (A, B)] == [4, 2]
    assert len(units) == 4 + 2 + PARAMS.newcomer_units


def test_a_miner_gets_no_more_than_it_asks_for_and_the_rest_of_its_wish_with_the_newcomers() -> (
    None
):
    units = assign(SEED, {A: profile(1), B: profile(9)}, {A: shown(6), B: shown(2)}, PARAMS, JOB)
    assert sum(unit.miner == A for unit in units) == 1
    assert sum(unit.miner == B for unit in units) == 2 + PARAMS.newcomer_units


def test_a_miner_keeps_its_segment_while_all_segments_stay_even() -> None:
    profiles = {A: profile(1), B: profile(1), C: profile(1)}
    for kept in (0, 1):
        standings = {A: shown(1, kept), B: shown(1, 1 - kept)}
        found = {one.miner: one.segment for one in assign(SEED, profiles, standings, PARAMS, JOB)}
        assert (found[A], found[B]) == (kept, 1 - kept)
    both = {miner: shown(1, 1) for miner in (A, B)}
    units = assign(SEED, {A: profile(1), B: profile(1)}, both, PARAMS, JOB)
    assert sorted(one.segment for one in units) == [0, 1]


def test_what_has_merit_is_proven_and_the_rest_is_forgotten() -> None:
    units = [unit(0, A), unit(1, A, 1), unit(2, B), unit(3, C)]
    rows = [scored(0, A, 5), scored(1, A, 7), scored(2, B, 0)]  # C did not reveal
    after = next_standings(9, {C: shown(8)}, units, rows, (), PARAMS)
    assert after == {A: Standing(units=2, segment=1, cycle=9, barred_until=0)}


def test_who_is_away_keeps_its_standing_for_a_while() -> None:
    standings = {A: shown(3)}
    assert next_standings(2, standings, [], [], (), PARAMS) == standings
    assert next_standings(3, standings, [], [], (), PARAMS) == {}


def test_who_is_struck_has_proven_nothing_and_is_barred() -> None:
    units, rows = [unit(0, A), unit(1, A)], [scored(0, A, 0), scored(1, A, 0)]
    after = next_standings(9, {A: shown(2)}, units, rows, (A,), PARAMS)
    assert [is_barred(after, A, cycle) for cycle in (10, 13, 14)] == [True, True, False]
    assert next_standings(12, after, [], [], (), PARAMS) == after
    assert next_standings(13, after, [], [], (), PARAMS) == {}
    assert not is_barred(after, B, 10)


TRIAL = replace(PARAMS, trial_audits=2)


def audited(number: int, miner: bytes, replay: int, valid: int = 1) -> ScoreRow:
    return replace(scored(number, miner, 5), audited=1, replay=replay, valid=valid)


def test_a_trial_ends_with_its_last_passed_audit_and_counts_no_further() -> None:
    units = [unit(0, A), unit(1, A), unit(2, B), unit(3, C)]
    rows = [
        audited(0, A, TRIAL.audit_cosine),
        audited(1, A, 1 << 16),
        audited(2, B, 1 << 16, valid=0),
        scored(3, C, 5),
    ]
    after = next_standings(9, {A: replace(shown(1), passed=1)}, units, rows, (), TRIAL)
    assert [after[miner].passed for miner in (A, B, C)] == [2, 0, 0]
    assert [on_trial(after, miner, TRIAL) for miner in (A, B, C)] == [False, True, True]


def test_a_cycle_without_merit_ends_no_standing_that_passed_an_audit() -> None:
    after = next_standings(
        9, {A: replace(shown(1), passed=2)}, [unit(0, A)], [scored(0, A, 0)], (), TRIAL
    )
    assert after == {A: Standing(units=0, segment=0, cycle=9, barred_until=0, passed=2)}


def test_who_is_struck_is_on_trial_again() -> None:
    units, rows = [unit(0, A)], [audited(0, A, 0)]
    after = next_standings(9, {A: replace(shown(2), passed=2)}, units, rows, (A,), TRIAL)
    assert on_trial(after, A, TRIAL)
