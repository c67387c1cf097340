"""What replicas answer to a request, read for the receipt in it; and what follows from several.

A receipt counts by its signature, so a replica that answers at many addresses counts once, and one
that lies signs its lie.
"""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from bft.errors import DecodeError, Refused, Unavailable
from bft.membership import Membership
from chain.federation.transport import Reply, refusal
from chain.receipts import join_receipts, open_execution_receipt
from chain.records.receipt import ExecutionReceipt


class Signed(NamedTuple):
    """One replica's receipt for the request that was sent."""

    replica: int
    sealed: bytes
    execution: ExecutionReceipt


class _Body(msgspec.Struct):
    """The member that an executed request's answer and problem have in common."""

    receipt: str = ""


def read_receipt(url: str, reply: Reply, digest: bytes, membership: Membership) -> Signed | Refused:
    """What one replica says of the request with this SHA-256.

    Returns:
        Its receipt; or its refusal, if it refused without having executed anything.

    Raises:
        Unavailable: it is not executed yet, or the replica has no answer.
        DecodeError, BadSignature: the receipt is none, or for something else.
    """
    if reply.status == 202:
        raise Unavailable(f"{url}: the request is not executed yet")
    try:
        told = bytes.fromhex(msgspec.json.decode(reply.body, type=_Body).receipt)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        told = b""
    if told:
        replica, execution = open_execution_receipt(told, membership)
        if execution.request != digest:
            raise DecodeError(f"{url}: a receipt for another request came")
        return Signed(replica, told, execution)
    if reply.status < 300:
        raise DecodeError(f"{url}: an answer without a receipt came")
    error = refusal(reply)
    if isinstance(error, Refused):
        return error
    raise error


def concluded(
    answers: Sequence[Signed | Refused], last: bool, membership: Membership
) -> bytes | Refused | None:
    """The RequestReceipt that `weak` replicas signed alike, or the refusal that so many gave.

    Refusals without a receipt are not signed; they count while no receipt has come, or when all
    have spoken.
    """
    signed = [answer for answer in answers if isinstance(answer, Signed)]
    for execution in dict.fromkeys(one.execution for one in signed):
        alike = {one.replica: one.sealed for one in signed if one.execution == execution}
        if len(alike) >= membership.weak:
            return join_receipts(alike, membership)
    refused = [answer for answer in answers if isinstance(answer, Refused)]
    if refused and (last or not signed):
        code, votes = Counter(error.code for error in refused).most_common(1)[0]
        if votes >= membership.weak:
            return next(error for error in refused if error.code == code)
    return None
