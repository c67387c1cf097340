"""Operations that ask about the transaction: signatures and locks.

Source: Bitcoin Core, script/interpreter.cpp (`EvalScript`); BIP 65, 112, 146, 147.
Pure.
"""

from bft.errors import Refused
from chain.bitcoin.flags import Flag
from chain.bitcoin.run import FALSE, OPERATIONS_MAX, TRUE, Run
from chain.bitcoin.script import PUBLIC_KEYS_MAX

_TIME_NUMBER_BYTES_MAX = 5


def check_signature(run: Run) -> None:
    run.need(2)
    key, signature = run.pop(), run.pop()
    code = run.checker.without_signature(run.script[run.code_start :], signature, run.flags)
    valid = run.checker.signature(signature, key, code, run.flags)
    _null_fail(run, valid, [signature])
    run.push(TRUE if valid else FALSE)


def check_multisig(run: Run) -> None:
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


def check_lock_time(run: Run) -> None:
    if not run.flags & Flag.CHECKLOCKTIMEVERIFY:
        return
    value = _peeked_time(run)
    if not run.checker.lock_time(value):
        raise Refused("unsatisfied-locktime", f"the transaction is not locked until {value}")


def check_sequence(run: Run) -> None:
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


def no_operation(run: Run) -> None:
    if run.flags & Flag.DISCOURAGE_UPGRADABLE_NOPS:
        raise Refused("discourage-upgradable-nops", "a NOP that may get a meaning")
