"""The auditor's view of aggregation, certificates, the winner's block and its finality.

Pure.
"""

import struct
from collections import Counter

from bft.crypto.hashing import tagged_hash
from bft.errors import FederationError, Refused
from chain.audit.books import Books
from chain.audit.measure import extend_or_close
from chain.audit.signing import signed, want
from chain.params import Params
from chain.records.block import block_hash, decode_header
from chain.records.certificate import BlockCertificate, decode_certificate, finality_message
from chain.records.evaluation import SnapshotVote
from chain.records.phase import Phase
from chain.records.profile import profile_of
from chain.records.score_log import Aggregated, BlockFinal, Certified, CloseReason, RankVoided
from chain.records.votes import BlockSeen, Purpose
from chain.rules.families.registry import heldout_predictions
from chain.rules.limits import WINDOW_FACTOR
from chain.rules.scoring import lower_median
from chain.validation import check_fields


class Underivable(FederationError):
    """The log leads to a value that no record can hold; a correct quorum never decides that."""


def hear_vote(books: Books, author: int, vote: SnapshotVote) -> bool:
    """A vote for the next model counts while aggregation runs, one a replica.

    One that comes after the agreement is compared with it all the same.
    """
    counts = (
        books.phase is Phase.AGGREGATION
        and vote.cycle == books.cycle
        and author not in books.now.votes
        and vote.records == heldout_predictions(books.job)
        and len(vote.models) == books.job.backtracking + 1
        and all(model.correct <= vote.records for model in vote.models)
    )
    if counts:
        books.now.votes[author] = vote
        books.now.told[author] = books.entry
    else:
        judge_vote(books, author, vote)
    return counts


def judge_vote(books: Books, author: int, vote: SnapshotVote) -> None:
    """Hold a vote against its author if a strong quorum computed another model."""
    for judged in (books.judged, books.judged_before):
        came = tuple(model.digest for model in vote.models)
        if judged.cycle == vote.cycle and judged.models and judged.models != came:
            text = f"voted for model {_told(came)}; a strong quorum computed {_told(judged.models)}"
            books.accuse("snapshot", author, (0, vote.cycle, 0), text, judged.cycle)


def move_aggregation(books: Books) -> bool:
    """The certificate follows when a strong quorum holds the same next model."""
    said = Counter(
        tuple(model.digest for model in vote.models) for vote in books.now.votes.values()
    )
    for digests, count in sorted(said.items()):
        if count >= books.membership.strong:
            _agree_on(books, digests)
            return True
    if not books.timed_out:
        return False
    return extend_or_close(books, CloseReason.NO_SNAPSHOT)


def _told(digests: tuple[bytes, ...]) -> str:
    return "/".join(digest.hex()[:16] for digest in digests)


def _agree_on(books: Books, digests: tuple[bytes, ...]) -> None:
    """The step that made least loss of those tried; the first, longer one where two are equal."""
    now = books.now
    if books.check_models is not None:
        books.check_models(books, digests)
    matching = [
        vote.models
        for vote in now.votes.values()
        if tuple(model.digest for model in vote.models) == digests
    ]
    best = min(
        range(len(digests)),
        key=lambda step: (lower_median([models[step].challenge_loss for models in matching]), step),
    )
    digest = digests[best]
    now.aggregated = Aggregated(
        cycle=books.cycle,
        digest=digest,
        halvings=best,
        loss=lower_median([models[best].loss for models in matching]),
        correct=lower_median([models[best].correct for models in matching]),
        records=heldout_predictions(books.job),
    )
    books.write(now.aggregated)
    books.model = digest
    books.judged.models = digests
    here = books.entry
    for replica in sorted(now.votes):
        books.entry = now.told[replica]
        judge_vote(books, replica, now.votes[replica])
    books.entry = here
    _certify(books, 0)


def _certify(books: Books, rank: int) -> None:
    """The federation is to sign the certificate of this rank, and nothing else may stand in it."""
    now = books.now
    assert now.scored is not None and now.drawn is not None and now.aggregated is not None
    newest = books.key if books.successor is None else books.successor[0].federation_key
    assert newest is not None
    place = now.drawn.ranks[rank]
    winning = [row for row in now.scored.rows if row.miner == place.miner and row.tickets > 0]
    now_s = books.agreed_ms // 1000
    opens = max(now_s, books.tip_time + 1)
    certificate = BlockCertificate(
        chain_id=books.chain_id,
        epoch=books.membership.epoch,
        cycle=books.cycle,
        height=books.tip_height + 1,
        rank=rank,
        parent=books.tip_hash,
        not_before=opens,
        not_after=max(opens, now_s + WINDOW_FACTOR * books.params.block_ms // 1000),
        nonce=now.drawn.randomness,
        winner=place.miner,
        parameters=sum(row.parameters for row in winning),
        loss_reduction=sum(row.gain for row in winning),
        tickets=place.tickets,
        tickets_total=now.scored.tickets_total,
        contributions_root=now.scored.contributions_root,
        log_root=books.frontier.root(),
        log_size=books.frontier.size,
        model_snapshot=now.aggregated.digest,
        next_federation=newest.digest,
    )
    try:
        now.certificate = certificate.body()
    except struct.error as error:
        raise Underivable(f"cycle {books.cycle} leads to no certificate: {error}") from None
    now.rank = rank
    now.seen = {}
    books.enter(Phase.CERTIFICATION)
    message = tagged_hash(BlockCertificate.TAG, now.certificate)
    want(books, (Purpose.CERTIFICATE, books.cycle, rank), message)


def move_certification(books: Books) -> bool:
    """The rank may make its block when the federation has signed its certificate."""
    signature = signed(books)
    if signature is None:
        return False
    books.now.certificate += signature
    books.write(Certified(certificate=books.now.certificate))
    books.enter(Phase.BLOCK)
    books.attempt = books.now.rank  # a clock's vote for one rank never serves the next
    return True


def hear_block(books: Books, author: int, seen: BlockSeen) -> bool:
    """A vote for a block counts for the rank in force, on the tip, in the certificate's window."""
    if books.phase is not Phase.BLOCK or author in books.now.seen:
        return False
    certificate, _ = decode_certificate(books.now.certificate)
    header = decode_header(seen.header)
    counts = (
        (seen.cycle, seen.rank) == (books.cycle, books.now.rank)
        and header.previous == books.tip_hash
        and certificate.not_before <= header.time <= certificate.not_after
    )
    if counts:
        books.now.seen[author] = seen.header
        fault = header_fault(seen.header, books.params)
        if fault:
            what = (0, seen.cycle, seen.rank)
            books.accuse("block-header", author, what, f"voted for a block: {fault}", seen.cycle)
    return counts


def header_fault(header: bytes, params: Params) -> str:
    """Why no block of the chain can have this header (80 bytes), whatever it holds; or nothing."""
    try:
        check_fields(decode_header(header), profile_of(params.profile))
    except Refused as refused:
        return str(refused)
    return ""


def move_block(books: Books) -> bool:
    """Finality follows the first header that `weak` replicas voted for; else the next rank."""
    now = books.now
    votes = Counter(now.seen.values())
    chosen = sorted(header for header in votes if votes[header] >= books.membership.weak)
    if chosen:
        now.header = chosen[0]
        books.enter(Phase.FINALITY)
        message = finality_message(books.chain_id, books.tip_height + 1, block_hash(now.header))
        want(books, (Purpose.FINALITY, books.cycle, now.rank), message)
        return True
    if not books.timed_out:
        return False
    books.write(RankVoided(cycle=books.cycle, rank=now.rank))
    assert now.drawn is not None
    if now.rank + 1 < len(now.drawn.ranks):
        _certify(books, now.rank + 1)
    else:
        books.close(CloseReason.NO_BLOCK)
    return True


def move_finality(books: Books) -> bool:
    """The signed block is the tip; the cycle is over."""
    signature = signed(books)
    if signature is None:
        return False
    header = books.now.header
    books.tip_height += 1
    books.tip_hash = block_hash(header)
    books.tip_time = decode_header(header).time
    books.write(
        BlockFinal(cycle=books.cycle, height=books.tip_height, header=header, signature=signature)
    )
    books.close(CloseReason.BLOCK)
    return True
