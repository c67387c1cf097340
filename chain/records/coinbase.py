"""The coinbase that carries the certificate: Bitcoin's form, three outputs, nothing left to choose.

    scriptSig  BIP 34 height, OP_0
    vout[0]    reward, P2WPKH of the payee's identity key
    vout[1]    OP_RETURN PUSH("GRSC" || certificate) PUSH("GRSW" || signature), value 0
    vout[2]    OP_RETURN PUSH(aa21a9ed || witness commitment), value 0
               in profile signet followed by PUSH(ecc7daa2 || solution), see chain/bitcoin/signet.py
    witness    one item of 32 zero bytes

The signature is the winner's over the block's contents with this slot, and that of a solution,
emptied (BIP 325's way).
Whatever the signature does not cover has one allowed value: a third party can alter no byte.
Source: BIP 34, 141, 325.  Pure.
"""

from dataclasses import dataclass

from bft.crypto.hashing import double_sha256, sha256
from bft.errors import DecodeError
from chain.records.certificate import CERTIFICATE_BYTES
from chain.records.ripemd160 import ripemd160
from chain.records.transaction import NULL_ID, NULL_INDEX, Transaction, TxIn, TxOut

CERTIFICATE_MAGIC = b"GRSC"
SIGNATURE_MAGIC = b"GRSW"
EVIDENCE_MAGIC = b"GRSE"
SOLUTION_MAGIC = bytes.fromhex("ecc7daa2")
SOLUTION_BYTES_MAX = 2_048  # 20 signatures of 73 bytes, with their pushes, are 1 484
COMMITMENT_MAGIC = bytes.fromhex("aa21a9ed")
SIGNATURE_BYTES = 64
WITNESS_RESERVED = bytes(32)
CARRIED_EVIDENCE_BYTES_MAX = 8_192
COINBASE_VERSION = 2
HEIGHT_MAX = 2**32 - 1

_OP_RETURN = b"\x6a"
_PUSHDATA1, _PUSHDATA2 = 0x4C, 0x4D
_OP_1 = 0x51


@dataclass(frozen=True, kw_only=True, slots=True)
class Coinbase:
    """What stands in a coinbase."""

    height: int  # u32, at least 1
    reward: int  # smallest unit
    payee: bytes  # 22, output script
    certificate: bytes  # CERTIFICATE_BYTES, as decode_certificate takes them
    signature: bytes  # 64, the winner's; empty while it is being signed
    commitment: bytes  # 32, BIP 141's over all witnesses
    evidence: bytes = b""  # against an earlier winner, see chain/voiding.py; mostly none
    solution: bytes | None = None  # BIP 325's; empty while replicas sign; None: no slot for it

    def transaction(self) -> Transaction:
        """The one transaction that says so."""
        authority = (
            push(CERTIFICATE_MAGIC + self.certificate),
            push(SIGNATURE_MAGIC + self.signature),
        )
        coins = TxIn(
            previous=NULL_ID,
            index=NULL_INDEX,
            script=height_script(self.height),
            witness=(WITNESS_RESERVED,),
        )
        commitment = push(COMMITMENT_MAGIC + self.commitment)
        if self.solution is not None:
            commitment += push(SOLUTION_MAGIC + self.solution)
        outputs: tuple[TxOut, ...] = (
            TxOut(value=self.reward, script=self.payee),
            TxOut(value=0, script=_OP_RETURN + b"".join(authority)),
            TxOut(value=0, script=_OP_RETURN + commitment),
        )
        if self.evidence:
            carried = _OP_RETURN + push(EVIDENCE_MAGIC + self.evidence)
            outputs += (TxOut(value=0, script=carried),)
        return Transaction(version=COINBASE_VERSION, inputs=(coins,), outputs=outputs, locktime=0)


def pay_to_key(key: bytes) -> bytes:
    """22 bytes: the P2WPKH script of a 33-byte identity key (BIP 141)."""
    return b"\x00" + push(ripemd160(sha256(key)))


def push(data: bytes) -> bytes:
    """The shortest script that pushes `data` (2 to 65535 bytes)."""
    size = len(data)
    assert 2 <= size < 2**16  # shorter ones have opcodes of their own, and we push none
    if size < _PUSHDATA1:
        return bytes([size]) + data
    if size < 2**8:
        return bytes([_PUSHDATA1, size]) + data
    return bytes([_PUSHDATA2]) + size.to_bytes(2, "little") + data


def height_script(height: int) -> bytes:
    """The scriptSig for `height` (1 .. HEIGHT_MAX): BIP 34's number as Core writes it, then OP_0.

    OP_0 is there because a scriptSig has at least two bytes, also at heights that need one.
    """
    if height <= 16:
        return bytes([_OP_1 + height - 1, 0])
    number = height.to_bytes(height.bit_length() // 8 + 1, "little")  # the top bit is the sign
    return bytes([len(number)]) + number + b"\x00"


def _height_of(script: bytes) -> int:
    if len(script) == 2:
        height = script[0] - _OP_1 + 1
    else:
        height = int.from_bytes(script[1:-1], "little") if len(script) > 2 else 0
    if not 1 <= height <= HEIGHT_MAX or height_script(height) != script:
        raise DecodeError(f"the coinbase input {script[:8].hex()} is no height in its one form")
    return height


def pushes(script: bytes) -> tuple[bytes, ...]:
    """What an OP_RETURN script pushes.

    Raises:
        DecodeError: it does anything else, pushes less than two bytes, or in a longer form.
    """
    if script[:1] != _OP_RETURN:
        raise DecodeError("OP_RETURN expected")
    found, at = [], 1
    while at < len(script):
        head = {_PUSHDATA1: 2, _PUSHDATA2: 3}.get(script[at], 1)
        size = script[at] if head == 1 else int.from_bytes(script[at + 1 : at + head], "little")
        data = script[at + head : at + head + size]
        whole = script[at : at + head + size]
        if not 2 <= size < 2**16 or len(data) != size or push(data) != whole:
            raise DecodeError(f"offset {at} of an OP_RETURN output is no push in its shortest form")
        found.append(data)
        at += len(whole)
    return tuple(found)


def read_coinbase(transaction: Transaction) -> Coinbase:
    """What stands in `transaction`, whose layout is checked byte for byte; no signature is.

    Raises:
        DecodeError: another layout; the text names the first thing that differs.
    """
    if not transaction.is_coinbase:
        raise DecodeError("the first transaction is no coinbase")
    carriers = sum(CERTIFICATE_MAGIC in output.script[:8] for output in transaction.outputs)
    if carriers != 1:
        raise DecodeError(f"{carriers} outputs carry a certificate; exactly one must")
    if len(transaction.outputs) not in (3, 4):
        raise DecodeError(
            f"{len(transaction.outputs)} coinbase outputs came; 3 expected, or 4 with evidence"
        )
    reward, authority, committed = transaction.outputs[:3]
    certificate, signature = _two_slots(pushes(authority.script))
    commitment, solution = _commitment_of(pushes(committed.script))
    found = Coinbase(
        height=_height_of(transaction.inputs[0].script),
        reward=reward.value,
        payee=reward.script,
        certificate=certificate,
        signature=signature,
        commitment=commitment,
        evidence=evidence_of(transaction),
        solution=solution,
    )
    if len(reward.script) != 22 or reward.script[:2] != b"\x00\x14":
        raise DecodeError("the reward must go to a P2WPKH script of 22 bytes")
    if found.transaction() != transaction:
        raise DecodeError(
            "a coinbase has version 2, locktime 0, one final input, a witness of 32 zero bytes, "
            "and value in its first output only"
        )
    return found


def _two_slots(slots: tuple[bytes, ...]) -> tuple[bytes, bytes]:
    sizes = [4 + CERTIFICATE_BYTES, 4 + SIGNATURE_BYTES]
    magics = [CERTIFICATE_MAGIC, SIGNATURE_MAGIC]
    if [len(slot) for slot in slots] != sizes or [slot[:4] for slot in slots] != magics:
        raise DecodeError(
            f"the second output must push GRSC with {CERTIFICATE_BYTES} bytes of certificate, then "
            f"GRSW with {SIGNATURE_BYTES} bytes of signature, and nothing else"
        )
    return slots[0][4:], slots[1][4:]


def _commitment_of(slots: tuple[bytes, ...]) -> tuple[bytes, bytes | None]:
    """(witness commitment, solution behind it; None: no slot)."""
    if not slots or len(slots[0]) != 36 or slots[0][:4] != COMMITMENT_MAGIC:
        raise DecodeError("the third output must push the witness commitment first")
    if len(slots) == 1:
        return slots[0][4:], None
    if len(slots) > 2 or slots[1][:4] != SOLUTION_MAGIC:
        raise DecodeError(
            "the third output must push the witness commitment, perhaps a solution, and no more"
        )
    if len(slots[1]) > 4 + SOLUTION_BYTES_MAX:
        raise DecodeError(f"a solution of ours has at most {SOLUTION_BYTES_MAX} bytes")
    return slots[0][4:], slots[1][4:]


def evidence_of(transaction: Transaction) -> bytes:
    """What a coinbase carries in its fourth output; empty where there is none.

    Raises:
        DecodeError: the fourth output of a coinbase of ours holds anything else, or too much.
    """
    carried = transaction.outputs[3:4]
    if not carried or EVIDENCE_MAGIC not in carried[0].script[:8]:
        return b""
    slots = pushes(carried[0].script)
    if len(slots) != 1 or slots[0][:4] != EVIDENCE_MAGIC or len(slots[0]) == 4:
        raise DecodeError("the fourth output must push GRSE with evidence and nothing else")
    if len(slots[0]) > 4 + CARRIED_EVIDENCE_BYTES_MAX:
        raise DecodeError(f"a coinbase carries at most {CARRIED_EVIDENCE_BYTES_MAX} of evidence")
    return slots[0][4:]


def witness_commitment(witness_root: bytes) -> bytes:
    """32 bytes over the Merkle root of all wtxids (BIP 141)."""
    return double_sha256(witness_root + WITNESS_RESERVED)
