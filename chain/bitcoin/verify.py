"""Whether an input may spend an output: both scripts, pay-to-script-hash, witness programs.

Source: Bitcoin Core, script/interpreter.cpp (`VerifyScript`, `VerifyWitnessProgram`); BIP 16, 141.
Pure.
"""

from bft.crypto.hashing import sha256
from bft.errors import Refused
from chain.bitcoin import signatures
from chain.bitcoin.evaluation import evaluate
from chain.bitcoin.flags import CONSENSUS, Flag
from chain.bitcoin.run import Run
from chain.bitcoin.script import (
    PUSH_BYTES_MAX,
    TruncatedPush,
    count_signature_checks,
    is_push_only,
    is_script_hash,
    is_truthy,
    last_push,
    literal_push,
    operations,
    pay_to_key_hash,
    push,
    witness_program,
)
from chain.bitcoin.sighash import SignatureHasher
from chain.records.transaction import FINAL_SEQUENCE, Transaction, TxOut

LOCK_TIME_THRESHOLD = 500_000_000
"""Below it a lock time is a height, from it on it is Unix time."""
SEQUENCE_DISABLED = 1 << 31
SEQUENCE_IS_TIME = 1 << 22  # BIP 68: units of 512 s instead of blocks
SEQUENCE_MASK = 0xFFFF


class InputChecker:
    """Answers a script's questions about one input (chain.bitcoin.run.Checker)."""

    def __init__(self, hasher: SignatureHasher, index: int, value: int, *, witness: bool) -> None:
        """`value`: what the spent output holds; `witness`: whether BIP 143 digests are signed."""
        self._hasher, self._index, self._value, self._witness = hasher, index, value, witness

    def signature(self, signature: bytes, key: bytes, code: bytes, flags: Flag) -> bool:
        """Raises Refused: "sig-der", "sig-high-s", "sig-hashtype", "pubkeytype" or
        "witness-pubkeytype" where `flags` forbid the encoding."""
        _check_encodings(signature, key, flags, witness=self._witness)
        if not signature:
            return False
        kind = signature[-1]
        digest = (
            self._hasher.witness(self._index, code, self._value, kind)
            if self._witness
            else self._hasher.legacy(self._index, code, kind)
        )
        return signatures.verify_digest(key, signature[:-1], digest)

    def without_signature(self, code: bytes, signature: bytes, flags: Flag) -> bytes:
        """Raises Refused: "sig-findanddelete" where `flags` forbid that it stands there."""
        if self._witness:
            return code
        left = find_and_delete(code, literal_push(signature))
        if len(left) != len(code) and flags & Flag.CONST_SCRIPTCODE:
            raise Refused("sig-findanddelete", "the script holds the signature that signs it")
        return left

    def lock_time(self, value: int) -> bool:
        """BIP 65."""
        transaction = self._hasher.transaction
        same = (value < LOCK_TIME_THRESHOLD) == (transaction.locktime < LOCK_TIME_THRESHOLD)
        final = transaction.inputs[self._index].sequence == FINAL_SEQUENCE
        return same and value <= transaction.locktime and not final

    def sequence(self, value: int) -> bool:
        """BIP 112."""
        transaction = self._hasher.transaction
        sequence = transaction.inputs[self._index].sequence
        if transaction.version < 2 or sequence & SEQUENCE_DISABLED:
            return False
        if (value & SEQUENCE_IS_TIME) != (sequence & SEQUENCE_IS_TIME):
            return False
        return value & SEQUENCE_MASK <= sequence & SEQUENCE_MASK


def _check_encodings(signature: bytes, key: bytes, flags: Flag, *, witness: bool) -> None:
    if signature:
        strict = flags & (Flag.DERSIG | Flag.LOW_S | Flag.STRICTENC)
        if strict and not signatures.is_strict_der(signature):
            raise Refused("sig-der", "a signature that is not strict DER (BIP 66)")
        if flags & Flag.LOW_S and not signatures.is_low_s(signature):
            raise Refused("sig-high-s", "the larger of a signature's two possible s")
        if flags & Flag.STRICTENC and not signatures.is_known_kind(signature):
            raise Refused("sig-hashtype", f"kind of hash 0x{signature[-1]:02x}")
    if flags & Flag.STRICTENC and not signatures.is_key(key):
        raise Refused("pubkeytype", f"a public key of {len(key)} bytes, or of unknown kind")
    if witness and flags & Flag.WITNESS_PUBKEYTYPE and not signatures.is_compressed(key):
        raise Refused("witness-pubkeytype", "public keys in witness scripts are compressed")


def verify_input(
    hasher: SignatureHasher, index: int, spent: TxOut, flags: Flag = CONSENSUS
) -> None:
    """Returns if input `index` may spend `spent`.

    Raises:
        Refused: it may not; the code is Bitcoin Core's name of the error in our spelling.
    """
    entry = hasher.transaction.inputs[index]
    if flags & Flag.SIGPUSHONLY and not is_push_only(entry.script):
        raise Refused("sig-pushonly", "an input's script does more than push")
    legacy = InputChecker(hasher, index, spent.value, witness=False)
    stack: list[bytes] = []
    evaluate(Run(entry.script, stack, flags, legacy, witness=False))
    before = list(stack)
    _run(spent.script, stack, flags, legacy)
    nested = witness_program(spent.script) if flags & Flag.WITNESS else None
    has_witness = nested is not None
    if nested is not None:
        if entry.script:
            raise Refused("witness-malleated", "a witness output is spent with an empty script")
        _verify_witness(hasher, index, spent.value, nested, flags)
        stack = stack[:1]
    if flags & Flag.P2SH and is_script_hash(spent.script):
        if not is_push_only(entry.script):
            raise Refused("sig-pushonly", "a script hash is spent by pushes only")
        stack = before
        redeem = stack.pop()
        _run(redeem, stack, flags, legacy)
        nested = witness_program(redeem) if flags & Flag.WITNESS else None
        if nested is not None:
            has_witness = True
            if entry.script != push(redeem):
                raise Refused(
                    "witness-malleated-p2sh", "a nested witness output is spent by one push"
                )
            _verify_witness(hasher, index, spent.value, nested, flags)
            stack = stack[:1]
    if flags & Flag.CLEANSTACK and len(stack) != 1:
        raise Refused("cleanstack", f"{len(stack)} items are left on the stack")
    if flags & Flag.WITNESS and not has_witness and entry.witness:
        raise Refused("witness-unexpected", "a witness where no witness output is spent")


def _run(script: bytes, stack: list[bytes], flags: Flag, checker: InputChecker) -> None:
    evaluate(Run(script, stack, flags, checker, witness=False))
    if not stack or not is_truthy(stack[-1]):
        raise Refused("eval-false", "the script ends without true on the stack")


def _verify_witness(
    hasher: SignatureHasher, index: int, value: int, nested: tuple[int, bytes], flags: Flag
) -> None:
    version, program = nested
    if version != 0:
        if flags & Flag.DISCOURAGE_UPGRADABLE_WITNESS_PROGRAM:
            raise Refused("discourage-upgradable-witness-program", f"witness version {version}")
        return  # BIP 141: anyone can spend what has no meaning yet
    witness = hasher.transaction.inputs[index].witness
    if len(program) == 32:
        if not witness:
            raise Refused("witness-program-witness-empty", "a witness script hash without witness")
        script, stack = witness[-1], list(witness[:-1])
        if sha256(script) != program:
            raise Refused("witness-program-mismatch", "another script than the output's hash names")
    elif len(program) == 20:
        if len(witness) != 2:
            raise Refused("witness-program-mismatch", f"{len(witness)} witness items; 2 expected")
        script, stack = pay_to_key_hash(program), list(witness)
    else:
        raise Refused("witness-program-wrong-length", f"a program of {len(program)} bytes")
    if any(len(item) > PUSH_BYTES_MAX for item in stack):
        raise Refused("push-size", f"a witness item of more than {PUSH_BYTES_MAX} bytes")
    checker = InputChecker(hasher, index, value, witness=True)
    evaluate(Run(script, stack, flags, checker, witness=True))
    if len(stack) != 1:
        raise Refused("cleanstack", f"a witness script leaves {len(stack)} items; 1 expected")
    if not is_truthy(stack[0]):
        raise Refused("eval-false", "the witness script ends without true on the stack")


def find_and_delete(script: bytes, wanted: bytes) -> bytes:
    """`script` without `wanted` wherever an operation begins with it."""
    if not wanted or wanted not in script:
        return script
    kept, at = bytearray(), 0
    begins = _beginnings(script)
    while at in begins:
        end = at
        while script.startswith(wanted, end):
            end += len(wanted)
        if end == at:
            end = begins[at]
            kept += script[at:end]
        at = end
    return bytes(kept + script[at:])


def _beginnings(script: bytes) -> dict[int, int]:
    """Where each operation begins, and where the one after it does."""
    found = {}
    try:
        for operation in operations(script):
            found[operation.start] = operation.end
    except TruncatedPush:
        pass
    return found


def signature_cost(script: bytes, witness: tuple[bytes, ...], spent: bytes) -> int:
    """Signature operations of an input beyond those its own script counts: P2SH's and witness'.

    In BIP 141's unit, in which a legacy operation costs 4.
    """
    redeem = last_push(script) if is_script_hash(spent) and is_push_only(script) else None
    cost = 4 * count_signature_checks(redeem, accurate=True) if redeem is not None else 0
    nested = witness_program(spent if redeem is None else redeem)
    if nested is None or nested[0] != 0:
        return cost
    if len(nested[1]) == 20:
        return cost + 1
    if len(nested[1]) == 32 and witness:
        return cost + count_signature_checks(witness[-1], accurate=True)
    return cost


def legacy_checks(script: bytes, spent: bytes) -> int:
    """Signature operations that an input may run outside witness scripts, by BIP 54's count."""
    total = count_signature_checks(script, accurate=True)
    total += count_signature_checks(spent, accurate=True)
    if is_script_hash(spent):
        total += count_signature_checks(last_push(script), accurate=True)
    return total


def claimed_checks(transaction: Transaction) -> int:
    """Signature operations that a transaction shows without the outputs that it spends.

    One for each input, and what stands in redeem and witness scripts.
    """
    total = len(transaction.inputs)
    for entry in transaction.inputs:
        total += count_signature_checks(last_push(entry.script), accurate=True)
        if entry.witness:
            total += count_signature_checks(entry.witness[-1], accurate=True)
    return total
