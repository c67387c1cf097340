"""One script run on a stack.

Source: Bitcoin Core, script/interpreter.cpp (`EvalScript`).
Pure.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from bft.crypto.hashing import double_sha256, sha256
from bft.errors import DecodeError, Refused
from chain.bitcoin.flags import Flag
from chain.bitcoin.opcodes import DISABLED, Op
from chain.bitcoin.script import (
    PUBLIC_KEYS_MAX,
    PUSH_BYTES_MAX,
    Operation,
    TruncatedPush,
    decode_number,
    encode_number,
    is_minimal_push,
    is_truthy,
    operations,
)
from chain.records.ripemd160 import ripemd160
from chain.records.transaction import SCRIPT_BYTES_MAX

OPERATIONS_MAX = 201  # of one script, pushes not counted
STACK_ITEMS_MAX = 1_000
TRUE, FALSE = b"\x01", b""
_TIME_NUMBER_BYTES_MAX = 5


class Checker(Protocol):
    """What a script may ask about the transaction that spends."""

    def signature(self, signature: bytes, key: bytes, code: bytes, flags: Flag) -> bool:
        """Whether it is valid.  Raises Refused: an encoding that `flags` forbid."""

    def without_signature(self, code: bytes, signature: bytes, flags: Flag) -> bytes:
        """`code` as it is signed: legacy scripts lose the signature itself."""

    def lock_time(self, value: int) -> bool:
        """BIP 65: whether the transaction is locked until `value` at least."""

    def sequence(self, value: int) -> bool:
        """BIP 112: whether the input is as old as `value` asks."""


@dataclass
class Run:
    """A script under way."""

    script: bytes
    stack: list[bytes]
    flags: Flag
    checker: Checker
    witness: bool  # a script of BIP 141
    alt: list[bytes] = field(default_factory=list)
    branches: list[bool] = field(default_factory=list)
    count: int = 0
    code_start: int = 0  # after the last OP_CODESEPARATOR that ran

    # the stack

    def pop(self) -> bytes:
        if not self.stack:
            raise Refused("invalid-stack-operation", "the stack is empty")
        return self.stack.pop()

    def need(self, count: int) -> None:
        if len(self.stack) < count:
            raise Refused(
                "invalid-stack-operation", f"{len(self.stack)} items on the stack, {count} needed"
            )

    def push(self, item: bytes) -> None:
        self.stack.append(item)

    def number(self, bytes_max: int = 4) -> int:
        """Pops a number."""
        return self.as_number(self.pop(), bytes_max)

    def as_number(self, data: bytes, bytes_max: int = 4) -> int:
        try:
            return decode_number(
                data, minimal=bool(self.flags & Flag.MINIMALDATA), bytes_max=bytes_max
            )
        except DecodeError as error:
            raise Refused("scriptnum", str(error)) from None


def evaluate(run: Run) -> None:
    """Run the script to its end; the stack holds what it left.

    Raises:
        Refused: it fails; the code is Bitcoin Core's name of the error in our spelling.
    """
    if len(run.script) > SCRIPT_BYTES_MAX:
        raise Refused("script-size", f"{len(run.script)} bytes; at most {SCRIPT_BYTES_MAX}")
    try:
        for operation in operations(run.script):
            _step(run, operation)
            if len(run.stack) + len(run.alt) > STACK_ITEMS_MAX:
                raise Refused("stack-size", f"more than {STACK_ITEMS_MAX} items on the stacks")
    except TruncatedPush as error:
        raise Refused("bad-opcode", str(error)) from None
    if run.branches:
        raise Refused("unbalanced-conditional", "an IF without its ENDIF")


def _step(run: Run, operation: Operation) -> None:
    code = operation.code
    if operation.data is not None and len(operation.data) > PUSH_BYTES_MAX:
        raise Refused("push-size", f"a push of {len(operation.data)} bytes")
    if code > Op.PUSH_16:
        run.count += 1
        if run.count > OPERATIONS_MAX:
            raise Refused("op-count", f"more than {OPERATIONS_MAX} operations")
    if code in DISABLED:
        raise Refused("disabled-opcode", f"{Op(code).name} is disabled")
    if code == Op.CODESEPARATOR and not run.witness and run.flags & Flag.CONST_SCRIPTCODE:
        raise Refused("op-codeseparator", "CODESEPARATOR in a script without witness")
    running = all(run.branches)
    if Op.IF <= code <= Op.ENDIF:
        _conditional(run, code, running)
    elif not running:
        return
    elif operation.data is not None:
        if run.flags & Flag.MINIMALDATA and not is_minimal_push(operation):
            raise Refused("minimaldata", "a push that could be shorter")
        run.push(operation.data)
    elif Op.PUSH_1 <= code <= Op.PUSH_16 or code == Op.NEGATE_1:
        run.push(encode_number(code - Op.RESERVED))
    elif code == Op.CODESEPARATOR:
        run.code_start = operation.end
    else:
        action = _ACTIONS.get(code)
        if action is None:
            raise Refused("bad-opcode", f"0x{code:02x} has no meaning")
        action(run)


def _conditional(run: Run, code: int, running: bool) -> None:
    match code:
        case Op.IF | Op.NOTIF:
            value = False
            if running:
                item = run.pop()
                if run.witness and run.flags & Flag.MINIMALIF and item not in (TRUE, FALSE):
                    raise Refused("minimalif", "an IF's condition is neither empty nor 01")
                value = is_truthy(item) == (code == Op.IF)
            run.branches.append(value)
        case Op.ELSE:
            if not run.branches:
                raise Refused("unbalanced-conditional", "an ELSE without an IF")
            run.branches[-1] = not run.branches[-1]
        case Op.ENDIF:
            if not run.branches:
                raise Refused("unbalanced-conditional", "an ENDIF without an IF")
            run.branches.pop()
        case _:
            raise Refused("bad-opcode", f"{Op(code).name} has no meaning, run or not")


# Signatures


def _check_signature(run: Run) -> None:
    run.need(2)
    key, signature = run.pop(), run.pop()
    code = run.checker.without_signature(run.script[run.code_start :], signature, run.flags)
    valid = run.checker.signature(signature, key, code, run.flags)
    _null_fail(run, valid, [signature])
    run.push(TRUE if valid else FALSE)


def _check_multisig(run: Run) -> None:
    keys = _popped_list(run, "pubkey-count", PUBLIC_KEYS_MAX)
    run.count += len(keys)
    if run.count > OPERATIONS_MAX:
        raise Refused("op-count", f"more than {OPERATIONS_MAX} operations")
    signatures = _popped_list(run, "sig-count", len(keys))
    run.need(1)
    code = run.script[run.code_start :]
    for signature in signatures:
        code = run.checker.without_signature(code, signature, run.flags)
    waiting, left = list(signatures), list(keys)
    while waiting and len(waiting) <= len(left):
        if run.checker.signature(waiting[0], left.pop(0), code, run.flags):
            waiting.pop(0)
    valid = not waiting
    _null_fail(run, valid, signatures)
    if run.pop() and run.flags & Flag.NULLDUMMY:
        raise Refused("sig-nulldummy", "what CHECKMULTISIG pops too much must be empty (BIP 147)")
    run.push(TRUE if valid else FALSE)


def _popped_list(run: Run, error: str, count_max: int) -> list[bytes]:
    """A count, and as many items below it, topmost first."""
    run.need(1)
    count = run.number()
    if not 0 <= count <= count_max:
        raise Refused(error, f"{count} came; 0 to {count_max} allowed")
    run.need(count)
    return [run.pop() for _ in range(count)]


def _null_fail(run: Run, valid: bool, signatures: list[bytes]) -> None:
    if not valid and run.flags & Flag.NULLFAIL and any(signatures):
        raise Refused("nullfail", "a signature that fails must be empty (BIP 146)")


# Locks


def _check_lock_time(run: Run) -> None:
    if not run.flags & Flag.CHECKLOCKTIMEVERIFY:
        return
    value = _peeked_time(run)
    if not run.checker.lock_time(value):
        raise Refused("unsatisfied-locktime", f"the transaction is not locked until {value}")


def _check_sequence(run: Run) -> None:
    if not run.flags & Flag.CHECKSEQUENCEVERIFY:
        return
    value = _peeked_time(run)
    if not value & (1 << 31) and not run.checker.sequence(value):
        raise Refused("unsatisfied-locktime", f"the input is not as old as {value} asks")


def _peeked_time(run: Run) -> int:
    run.need(1)
    value = run.as_number(run.stack[-1], _TIME_NUMBER_BYTES_MAX)
    if value < 0:
        raise Refused("negative-locktime", f"a lock until {value}")
    return value


def _no_operation(run: Run) -> None:
    if run.flags & Flag.DISCOURAGE_UPGRADABLE_NOPS:
        raise Refused("discourage-upgradable-nops", "a NOP that may get a meaning")


# Everything else


def _verify(run: Run, error: str = "verify") -> None:
    if not run.stack or not is_truthy(run.stack[-1]):
        if not run.stack:
            run.need(1)
        raise Refused(error, "what must hold does not")
    run.pop()


def _then_verify(action: Callable[[Run], None], error: str) -> Callable[[Run], None]:
    def both(run: Run) -> None:
        action(run)
        _verify(run, error)

    return both


def _return(run: Run) -> None:
    raise Refused("op-return", "an output that carries data cannot be spent")


def _to_alt(run: Run) -> None:
    run.alt.append(run.pop())


def _from_alt(run: Run) -> None:
    if not run.alt:
        raise Refused("invalid-altstack-operation", "the second stack is empty")
    run.push(run.alt.pop())


def _copy(count: int, depth: int) -> Callable[[Run], None]:
    """Copies `count` items that begin `depth` below the top."""

    def copy(run: Run) -> None:
        run.need(depth)
        at = len(run.stack) - depth
        run.stack += run.stack[at : at + count]

    return copy


def _move(count: int, depth: int) -> Callable[[Run], None]:
    """Moves `count` items that begin `depth` below the top, to the top."""

    def move(run: Run) -> None:
        run.need(depth)
        at = len(run.stack) - depth
        moved = run.stack[at : at + count]
        del run.stack[at : at + count]
        run.stack += moved

    return move


def _drop(count: int) -> Callable[[Run], None]:
    def drop(run: Run) -> None:
        run.need(count)
        del run.stack[-count:]

    return drop


def _if_dup(run: Run) -> None:
    run.need(1)
    if is_truthy(run.stack[-1]):
        run.push(run.stack[-1])


def _depth(run: Run) -> None:
    run.push(encode_number(len(run.stack)))


def _nip(run: Run) -> None:
    run.need(2)
    del run.stack[-2]


def _tuck(run: Run) -> None:
    run.need(2)
    run.stack.insert(-2, run.stack[-1])


def _pick(run: Run) -> None:
    run.push(run.stack[-1 - _index(run)])


def _roll(run: Run) -> None:
    run.push(run.stack.pop(-1 - _index(run)))


def _index(run: Run) -> int:
    run.need(2)
    index = run.number()
    if not 0 <= index < len(run.stack):
        raise Refused("invalid-stack-operation", f"item {index} of {len(run.stack)}")
    return index


def _size(run: Run) -> None:
    run.need(1)
    run.push(encode_number(len(run.stack[-1])))


def _equal(run: Run) -> None:
    run.need(2)
    run.push(TRUE if run.pop() == run.pop() else FALSE)


def _unary(function: Callable[[int], int]) -> Callable[[Run], None]:
    def act(run: Run) -> None:
        run.need(1)
        run.push(encode_number(function(run.number())))

    return act


def _binary(function: Callable[[int, int], int]) -> Callable[[Run], None]:
    def act(run: Run) -> None:
        run.need(2)
        first, second = run.as_number(run.stack[-2]), run.as_number(run.stack[-1])
        del run.stack[-2:]
        run.push(encode_number(int(function(first, second))))

    return act


def _within(run: Run) -> None:
    run.need(3)
    value, low, high = (run.as_number(item) for item in run.stack[-3:])
    del run.stack[-3:]
    run.push(TRUE if low <= value < high else FALSE)


def _hash(function: Callable[[bytes], bytes]) -> Callable[[Run], None]:
    def act(run: Run) -> None:
        run.need(1)
        run.push(function(run.pop()))

    return act


def _sha1(data: bytes) -> bytes:
    return hashlib.sha1(data, usedforsecurity=False).digest()


_num_equal = _binary(lambda a, b: a == b)
_ACTIONS: dict[int, Callable[[Run], None]] = {
    Op.NOP: lambda run: None,
    Op.VERIFY: _verify,
    Op.RETURN: _return,
    Op.TOALTSTACK: _to_alt,
    Op.FROMALTSTACK: _from_alt,
    Op.DROP_2: _drop(2),
    Op.DUP_2: _copy(2, 2),
    Op.DUP_3: _copy(3, 3),
    Op.OVER_2: _copy(2, 4),
    Op.ROT_2: _move(2, 6),
    Op.SWAP_2: _move(2, 4),
    Op.IFDUP: _if_dup,
    Op.DEPTH: _depth,
    Op.DROP: _drop(1),
    Op.DUP: _copy(1, 1),
    Op.NIP: _nip,
    Op.OVER: _copy(1, 2),
    Op.PICK: _pick,
    Op.ROLL: _roll,
    Op.ROT: _move(1, 3),
    Op.SWAP: _move(1, 2),
    Op.TUCK: _tuck,
    Op.SIZE: _size,
    Op.EQUAL: _equal,
    Op.EQUALVERIFY: _then_verify(_equal, "equalverify"),
    Op.ADD_1: _unary(lambda a: a + 1),
    Op.SUB_1: _unary(lambda a: a - 1),
    Op.NEGATE: _unary(lambda a: -a),
    Op.ABS: _unary(abs),
    Op.NOT: _unary(lambda a: int(a == 0)),
    Op.NOTEQUAL_0: _unary(lambda a: int(a != 0)),
    Op.ADD: _binary(lambda a, b: a + b),
    Op.SUB: _binary(lambda a, b: a - b),
    Op.BOOLAND: _binary(lambda a, b: a != 0 and b != 0),
    Op.BOOLOR: _binary(lambda a, b: a != 0 or b != 0),
    Op.NUMEQUAL: _num_equal,
    Op.NUMEQUALVERIFY: _then_verify(_num_equal, "numequalverify"),
    Op.NUMNOTEQUAL: _binary(lambda a, b: a != b),
    Op.LESSTHAN: _binary(lambda a, b: a < b),
    Op.GREATERTHAN: _binary(lambda a, b: a > b),
    Op.LESSTHANOREQUAL: _binary(lambda a, b: a <= b),
    Op.GREATERTHANOREQUAL: _binary(lambda a, b: a >= b),
    Op.MIN: _binary(min),
    Op.MAX: _binary(max),
    Op.WITHIN: _within,
    Op.RIPEMD160: _hash(ripemd160),
    Op.SHA1: _hash(_sha1),
    Op.SHA256: _hash(sha256),
    Op.HASH160: _hash(lambda data: ripemd160(sha256(data))),
    Op.HASH256: _hash(double_sha256),
    Op.CHECKSIG: _check_signature,
    Op.CHECKSIGVERIFY: _then_verify(_check_signature, "checksigverify"),
    Op.CHECKMULTISIG: _check_multisig,
    Op.CHECKMULTISIGVERIFY: _then_verify(_check_multisig, "checkmultisigverify"),
    Op.CHECKLOCKTIMEVERIFY: _check_lock_time,
    Op.CHECKSEQUENCEVERIFY: _check_sequence,
    **{code: _no_operation for code in (Op.NOP1, *range(Op.NOP4, Op.NOP10 + 1))},
}
