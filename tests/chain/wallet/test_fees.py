"""A PSBT with an absurd fee is neither signed nor sent, unless somebody says that it is meant."""

from dataclasses import replace
from pathlib import Path

import pytest

from bft.errors import ConfigError, Refused
from chain.bitcoin.ledger import weight
from chain.records.serialization import blob
from chain.records.transaction import Transaction, TxIn, TxOut
from chain.wallet.build import FEE_RATE_MAX
from chain.wallet.cli_parts import units_of
from chain.wallet.commands import Wallet, describe_psbt
from chain.wallet.fees import FEE_MAX, check_fee, fee_max, fee_of, told_fee
from chain.wallet.psbt import SPENT, Psbt, create, decode_text
from chain.wallet.sign import extract, finalize
from tests.chain.wallet.test_book import THEIRS
from tests.chain.wallet.test_lies import PAID, VALUE, payment

__all__ = ["payment"]  # a fixture

COIN = TxOut(value=50 * 10**8, script=THEIRS)
MANY = 60  # outputs: so heavy that the limit on the rate is the higher one


def paying_a_fee(fee: int, outputs: int) -> Psbt:
    """It spends COIN."""
    rest = [TxOut(value=1_000, script=THEIRS)] * (outputs - 1)
    first = TxOut(value=COIN.value - fee - sum(each.value for each in rest), script=THEIRS)
    spends = TxIn(previous=b"\x07" * 32, index=0, script=b"", sequence=0)
    made = Transaction(version=2, inputs=(spends,), outputs=(first, *rest), locktime=0)
    shown = COIN.value.to_bytes(8, "little") + blob(COIN.script)
    return replace(create(made), inputs=({SPENT: shown},))


@pytest.mark.parametrize("outputs", [1, MANY])
def test_a_fee_at_the_limit_is_meant_and_one_above_it_has_to_be_said(outputs: int) -> None:
    most = fee_max(paying_a_fee(0, outputs))
    assert (most == FEE_MAX) == (outputs == MANY)
    check_fee(paying_a_fee(most, outputs))
    above = paying_a_fee(most + 1, outputs)
    with pytest.raises(Refused, match=r"--fee-max 0\.\d+, if that is meant") as caught:
        check_fee(above)
    assert caught.value.code == "fee-too-high"
    check_fee(above, allowed=most + 1)
    with pytest.raises(Refused, match="pays a fee"):
        check_fee(above, allowed=most)


def test_a_fee_is_known_where_the_psbt_or_the_wallet_knows_all_coins() -> None:
    silent = replace(paying_a_fee(9, 1), inputs=({},))
    assert told_fee(silent) == {
        "fee": None,
        "fee_unknown": "input 0 does not say what it spends",
    }
    check_fee(silent)
    known = {(b"\x07" * 32, 0): COIN}
    assert fee_of(silent, known) == 9
    assert told_fee(silent, known) == {"fee": "0.00000009"}
    with pytest.raises(Refused, match="pays a fee"):
        check_fee(silent, known, allowed=8)


def test_a_wallet_neither_signs_nor_sends_it_before_it_is_said(
    payment: tuple[Wallet, Psbt], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wallet, psbt = payment
    monkeypatch.setattr("chain.wallet.fees.FEE_MAX", VALUE - PAID - 1)
    (to, *_) = psbt.unsigned.outputs
    bare = replace(psbt.unsigned, outputs=(to,))
    text = replace(psbt, unsigned=bare, outputs=({},)).encode_text()
    with pytest.raises(Refused, match=r"pays a fee of 0\.0004"):
        wallet.sign_text(text, lambda: pytest.fail("the secrets were opened"))
    signed = wallet.sign_text(text, lambda: "sesame", VALUE - PAID)
    assert (signed["signatures_added"], signed["fee"]) == (1, "0.00040000")
    asked: list[str] = []
    monkeypatch.setattr(Wallet, "_look", lambda self, node: asked.append(node))
    with pytest.raises(Refused, match=r"pays a fee of 0\.0004"):
        wallet.send_text(signed["psbt"], "node", tmp_path / "no cookie")
    assert asked == ["node"]
    with pytest.raises(ConfigError, match="no cookie"):  # it goes on to the node
        wallet.send_text(signed["psbt"], "http://node", tmp_path / "no cookie", VALUE - PAID)


def test_the_rate_counts_as_signed_and_not_as_it_came(payment: tuple[Wallet, Psbt]) -> None:
    """A payment at the highest rate that `create` plans can be signed and sent."""
    wallet, psbt = payment
    signed = wallet.sign_text(psbt.encode_text(), lambda: "sesame")
    made = extract(finalize(decode_text(signed["psbt"]))[0])
    assert fee_max(psbt) >= weight(made) * FEE_RATE_MAX // 4


def test_show_tells_it_too() -> None:
    assert describe_psbt(paying_a_fee(10**8, 1).encode_text())["fee"] == "1.00000000"
    told = describe_psbt(replace(paying_a_fee(9, 1), inputs=({},)).encode_text())
    assert (told["fee"], told["fee_unknown"]) == (None, "input 0 does not say what it spends")


def test_the_option_takes_an_amount_and_not_all() -> None:
    assert (units_of(None), units_of("0.5")) == (None, 50_000_000)
    for wrong in ("all", "much", "-1", "0"):
        with pytest.raises(ConfigError, match="amount such as"):
            units_of(wrong)
