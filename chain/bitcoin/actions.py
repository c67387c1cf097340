"""What each operation does, but for pushes and conditions.

Source: Bitcoin Core, script/interpreter.cpp (`EvalScript`).
Pure.
"""

import hashlib
from collections.abc import Callable

from bft.crypto.hashing import double_sha256, sha256
from bft.errors import Refused
from chain.bitcoin.checks import (
    check_lock_time,
    check_multisig,
    check_sequence,
    check_signature,
    no_operation,
)
from chain.bitcoin.opcodes import Op
from chain.bitcoin.run import FALSE, TRUE, Run
from chain.bitcoin.script import encode_number, is_truthy
from chain.records.ripemd160 import ripemd160


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
ACTIONS: dict[int, Callable[[Run], None]] = {
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
    Op.CHECKSIG: check_signature,
    Op.CHECKSIGVERIFY: _then_verify(check_signature, "checksigverify"),
    Op.CHECKMULTISIG: check_multisig,
    Op.CHECKMULTISIGVERIFY: _then_verify(check_multisig, "checkmultisigverify"),
    Op.CHECKLOCKTIMEVERIFY: check_lock_time,
    Op.CHECKSEQUENCEVERIFY: check_sequence,
    **{code: no_operation for code in (Op.NOP1, *range(Op.NOP4, Op.NOP10 + 1))},
}
