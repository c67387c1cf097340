"""What a PSBT pays, and how much that may be before somebody says that it is meant.

Source: Bitcoin Core, -maxtxfee and maxfeerate: a tenth of a coin, and as much for 1000 virtual
bytes.  A PSBT comes from elsewhere: a slip there, or a lie, would give the coins to a miner.
Pure.
"""

from collections.abc import Mapping

from bft.errors import Refused
from chain.bitcoin.ledger import weight
from chain.bitcoin.text import amount
from chain.records.transaction import TxOut
from chain.wallet.build import FEE_RATE_MAX
from chain.wallet.psbt import Psbt

FEE_MAX = 10_000_000  # smallest units: 0.1 coins
_WITNESS_WEIGHT = 108 + 2  # of a P2WPKH input; others' inputs are taken for such

Outputs = Mapping[tuple[bytes, int], TxOut]
"""Outpoint -> its output, of coins that are known from elsewhere than the PSBT."""


def fee_of(psbt: Psbt, known: Outputs | None = None) -> int | None:
    """Smallest units; None while nobody says what an input spends.

    Raises:
        DecodeError: an input contradicts itself.
    """
    spent = _spent(psbt, known)
    values = [each.value for each in spent if each is not None]
    if len(values) < len(spent):
        return None
    return sum(values) - sum(each.value for each in psbt.unsigned.outputs)


def fee_max(psbt: Psbt) -> int:
    """The highest fee, in smallest units, that nobody has to confirm.

    By the unsigned transaction, so that who sends is not stricter than who signs.
    """
    heavy = weight(psbt.unsigned) + 2 + _WITNESS_WEIGHT * len(psbt.inputs)
    return min(FEE_MAX, heavy * FEE_RATE_MAX // 4)


def told_fee(psbt: Psbt, known: Outputs | None = None) -> dict[str, str | None]:
    """The fee in coins for who looks; where it cannot be known, why."""
    fee = fee_of(psbt, known)
    if fee is not None:
        return {"fee": f"{amount(fee):f}"}
    at = _spent(psbt, known).index(None)
    return {"fee": None, "fee_unknown": f"input {at} does not say what it spends"}


def check_fee(psbt: Psbt, known: Outputs | None = None, allowed: int | None = None) -> None:
    """A fee that cannot be known is not refused: `told_fee` says so.

    Args:
        allowed: smallest units that somebody said are meant, instead of `fee_max`.

    Raises:
        Refused: "fee-too-high".
    """
    fee, most = fee_of(psbt, known), fee_max(psbt) if allowed is None else allowed
    if fee is not None and fee > most:
        raise Refused(
            "fee-too-high",
            f"it pays a fee of {amount(fee)}; at most {amount(most)} is expected of it "
            f"(--fee-max {amount(fee).normalize():f}, if that is meant)",
        )


def _spent(psbt: Psbt, known: Outputs | None) -> list[TxOut | None]:
    """By input."""
    elsewhere = known or {}
    return [
        psbt.spent(index) or elsewhere.get((entry.previous, entry.index))
        for index, entry in enumerate(psbt.unsigned.inputs)
    ]
