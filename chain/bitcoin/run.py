"""A script under way: its stacks, its rules, and whom it may ask about the transaction.

Source: Bitcoin Core, script/interpreter.{h,cpp}.
Pure.
"""

from dataclasses import dataclass, field
from typing import Protocol

from bft.errors import DecodeError, Refused
from chain.bitcoin.flags import Flag
from chain.bitcoin.script import decode_number

OPERATIONS_MAX = 201  # of one script, pushes not counted
TRUE, FALSE = b"\x01", b""


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
