"""One script run on a stack, operation by operation.

Source: Bitcoin Core, script/interpreter.cpp (`EvalScript`).
Pure.
"""

from bft.errors import Refused
from chain.bitcoin.actions import ACTIONS
from chain.bitcoin.flags import Flag
from chain.bitcoin.opcodes import DISABLED, Op
from chain.bitcoin.run import FALSE, OPERATIONS_MAX, TRUE, Run
from chain.bitcoin.script import (
    PUSH_BYTES_MAX,
    Operation,
    TruncatedPush,
    encode_number,
    is_minimal_push,
    is_truthy,
    operations,
)
from chain.records.transaction import SCRIPT_BYTES_MAX

STACK_ITEMS_MAX = 1_000


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
        action = ACTIONS.get(code)
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
