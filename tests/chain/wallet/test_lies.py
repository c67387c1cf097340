"""A PSBT that lies about a coin's value is not signed by the wallet that has the coin."""

from dataclasses import replace
from pathlib import Path

import pytest

from bft.errors import Refused
from chain.bitcoin.text import amount
from chain.records.serialization import blob
from chain.records.transaction import TxOut
from chain.wallet.book import CHANGE, RECEIVE
from chain.wallet.build import build
from chain.wallet.commands import Wallet
from chain.wallet.home import account_of, load_book, save_book
from chain.wallet.psbt import SPENT, Psbt
from chain.wallet.sealed import Cost, seal_secrets
from chain.wallet.words import words_of
from tests.chain.wallet.test_book import THEIRS, extend, paying

VALUE, PAID, LESS = 100_000, 60_000, 70_000
WORDS = words_of(bytes(16))


@pytest.fixture
def payment(tmp_path: Path) -> tuple[Wallet, Psbt]:
    """A wallet with one coin of VALUE, and a payment of PAID that it prepared."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "chain.wallet.commands.seal_secrets",
            lambda plain, word: seal_secrets(plain, word, Cost(n_log2=4)),
        )
        Wallet.restore_words(tmp_path, WORDS, "", "sesame")
    wallet = Wallet(tmp_path)
    account = account_of(wallet.settings)
    book = load_book(tmp_path, account, 0)
    to, change = account.script(RECEIVE, 0), account.script(CHANGE, 0)
    assert to is not None and change is not None
    extend(book, paying((to, VALUE)))
    save_book(tmp_path, book)
    plan = build(book.spendable(), [TxOut(value=PAID, script=THEIRS)], change, 1)
    return Wallet(tmp_path), account.psbt(plan, (CHANGE, 0))


def test_the_fee_is_told_with_the_signatures(payment: tuple[Wallet, Psbt]) -> None:
    wallet, psbt = payment
    told = wallet.sign_text(psbt.encode_text(), lambda: "sesame")
    paid = sum(output.value for output in psbt.unsigned.outputs)
    assert told["signatures_added"] == 1
    assert told["fee"] == str(amount(VALUE - paid))


def test_a_lie_about_an_own_coin_is_not_signed(payment: tuple[Wallet, Psbt]) -> None:
    wallet, psbt = payment
    (entries,) = psbt.inputs
    shown = psbt.spent(0)
    assert shown is not None
    lie = {**entries, SPENT: LESS.to_bytes(8, "little") + blob(shown.script)}
    with pytest.raises(Refused, match=r"shows a coin of 0\.0007") as caught:
        wallet.sign_text(replace(psbt, inputs=(lie,)).encode_text(), lambda: "sesame")
    assert caught.value.code == "other-coin"
