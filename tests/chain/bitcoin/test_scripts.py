"""Bitcoin Core's own conformance data."""

from typing import Any

import pytest

from bft.errors import DecodeError, Refused
from chain.bitcoin.flags import Flag
from chain.bitcoin.ledger import check_transaction
from chain.bitcoin.sighash import SignatureHasher
from chain.bitcoin.verify import verify_input
from chain.records.transaction import TxOut, decode_transaction
from tests.chain.bitcoin.core_vectors import assemble, flags, load, spending


def _outcome(entry: list[Any]) -> tuple[str, str]:
    """(what our engine says, what Core's says)."""
    witness: tuple[bytes, ...] = ()
    value = 0
    if isinstance(entry[0], list):
        *items, amount = entry[0]
        witness = tuple(bytes.fromhex(item) for item in items)
        value = round(amount * 100_000_000)
        entry = entry[1:]
    script, spent, rules, expected = entry[:4]
    transaction, output = spending(assemble(script), witness, assemble(spent), value)
    try:
        verify_input(SignatureHasher(transaction), 0, output, flags(rules))
    except Refused as error:
        return error.code, expected
    return "OK", expected


def _is_taproot(entry: list[Any]) -> bool:
    """Entries with placeholders to be filled in by a Taproot implementation."""
    return isinstance(entry[0], list) and any("#" in str(item) for item in entry[0])


def _expected(name: str) -> str:
    return name if name == "OK" else name.lower().replace("_", "-")


def test_scripts_succeed_and_fail_as_in_bitcoin_core() -> None:
    entries = [entry for entry in load("script_tests.json") if not _is_taproot(entry)]
    wrong = []
    for entry in entries:
        ours, theirs = _outcome(entry)
        if ours != _expected(theirs):
            wrong.append((ours, theirs, entry))
    assert len(entries) > 1_200
    assert not wrong, wrong[:20]


@pytest.mark.parametrize("begin", range(0, 500, 100))
def test_legacy_digests_are_those_of_bitcoin_core(begin: int) -> None:
    for raw, script, index, kind, digest in load("sighash.json")[begin : begin + 100]:
        hasher = SignatureHasher(decode_transaction(bytes.fromhex(raw)))
        assert hasher.legacy(index, bytes.fromhex(script), kind)[::-1].hex() == digest


def _all_rules_but(names: str) -> Flag:
    left = {str(flag.name) for flag in Flag} - set(names.split(","))
    if "P2SH" not in left:
        left.discard("WITNESS")
    if "WITNESS" not in left:
        left.discard("CLEANSTACK")
    found = Flag(0)
    for name in left:
        found |= Flag[name]
    return found


def test_transactions_that_bitcoin_core_takes_are_taken() -> None:
    entries = [entry for entry in load("tx_valid.json") if len(entry) == 3]
    for spent, raw, excluded in entries:
        transaction = decode_transaction(bytes.fromhex(raw))
        outputs = {
            (bytes.fromhex(name)[::-1], index & 0xFFFFFFFF): TxOut(
                value=amount[0] if amount else 0, script=assemble(script)
            )
            for name, index, script, *amount in spent
        }
        hasher = SignatureHasher(transaction)
        for at, entry in enumerate(transaction.inputs):
            output = outputs[entry.previous, entry.index]
            verify_input(hasher, at, output, _all_rules_but(excluded))
    assert len(entries) > 100


def _named_rules(names: str) -> Flag:
    """The flags that an entry of tx_invalid.json names; it fails with no fewer."""
    return flags("" if names == "BADTX" else names)


def _judged(spent: list[Any], raw: str, names: str) -> str:
    """Why we refuse a transaction; "" if we take it."""
    try:
        transaction = decode_transaction(bytes.fromhex(raw))
        check_transaction(transaction)
    except (DecodeError, Refused) as error:
        return f"{error}"
    if transaction.is_coinbase and names == "BADTX":
        return ""
    outputs = {
        (bytes.fromhex(name)[::-1], index & 0xFFFFFFFF): TxOut(
            value=amount[0] if amount else 0, script=assemble(script)
        )
        for name, index, script, *amount in spent
    }
    hasher = SignatureHasher(transaction)
    try:
        for at, entry in enumerate(transaction.inputs):
            output = outputs.get((entry.previous, entry.index))
            if output is None:
                return "an output that is not there"
            verify_input(hasher, at, output, _named_rules(names))
    except Refused as error:
        return error.code
    return ""


def test_transactions_that_bitcoin_core_refuses_are_refused() -> None:
    entries = [entry for entry in load("tx_invalid.json") if len(entry) == 3]
    taken = [entry for entry in entries if not _judged(*entry)]
    assert len(entries) > 90
    assert not taken, taken[:5]


def test_one_pass_over_the_transaction_serves_every_check_of_an_input() -> None:
    """Else a script of 200 CHECKSIG in a large transaction is hashed 200 times over."""
    raw, script, index, kind, _ = next(
        entry for entry in load("sighash.json") if entry[3] & 0x1F not in (2, 3)
    )
    transaction, code = decode_transaction(bytes.fromhex(raw)), bytes.fromhex(script)
    passes = 0

    class Counted(SignatureHasher):
        def _legacy_outputs(self, index: int, base: int) -> bytes:
            nonlocal passes
            passes += 1
            return super()._legacy_outputs(index, base)

    hasher = Counted(transaction)
    again = [hasher.legacy(index, code, other) for other in (kind, kind, kind ^ 0x40, kind)]
    assert passes == 1
    assert again[0] == again[1] == again[3] != again[2]
    assert again[2] == SignatureHasher(transaction).legacy(index, code, kind ^ 0x40)
    hasher.legacy(index, code + b"\x51", kind)
    assert passes == 2
