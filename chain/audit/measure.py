"""The auditor's view of challenge, evaluation, scores and draw.

The rules themselves (medians, scores, lottery) are those of chain/rules, which node and coordinator
call too; here stands only when they apply and what is held against whom.
Pure.
"""

from bft.codec.canonical import encode
from bft.crypto.merkle import merkle_root
from chain.audit.books import Books, Judged
from chain.audit.signing import signed, want_beacon
from chain.records.evaluation import EvaluationTable
from chain.records.phase import Phase
from chain.records.score_log import BeaconRound, CloseReason, Drawn, Scored
from chain.rules.audits import ONE, audited_units
from chain.rules.beacon import randomness
from chain.rules.limits import EXTENSIONS_MAX
from chain.rules.lottery import draw
from chain.rules.rounds import challenge_round, draw_round
from chain.rules.scoring import (
    TICKETS_MAX,
    agree,
    deviations,
    next_references,
    score,
    struck,
    tickets_by_miner,
)
from chain.rules.standing import next_standings


def move_challenge(books: Books) -> bool:
    """Measuring follows the challenge round."""
    signature = signed(books)
    if signature is None:
        return False
    books.write(BeaconRound(round=challenge_round(books.cycle), signature=signature))
    books.randomness = books.now.challenge = randomness(signature)
    books.enter(Phase.EVALUATION)
    return True


def hear_table(books: Books, author: int, table: EvaluationTable) -> bool:
    """A table counts while evaluation runs if it lists exactly the revealed units; one a replica.

    One that comes after the scores is compared with them all the same.
    """
    units = [row.unit for row in table.rows]
    counts = (
        books.phase is Phase.EVALUATION
        and table.cycle == books.cycle
        and author not in books.now.tables
        and units == sorted(books.now.revealed)
        and all(row.valid in (0, 1) and row.replay <= ONE for row in table.rows)
    )
    if counts:
        books.now.tables[author] = table
        books.now.told[author] = books.entry
    else:
        judge_table(books, author, table)
    return counts


def judge_table(books: Books, author: int, table: EvaluationTable) -> None:
    """Hold a table against its author where it is farther from the medians than tolerated."""
    for judged in (books.judged, books.judged_before):
        if judged.cycle == table.cycle and judged.rows:
            _compare(books, judged, author, table)


def _compare(books: Books, judged: Judged, author: int, table: EvaluationTable) -> None:
    if [row.unit for row in table.rows] != [row.unit for row in judged.rows]:
        return  # it measures something else, and was refused
    found = deviations({author: table}, judged.rows, books.params)
    if not found:
        return
    _, unit, distance = max(found, key=lambda deviation: deviation[2])
    far = "its validity" if distance == TICKETS_MAX else f"{distance} micro-nats"
    text = (
        f"{len(found)} of {len(table.rows)} measurements deviate from the medians, "
        f"unit {unit} by {far}; {books.params.tolerance_micronats} micro-nats are tolerated"
    )
    books.accuse("evaluation", author, (0, table.cycle, 0), text, judged.cycle)


def move_evaluation(books: Books) -> bool:
    """Scores follow when all tables are in, or a strong quorum's when the time is over."""
    now, membership = books.now, books.membership
    if len(now.tables) < membership.n and not books.timed_out:
        return False
    if len(now.tables) < membership.strong:
        return extend_or_close(books, CloseReason.NO_QUORUM_OF_TABLES)
    agreed = agree(now.tables)
    units = {unit.unit: unit for unit in now.units}
    audited = audited_units(now.challenge, sorted(now.revealed), books.params, books.job)
    rows = score(
        *(books.cycle, units, agreed, books.references, books.params, books.job),
        audited,
        books.standings,
    )
    caught = struck(units, agreed, audited, books.params)
    now.scored = Scored(
        cycle=books.cycle,
        evaluators=tuple(sorted(now.tables)),
        references=books.references,
        rows=rows,
        tickets_total=sum(row.tickets for row in rows),
        contributions_root=merkle_root([encode(row) for row in rows]),
        struck=caught,
    )
    books.write(now.scored)
    books.references = next_references(books.references, rows, books.params)
    books.standings = next_standings(
        books.cycle, books.standings, now.units, rows, caught, books.params
    )
    for miner in caught:
        books.registrations.pop(miner, None)
    books.judged.rows, books.judged.tables = agreed, now.tables
    here = books.entry
    for replica in sorted(now.tables):
        books.entry = now.told[replica]
        judge_table(books, replica, now.tables[replica])
    books.entry = here
    if not now.scored.tickets_total:
        books.close(CloseReason.NO_TICKETS)
        return True
    books.enter(Phase.DRAW)
    want_beacon(books, draw_round(books.cycle))
    return True


def extend_or_close(books: Books, reason: CloseReason) -> bool:
    """The time is over without a result: once more, then the cycle closes empty."""
    if books.attempt >= EXTENSIONS_MAX:
        books.close(reason)
    else:
        books.attempt += 1
        books.elapsed = set()
    return True


def move_draw(books: Books) -> bool:
    """The draw follows its beacon round, which nobody could know while scores could move."""
    signature = signed(books)
    if signature is None:
        return False
    assert books.now.scored is not None
    seed = randomness(signature)
    tickets = tickets_by_miner(books.now.scored.rows)
    ranks = draw(seed, tickets, books.params.ranks_max)
    books.now.drawn = Drawn(cycle=books.cycle, randomness=seed, ranks=ranks)
    books.write(BeaconRound(round=draw_round(books.cycle), signature=signature))
    books.write(books.now.drawn)
    books.randomness = seed
    books.enter(Phase.AGGREGATION)
    return True
