"""The auditor's view of federation signatures: shares in, signatures out, bad shares named.

A signature under the federation key is unique, so what must stand in the log is known with the
t-th good share.  Every ordered share is verified by itself: a bad one has an author.
Pure.
"""

from bft.crypto.threshold import combine, verify_share
from bft.errors import BadSignature
from chain.audit.books import Books, What
from chain.records.votes import Purpose, SignatureShare
from chain.rules.beacon import round_message


def want(books: Books, what: What, message: bytes) -> None:
    """From here on the federation is to sign `message` (32 bytes)."""
    books.wanted = (int(what[0]), what[1], what[2])
    books.judged.messages[books.wanted] = message


def want_beacon(books: Books, number: int) -> None:
    """From here on the federation is to sign beacon round `number`."""
    want(books, (Purpose.BEACON, number, 0), round_message(number))


def hear_share(books: Books, author: int, share: SignatureShare) -> bool:
    """One signature share; whether it counts.  A bad one is held against its author, late or not.

    A bad share that came in time counts as its author's only one.
    """
    if share.epoch != books.membership.epoch:
        return False  # given under another sharing, which nobody asks for any more
    what: What = (share.purpose, share.subject, share.rank)
    good = _judge(books, author, share, what)
    if what != books.wanted or author in books.given:
        return False
    books.given.add(author)
    if good:
        books.shares[author] = share.share
    return True


def signed(books: Books) -> bytes | None:
    """The federation's signature that this phase waits for, once t good shares are here."""
    public = books.transcript.public
    if books.wanted is None or len(books.shares) < public.threshold:
        return None
    signature, bad = combine(public, books.judged.messages[books.wanted], books.shares)
    assert not bad, "every share was verified when it came"
    return signature


def _judge(books: Books, author: int, share: SignatureShare, what: What) -> bool:
    for judged in (books.judged, books.judged_before):
        if what in judged.messages:
            try:
                verify_share(books.transcript.public, author, share.share, judged.messages[what])
            except BadSignature:
                name = Purpose(what[0]).name.lower()
                text = (
                    f"the {name} share for subject {what[1]}, rank {what[2]} is not under "
                    f"replica {author}'s part of the key"
                )
                books.accuse("bad-share", author, what, text, judged.cycle)
                return False
            return True
    return False
