"""Two programs that we did not write say what Bitcoin's rules are: Core's engine, and btclib."""

from typing import Any

import pytest

from chain.bitcoin.flags import Flag

pbk = pytest.importorskip("pbk", reason="needs py-bitcoinkernel")
pytest.importorskip("btclib", reason="needs btclib")

from btclib.exceptions import BTClibException  # noqa: E402
from btclib.script.engine import ScriptErrorCode, ScriptFlag, verify_input  # noqa: E402
from btclib.script.engine.flags import ScriptFlags  # noqa: E402
from btclib.tx.tx import Tx  # noqa: E402
from btclib.tx.tx_out import TxOut  # noqa: E402

CONSENSUS = ("P2SH", "DERSIG", "NULLDUMMY", "CHECKLOCKTIMEVERIFY", "CHECKSEQUENCEVERIFY", "WITNESS")
"""Rules that both know and that Core's engine can be asked for one by one."""


class Difference(AssertionError):
    """Two implementations judge one input differently; the text has all that shows it."""


def kernel_transaction(data: bytes) -> bytes | None:
    """The id (internal byte order) that Core's engine gives these bytes; None: it refuses them."""
    try:
        return bytes(pbk.Transaction(data).txid)
    except RuntimeError:
        return None


def btclib_transaction(data: bytes) -> Tx | None:
    """What btclib reads; None: it refuses them."""
    try:
        return Tx.parse(data)
    except (BTClibException, ValueError, OverflowError):
        return None


def kernel_takes(data: bytes, index: int, script: bytes, value: int, flags: Flag) -> bool:
    """Whether Core's engine lets input `index` of a transaction spend an output."""
    rules = pbk.ScriptVerificationFlags(0)
    for name in CONSENSUS:
        if flags & Flag[name]:
            rules |= pbk.ScriptVerificationFlags[name]
    try:
        return bool(
            pbk.ScriptPubkey(script).verify(value, pbk.Transaction(data), None, index, rules)
        )
    except pbk.ScriptVerifyException:
        return False


def btclib_verdict(data: bytes, index: int, outputs: list[tuple[bytes, int]], flags: Flag) -> str:
    """Core's name of the error in our spelling, or "OK"."""
    rules = ScriptFlag(0)
    for flag in Flag:
        if flags & flag:
            rules |= ScriptFlag[str(flag.name)]
    spent = [TxOut(value, script, check_validity=False) for script, value in outputs]
    try:
        verify_input(spent, Tx.parse(data, check_validity=False), index, _flags(rules))
    except BTClibException as error:
        code: Any = getattr(error, "code", None)
        name = code.name if isinstance(code, ScriptErrorCode) else type(error).__name__
        name = str(name).removeprefix("SIG_") if name == "SIG_NULLFAIL" else str(name)
        return name.lower().replace("_", "-")  # script_tests.json's names
    return "OK"


def _flags(rules: ScriptFlag) -> ScriptFlags:
    return rules
