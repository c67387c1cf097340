"""PSBTs: Bitcoin Core's vectors of BIP 174, and btclib reads what we write."""

import json
from dataclasses import replace
from typing import Any

import pytest
from coincurve import PrivateKey

from bft.crypto.hashing import sha256
from bft.errors import DecodeError, Refused
from chain.bitcoin.address import TESTNET, decode_secret
from chain.bitcoin.script import multisig, pay_to_key_hash, pay_to_script_hash, pay_to_witness
from chain.bitcoin.signing import hash160
from chain.records.transaction import Transaction, TxIn, TxOut
from chain.wallet.fees import fee_of
from chain.wallet.psbt import (
    DERIVATION,
    PARTIAL_SIGNATURE,
    PREVIOUS,
    REDEEM_SCRIPT,
    SPENT,
    WITNESS_SCRIPT,
    Psbt,
    combine,
    create,
    decode_psbt,
    decode_text,
    write_derivation,
)
from chain.wallet.sign import extract, finalize, sign
from tests.chain.bitcoin.core_vectors import VECTORS

DATA: dict[str, Any] = json.loads((VECTORS / "rpc_psbt.json").read_text())
TAPROOT_INPUT, TAPROOT_OUTPUT = range(0x13, 0x1D), range(0x05, 0x09)
SECRETS = [sha256(b"psbt key %d" % at) for at in range(3)]
PUBLIC = [PrivateKey(secret).public_key.format() for secret in SECRETS]
TWO_OF_THREE = multisig(2, PUBLIC)
NESTED = pay_to_witness(0, sha256(TWO_OF_THREE))


def has_taproot(psbt: Psbt) -> bool:
    """Fields of Taproot and MuSig2 are carried along here, without being judged."""
    inputs = {key[0] for entries in psbt.inputs for key in entries}
    outputs = {key[0] for entries in psbt.outputs for key in entries}
    return bool(inputs & {*TAPROOT_INPUT} or outputs & {*TAPROOT_OUTPUT})


def test_valid_psbts_are_read_and_written() -> None:
    read, refused = 0, []
    for text in DATA["valid"]:
        try:
            found = decode_text(text)
        except DecodeError as error:
            refused.append(str(error))
            continue
        assert decode_psbt(found.encode()) == found
        assert found.encode_text() == text or b"\xfb" in found.globals  # it stood elsewhere
        read += 1
    assert read >= 33
    assert len(refused) == 1, refused  # the one without inputs


def test_invalid_psbts_are_refused() -> None:
    texts = [*DATA["invalid"], *(text for text, _ in DATA["invalid_with_msg"])]
    refused = 0
    for text in texts:
        try:
            found = decode_text(text)
        except DecodeError:
            refused += 1
        else:
            assert has_taproot(found), text
    assert refused >= 30


def finder(secrets: list[bytes]) -> Any:
    known = {PrivateKey(secret).public_key.format(): secret for secret in secrets}
    return lambda public, fingerprint, path: known.get(public)


def signed_keys(psbt: Psbt) -> list[set[bytes]]:
    return [{key for key in each if key[0] == PARTIAL_SIGNATURE} for each in psbt.inputs]


def test_the_signers_of_bip_174() -> None:
    refused: list[str] = []
    for case in DATA["signer"]:
        secrets = [decode_secret(text, TESTNET)[0] for text in case["privkeys"]]
        expected = decode_text(case["result"])
        if has_taproot(expected):
            continue
        given = decode_text(case["psbt"])
        if case["psbt"] == case["result"]:  # a signer must not sign these
            try:
                assert sign(given, finder(secrets)) == (given, 0)
            except Refused as error:
                refused.append(error.code)
            continue
        found, added = sign(given, finder(secrets))
        assert added == sum(map(len, signed_keys(expected)))
        assert signed_keys(found) == signed_keys(expected)
        assert found.unsigned == expected.unsigned
    assert set(refused) == {"wrong-script"}


def test_combiner_finalizer_and_extractor_of_bip_174() -> None:
    for case in DATA["combiner"]:
        parts = [decode_text(text) for text in case["combine"]]
        assert combine(parts) == decode_text(case["result"])  # Core sorts by the keys' hashes
    for case in DATA["finalizer"]:
        found, done = finalize(decode_text(case["finalize"]))
        assert (found.encode_text(), done) == (case["result"], True)
    for case in DATA["extractor"]:
        assert extract(decode_text(case["extract"])).encode().hex() == case["result"]


def spending(*scripts: bytes) -> Psbt:
    """A PSBT that spends one output of each script, with all that a signer needs."""
    outputs = tuple(TxOut(value=10_000 + at, script=script) for at, script in enumerate(scripts))
    entry = TxIn(previous=bytes(32), index=7, script=b"\x51")
    previous = Transaction(version=2, inputs=(entry,), outputs=outputs, locktime=0)
    inputs = tuple(
        TxIn(previous=previous.txid, index=at, script=b"", sequence=0xFFFFFFFD)
        for at in range(len(scripts))
    )
    out = TxOut(value=9_000, script=pay_to_witness(0, bytes(20)))
    made = create(Transaction(version=2, inputs=inputs, outputs=(out,), locktime=0))
    derivations = {
        bytes([DERIVATION]) + key: write_derivation(b"root", (at,)) for at, key in enumerate(PUBLIC)
    }
    redeem = {hash160(script): script for script in (NESTED, TWO_OF_THREE)}
    maps = []
    for script in scripts:
        entries = {PREVIOUS: previous.encode(), **derivations}
        if script[:1] == b"\xa9":
            entries[REDEEM_SCRIPT] = redeem[script[2:22]]
        if script == NESTED or entries.get(REDEEM_SCRIPT) == NESTED:
            entries[WITNESS_SCRIPT] = TWO_OF_THREE
        maps.append(dict(sorted(entries.items())))
    return replace(made, inputs=tuple(maps))


ALL_KINDS = (
    pay_to_key_hash(hash160(PUBLIC[0])),
    pay_to_witness(0, hash160(PUBLIC[1])),
    NESTED,
    pay_to_script_hash(hash160(NESTED)),
    pay_to_script_hash(hash160(TWO_OF_THREE)),
)


def test_two_signers_each_with_one_key_make_a_valid_transaction() -> None:
    start = spending(*ALL_KINDS)
    first, one = sign(start, finder(SECRETS[:1]))
    second, two = sign(decode_text(start.encode_text()), finder(SECRETS[1:2]))
    assert (one, two) == (4, 4)
    assert not finalize(first)[1]
    with pytest.raises(Refused, match="lacks signatures"):
        extract(finalize(first)[0])
    whole, done = finalize(combine([first, second]))
    assert done
    made = extract(whole)  # every script is run
    assert made.outputs == start.unsigned.outputs
    assert fee_of(start) == sum(10_000 + at for at in range(5)) - 9_000
    assert sign(combine([first, second]), finder(SECRETS[:2]))[1] == 0  # nothing twice


def test_btclib_reads_what_we_sign_and_finalizes_it_alike() -> None:
    theirs = pytest.importorskip("btclib_wallet.psbt")
    signed, _ = sign(spending(*ALL_KINDS), finder(SECRETS[:2]))
    ours = extract(finalize(signed)[0])
    read = theirs.Psbt.b64decode(signed.encode_text())
    assert read.b64encode() == signed.encode_text()
    finalized = theirs.finalize(read)
    assert theirs.extract_tx(finalized).serialize(True) == ours.encode()


def test_what_contradicts_itself_is_not_signed() -> None:
    good = spending(ALL_KINDS[1])
    other = {SPENT: (1).to_bytes(8, "little") + b"\x00"}
    with pytest.raises(DecodeError, match="two different outputs"):
        sign(replace(good, inputs=({**good.inputs[0], **other},)), finder(SECRETS))
    strange = spending(ALL_KINDS[2]).inputs[0][PREVIOUS]
    with pytest.raises(DecodeError, match="another transaction"):
        decode_psbt(replace(good, inputs=({**good.inputs[0], PREVIOUS: strange},)).encode())
    with pytest.raises(Refused, match="kind of hash"):
        sign(replace(good, inputs=({**good.inputs[0], b"\x03": b"\x83\0\0\0"},)), finder(SECRETS))
    nested = spending(ALL_KINDS[3])
    for wrong in ({WITNESS_SCRIPT: b"\x51"}, {REDEEM_SCRIPT: b"\x51"}):
        with pytest.raises(Refused, match="another one"):
            sign(replace(nested, inputs=({**nested.inputs[0], **wrong},)), finder(SECRETS))
    legacy = spending(ALL_KINDS[0])
    spent = legacy.spent(0)
    assert spent is not None
    alone = spent.value.to_bytes(8, "little") + bytes([len(spent.script)]) + spent.script
    entries = {**legacy.inputs[0], SPENT: alone}
    del entries[PREVIOUS]  # a lying value would not be noticed
    assert sign(replace(legacy, inputs=(entries,)), finder(SECRETS))[1] == 0
    with pytest.raises(Refused, match="two different transactions"):
        combine([good, nested])


def test_an_altered_transaction_is_not_extracted() -> None:
    signed, _ = finalize(sign(spending(ALL_KINDS[1]), finder(SECRETS))[0])
    (out,) = signed.unsigned.outputs
    altered = replace(signed.unsigned, outputs=(replace(out, value=out.value - 1),))
    with pytest.raises(Refused):
        extract(replace(signed, unsigned=altered))


def test_every_cut_and_most_flips_are_noticed() -> None:
    data = spending(*ALL_KINDS[:2]).encode()
    good = decode_psbt(data)
    for cut in range(len(data)):
        with pytest.raises(DecodeError):
            decode_psbt(data[:cut])
    for at in range(len(data)):
        try:
            other = decode_psbt(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
        except DecodeError:
            continue
        assert other != good
