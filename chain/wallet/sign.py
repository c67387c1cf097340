"""Signing, finalizing and extracting a PSBT.

Source: BIP 174 (Signer, Input Finalizer, Transaction Extractor); Bitcoin Core, psbt.cpp.
Pure: keys come from outside.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace

from coincurve import PrivateKey

from bft.crypto.hashing import sha256
from bft.errors import DecodeError, Refused
from chain.bitcoin.flags import POLICY
from chain.bitcoin.opcodes import Op
from chain.bitcoin.script import (
    is_key_hash,
    is_script_hash,
    operations,
    pay_to_key_hash,
    push,
    witness_program,
)
from chain.bitcoin.sighash import ALL, SignatureHasher
from chain.bitcoin.signing import hash160
from chain.bitcoin.verify import verify_input
from chain.records.transaction import Transaction, TxOut
from chain.wallet.psbt import (
    DERIVATION,
    FINAL_SCRIPT,
    FINAL_WITNESS,
    KIND,
    PARTIAL_SIGNATURE,
    PREVIOUS,
    REDEEM_SCRIPT,
    WITNESS_SCRIPT,
    Entries,
    Psbt,
    read_derivation,
    read_witness,
    write_witness,
)

Find = Callable[[bytes, bytes, tuple[int, ...]], bytes | None]
"""(public key, root's fingerprint, path) -> its secret, or None where it is another wallet's."""


def sign(psbt: Psbt, find: Find) -> tuple[Psbt, int]:
    """(the PSBT with signatures of all keys that `find` has, how many were added).

    Raises:
        Refused: "wrong-script"; "other-kind": a kind of hash other than ALL is asked for.
        DecodeError: an input contradicts itself.
    """
    hasher = SignatureHasher(psbt.unsigned)
    inputs, added = [], 0
    for index, entries in enumerate(psbt.inputs):
        signed = _sign_input(psbt, hasher, index, entries, find)
        added += len(signed) - len(entries)
        inputs.append(signed)
    return replace(psbt, inputs=tuple(inputs)), added


def _sign_input(
    psbt: Psbt, hasher: SignatureHasher, index: int, entries: Entries, find: Find
) -> Entries:
    spent = psbt.spent(index)
    if spent is None or FINAL_SCRIPT in entries or FINAL_WITNESS in entries:
        return entries
    asked = int.from_bytes(entries.get(KIND, ALL.to_bytes(4, "little")), "little")
    if asked != ALL:
        raise Refused("other-kind", f"input {index} asks for kind of hash {asked}; {ALL} is signed")
    code, is_witness = _code(index, entries, spent)
    if not is_witness and PREVIOUS not in entries:
        return entries  # BIP 174: a legacy digest does not cover the value, so it is not signed
    digest = (
        hasher.witness(index, code, spent.value, ALL)
        if is_witness
        else hasher.legacy(index, code, ALL)
    )
    found = dict(entries)
    for key, value in entries.items():
        if key[0] != DERIVATION or not _names(code, key[1:]):
            continue
        name = bytes([PARTIAL_SIGNATURE]) + key[1:]
        secret = find(key[1:], *read_derivation(value)) if name not in entries else None
        if secret is not None:
            found[name] = PrivateKey(secret).sign(digest, hasher=None) + bytes([ALL])
    return dict(sorted(found.items())) if len(found) > len(entries) else entries


def _code(index: int, entries: Entries, spent: TxOut) -> tuple[bytes, bool]:
    """(the script whose digest is signed, whether by BIP 143)."""
    script = spent.script
    if is_script_hash(script):
        redeem = entries.get(REDEEM_SCRIPT, b"")
        if hash160(redeem) != script[2:22]:
            raise Refused("wrong-script", f"input {index}: the redeem script is another one")
        script = redeem
    elif REDEEM_SCRIPT in entries:
        raise Refused("wrong-script", f"input {index} has a redeem script, but spends none")
    found = witness_program(script)
    if found is None:
        if WITNESS_SCRIPT in entries:
            raise Refused("wrong-script", f"input {index} has a witness script, but spends none")
        return script, False
    version, program = found
    if version == 0 and len(program) == 20:
        return pay_to_key_hash(program), True
    inner = entries.get(WITNESS_SCRIPT, b"")
    if version or sha256(inner) != program:
        raise Refused("wrong-script", f"input {index}: the witness script is another one")
    return inner, True


def _names(code: bytes, public: bytes) -> bool:
    """Whether a script asks for a signature of this key."""
    if is_key_hash(code):
        return code[3:23] == hash160(public)
    return public in code


def finalize(psbt: Psbt) -> tuple[Psbt, bool]:
    """(the PSBT with final scripts where enough is there, whether that is everywhere)."""
    inputs = []
    for index, entries in enumerate(psbt.inputs):
        inputs.append(_finalize_input(psbt, index, entries))
    done = all(FINAL_SCRIPT in each or FINAL_WITNESS in each for each in inputs)
    return replace(psbt, inputs=tuple(inputs)), done


def _finalize_input(psbt: Psbt, index: int, entries: Entries) -> Entries:
    spent = psbt.spent(index)
    if spent is None or FINAL_SCRIPT in entries or FINAL_WITNESS in entries:
        return entries
    code, is_witness = _code(index, entries, spent)
    signatures = {key[1:]: value for key, value in entries.items() if key[0] == PARTIAL_SIGNATURE}
    items = _satisfied(code, signatures)
    if items is None:
        return entries
    kept = {
        key: value
        for key, value in entries.items()
        if key[0] not in (PARTIAL_SIGNATURE, DERIVATION)
        and key not in (KIND, REDEEM_SCRIPT, WITNESS_SCRIPT)
    }
    redeem = push(entries[REDEEM_SCRIPT]) if REDEEM_SCRIPT in entries else b""
    if not is_witness:
        kept[FINAL_SCRIPT] = b"".join(push(item) for item in items) + redeem
    else:
        if redeem:
            kept[FINAL_SCRIPT] = redeem
        last = (entries[WITNESS_SCRIPT],) if WITNESS_SCRIPT in entries else ()
        kept[FINAL_WITNESS] = write_witness((*items, *last))
    return dict(sorted(kept.items()))


def _satisfied(code: bytes, signatures: Mapping[bytes, bytes]) -> tuple[bytes, ...] | None:
    """What satisfies a key hash, a key or a multisig; None: not enough, or another script."""
    if is_key_hash(code):
        for key, signature in signatures.items():
            if hash160(key) == code[3:23]:
                return signature, key
        return None
    try:
        parts = list(operations(code))
    except DecodeError:
        return None
    key = parts[0].data or b"" if parts else b""
    if len(parts) == 2 and parts[1].code == Op.CHECKSIG and key in signatures:
        return (signatures[key],)
    if len(parts) > 3 and parts[-1].code == Op.CHECKMULTISIG:
        required = parts[0].code - Op.PUSH_1 + 1
        keys = [part.data or b"" for part in parts[1:-2]]
        there = [signatures[key] for key in keys if key in signatures][:required]
        return (b"", *there) if len(there) == required else None
    return None


def extract(psbt: Psbt) -> Transaction:
    """The transaction; inputs that say what they spend are verified as relaying nodes do.

    Raises:
        Refused: "not-final": an input is not finished; or a script fails, with its code.
    """
    inputs = []
    for index, (entry, entries) in enumerate(zip(psbt.unsigned.inputs, psbt.inputs, strict=True)):
        if FINAL_SCRIPT not in entries and FINAL_WITNESS not in entries:
            raise Refused("not-final", f"input {index} lacks signatures, or is not finalized")
        witness = read_witness(entries[FINAL_WITNESS]) if FINAL_WITNESS in entries else ()
        inputs.append(replace(entry, script=entries.get(FINAL_SCRIPT, b""), witness=witness))
    made = replace(psbt.unsigned, inputs=tuple(inputs))
    hasher = SignatureHasher(made)
    for index in range(len(inputs)):
        spent = psbt.spent(index)
        if spent is not None:
            verify_input(hasher, index, spent, POLICY)
    return made
