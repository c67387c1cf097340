"""What a wallet finds in blocks, and what it forgets again."""

import pytest

from bft.errors import DecodeError, Refused
from chain.bitcoin.ledger import COINBASE_MATURITY
from chain.records.coinbase import pay_to_key
from chain.records.transaction import Transaction, TxIn, TxOut
from chain.wallet.account import Account, descriptor_of
from chain.wallet.book import CHANGE, GAP, KEY, RECEIVE, Book
from tests.chain.federation_fixture import OTHER, WINNER, make_chain

ACCOUNT = Account(descriptor=descriptor_of(bytes(16)), keys=(WINNER.public_key,))
THEIRS = pay_to_key(OTHER.public_key)


def script(branch: int, number: int) -> bytes:
    found = ACCOUNT.script(branch, number)
    assert found is not None
    return found


def paying(*outputs: tuple[bytes, int], spends: tuple[bytes, int] = (bytes(32), 5)) -> Transaction:
    entry = TxIn(previous=spends[0], index=spends[1], script=b"")
    outs = tuple(TxOut(value=value, script=to) for to, value in outputs)
    return Transaction(version=2, inputs=(entry,), outputs=outs, locktime=0)


def book() -> Book:
    return Book(script_at=ACCOUNT.script)


def extend(found: Book, *transactions: Transaction) -> None:
    height = found.height + 1
    block = bytes([height]) * 32
    found.apply(height, block, found.block, 1_000 + height, transactions)


def test_payments_to_and_from_are_found() -> None:
    found = book()
    first = paying((THEIRS, 7), (script(RECEIVE, 3), 1_000))
    extend(found, first)
    assert found.balance() == {"spendable": 1_000, "immature": 0, "returning": 0}
    second = paying((THEIRS, 600), (script(CHANGE, 0), 390), spends=(first.txid, 1))
    extend(found, second)
    assert found.balance()["spendable"] == 390
    one, two = found.history
    assert (one.received, one.spent, one.fee, one.height) == (1_000, 0, None, 1)
    assert (two.received, two.spent, two.fee, two.height) == (390, 1_000, 10, 2)
    assert found.used == [4, 1]


def test_addresses_are_watched_up_to_the_gap_and_on() -> None:
    found = book()
    extend(found, paying((script(RECEIVE, GAP - 1), 1)), paying((script(RECEIVE, 2 * GAP), 1)))
    assert found.balance()["spendable"] == 1  # the second one was too far then
    extend(found, paying((script(RECEIVE, 2 * GAP - 1), 1)), paying((script(RECEIVE, 2 * GAP), 1)))
    assert found.balance()["spendable"] == 3
    assert found.used[RECEIVE] == 2 * GAP + 1


def test_no_more_than_the_gap_is_given_out() -> None:
    found = book()
    numbers = [found.give(RECEIVE) for _ in range(GAP)]
    assert numbers == list(range(GAP))
    with pytest.raises(Refused, match="wait for a payment"):
        found.give(RECEIVE)
    extend(found, paying((script(RECEIVE, 4), 1)))
    assert found.give(RECEIVE) == GAP
    assert found.place_of(script(RECEIVE, GAP)) == (RECEIVE, GAP)


def test_rewards_of_a_single_key_ripen() -> None:
    found = book()
    first = make_chain(1)[0].transactions[0]
    extend(found, first)
    value = first.outputs[0].value
    assert found.balance() == {"spendable": 0, "immature": value, "returning": 0}
    (coin,) = found.coins.values()
    assert (coin.branch, coin.coinbase) == (KEY, True)
    for _ in range(COINBASE_MATURITY - 2):
        extend(found)
    assert found.spendable() == []
    extend(found)
    assert found.spendable() == [coin]


def test_what_is_sent_is_not_spent_again_until_it_is_final_or_impossible() -> None:
    found = book()
    first = paying((script(RECEIVE, 0), 1_000))
    extend(found, first)
    sent = paying((THEIRS, 500), (script(CHANGE, 0), 490), spends=(first.txid, 0))
    found.send(sent)
    assert found.spendable() == []
    assert found.balance()["returning"] == 490
    assert found.next_change() == 1
    better = paying((THEIRS, 500), (script(CHANGE, 1), 480), spends=(first.txid, 0))
    found.send(better)
    assert list(found.pending) == [better.txid]
    extend(found, sent)  # the first one was final after all
    assert found.pending == {}
    assert found.balance() == {"spendable": 490, "immature": 0, "returning": 0}


def test_another_chains_blocks_are_refused() -> None:
    found = book()
    extend(found)
    with pytest.raises(DecodeError, match="another chain"):
        found.apply(2, bytes(32), b"x" * 32, 1, ())
    with pytest.raises(DecodeError, match="another chain"):
        found.apply(3, bytes(32), found.block, 1, ())
    assert found.height == 1
