"""The auditor's view of registration, assignment, commitments and reveals.

Written from docs/PROTOCOL.md, not from the machine that it checks.
Pure.
"""

from bft.codec.envelope import open_as
from bft.errors import DecodeError, Refused
from chain.audit.books import Books
from chain.audit.signing import want_beacon
from chain.barring import barred, judge
from chain.records.contribution import (
    Register,
    StorageReceipt,
    UpdateCommitment,
    UpdateReveal,
    WorkUnit,
    commitment_digest,
)
from chain.records.conviction import ShowEvidence
from chain.records.federation import MemberRecord
from chain.records.phase import Phase
from chain.records.score_log import Assigned, CloseReason, Committed, Revealed
from chain.rules.assignment import assign, units_earned
from chain.rules.families.registry import segment_parameters
from chain.rules.limits import RECEIPT_BYTES_MAX
from chain.rules.rounds import challenge_round
from chain.rules.standing import is_barred, proven


def hear_register(books: Books, miner: bytes, register: Register) -> bool:
    """A registration counts for the cycle that is open; from assignment on that is the next one."""
    if books.phase < Phase.REGISTRATION:
        return False
    upcoming = books.cycle if books.phase is Phase.REGISTRATION else books.cycle + 1
    counts = bool(
        register.cycle == upcoming
        and not is_replica(books, miner)
        and miner not in books.registrations
        and not is_barred(books.standings, miner, register.cycle)
        and (proven(books.standings, miner) or len(books.registrations) < books.params.miners_max)
        and units_earned(register.profile, books.params) > 0
    )
    if counts:
        books.registrations[miner] = register.profile
    return counts


def hear_evidence(books: Books, _: bytes, shown: ShowEvidence) -> bool:
    """Evidence counts, whoever shows it, if it bars its winner longer than it is barred."""
    if books.phase < Phase.REGISTRATION or books.key is None:
        return False
    try:
        told = judge(
            shown,
            federation_key=books.key.key,
            chain_id=books.chain_id,
            cycle=books.cycle,
            standings=books.standings,
            params=books.params,
        )
    except (DecodeError, Refused):
        return False
    books.write(told)
    books.standings = barred(books.standings, told)
    books.registrations.pop(told.miner, None)
    books.veterans = tuple(miner for miner in books.veterans if miner != told.miner)
    return True


def is_replica(books: Books, key: bytes) -> bool:
    """Whether `key` is a member's, of this epoch or of the one that may follow."""
    coming: tuple[MemberRecord, ...] = ()
    if books.successor is not None:
        coming = books.successor[0].federation_key.members
    elif books.change is not None:
        coming = books.change.proposal.members
    return key in books.membership.index_by_key or any(new.key == key for new in coming)


def move_registration(books: Books) -> bool:
    """Work is assigned when all who revealed last time are back, or when the time is over."""
    back = books.veterans and all(miner in books.registrations for miner in books.veterans)
    if not back and not books.timed_out:
        return False
    if not books.registrations:
        books.close(CloseReason.NO_MINERS)
        return True
    seed = books.randomness
    books.now.seed = seed
    books.now.units = assign(seed, books.registrations, books.standings, books.params, books.job)
    books.write(Assigned(cycle=books.cycle, seed=seed, base=books.model, units=books.now.units))
    books.registrations = {}
    books.enter(Phase.TRAINING)
    return True


def hear_commitment(books: Books, miner: bytes, commitment: UpdateCommitment) -> bool:
    """A commitment counts while training runs, from the unit's miner, once."""
    if books.phase is not Phase.TRAINING:
        return False
    unit = _own_unit(books, miner, commitment.cycle, commitment.unit)
    if unit is None or unit.unit in books.now.commitments:
        return False
    books.now.commitments[unit.unit] = commitment.commitment
    return True


def move_training(books: Books) -> bool:
    """Reveals follow when all units are committed, or when the time is over."""
    now = books.now
    if len(now.commitments) < len(now.units) and not books.timed_out:
        return False
    if not now.commitments:
        books.close(CloseReason.NO_REVEALS)
        return True
    books.write(Committed(cycle=books.cycle, units=tuple(sorted(now.commitments))))
    books.enter(Phase.REVEAL)
    return True


def hear_reveal(books: Books, miner: bytes, reveal: UpdateReveal) -> bool:
    """A reveal counts if it opens the commitment and `weak` replicas signed for the bytes."""
    if books.phase is not Phase.REVEAL:
        return False
    unit = _own_unit(books, miner, reveal.cycle, reveal.unit)
    if unit is None or unit.unit in books.now.revealed:
        return False
    opened = commitment_digest(
        books.chain_id, books.cycle, unit.unit, miner, reveal.digest, reveal.salt
    )
    counts = (
        books.now.commitments.get(unit.unit) == opened
        and 1 <= reveal.size <= books.params.update_bytes_max
        and reveal.parameters == segment_parameters(books.job, unit.segment)
        and len(_holders(books, miner, reveal)) >= books.membership.weak
    )
    if counts:
        books.now.revealed.add(unit.unit)
        books.now.updates[unit.unit] = reveal.digest
    return counts


def move_reveal(books: Books) -> bool:
    """The challenge follows when all committed units are revealed, or when the time is over."""
    now = books.now
    if len(now.revealed) < len(now.commitments) and not books.timed_out:
        return False
    if not now.revealed:
        books.close(CloseReason.NO_REVEALS)
        return True
    books.write(Revealed(cycle=books.cycle, units=tuple(sorted(now.revealed))))
    books.enter(Phase.CHALLENGE)
    want_beacon(books, challenge_round(books.cycle))
    return True


def _own_unit(books: Books, miner: bytes, cycle: int, unit: int) -> WorkUnit | None:
    """The miner's unit of the running cycle; units are numbered by their position."""
    if cycle != books.cycle or unit >= len(books.now.units):
        return None
    found = books.now.units[unit]
    return found if found.miner == miner else None


def _holders(books: Books, miner: bytes, reveal: UpdateReveal) -> set[int]:
    """Replicas that signed for exactly these bytes; a reveal has at most n receipts that count."""
    holders: set[int] = set()
    for sealed in reveal.receipts[: books.membership.n]:
        try:
            signer, receipt = open_as(StorageReceipt, sealed, bytes_max=RECEIPT_BYTES_MAX)
        except DecodeError:
            continue
        told = (receipt.chain_id, receipt.cycle, receipt.miner, receipt.digest, receipt.size)
        meant = (books.chain_id, books.cycle, miner, reveal.digest, reveal.size)
        index = books.membership.index_by_key.get(signer)
        if index is not None and told == meant:
            holders.add(index)
    return holders
