"""What an operator's commands do about the federation's members: propose, accept, look.

A command speaks with the home's identity key, through the members' doors, like any client; the own
replica is asked how things stand.  What is proposed is decoded and its digest computed here, so
nobody can have an operator accept something else than was shown.
"""

import asyncio
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import msgspec

from bft import quorum
from bft.codec.canonical import Record, decode
from bft.errors import DecodeError, FederationError, Refused, Unavailable
from bft.ordering.request import seal_request
from chain.federation import api
from chain.federation.answers import ACCEPTED, Verdict
from chain.federation.client import FederationClient
from chain.federation.transport import JSON_BYTES_MAX, Transport, refusal
from chain.records.federation import MemberRecord
from chain.records.membership import REASON_BYTES_MAX, Approve, Propose, Withdraw
from chain.records.operations import encode_operation
from chain.rules.membership import check_next_members
from coordinator.config import Setup

TRIES = 5
"""The replica numbers its own requests under the same key; a number that it took is given up."""


CLOSED_TRIES, CLOSED_S = 8, 1.0
"""How often, and after how many seconds, a request is repeated that got no verdict."""

BEHIND_MAX = 64
"""Log entries that a member-to-be may lack and still count as ready."""


class Change(msgspec.Struct):
    """The change of members that is open, as a replica tells it."""

    proposal: str  # hex of the encoded `Propose`
    approvals: list[int]
    stage: str

    def decoded(self) -> Propose:
        """Raises DecodeError."""
        try:
            data = bytes.fromhex(self.proposal)
        except ValueError:
            raise DecodeError("a proposal came that is not hex") from None
        return decode(Propose, data)


class Standing(msgspec.Struct):
    """How the federation's members stand, as a replica tells it; it says more than this."""

    epoch: int
    log_size: int
    members: list[str]  # hex of encoded `MemberRecord`s, by index
    change: Change | None = None

    def decoded(self) -> tuple[MemberRecord, ...]:
        """Raises DecodeError."""
        try:
            return tuple(decode(MemberRecord, bytes.fromhex(one)) for one in self.members)
        except ValueError:
            raise DecodeError("a member record came that is not hex") from None


async def ask(url: str) -> tuple[Standing, dict[str, Any]]:
    """What the replica at `url` says, and all of it as it came.

    Raises:
        Unavailable: it does not answer.
        DecodeError: the answer makes no sense.
    """
    async with Transport() as transport:
        reply = await transport.exchange("GET", url + api.MEMBERSHIP, bytes_max=JSON_BYTES_MAX)
    if reply.status != 200:
        raise refusal(reply)
    try:
        told = msgspec.json.decode(reply.body, type=Standing)
        plain: dict[str, Any] = msgspec.json.decode(reply.body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise DecodeError(f"{url}: not the JSON that was asked for: {error}") from None
    return told, plain


async def overview(url: str) -> dict[str, Any]:
    """What the replica at `url` tells of the members, with `warnings` of what would stop them.

    Raises: as `ask`.
    """
    told, plain = await ask(url)
    present = told.decoded()
    silent = await unready(present, told.log_size)
    found = list(lacking(plain["operators"], plain["without_share"], silent))
    if told.change is not None:
        coming = told.change.decoded().members
        found += warnings(present, coming, await unready(coming, told.log_size))
    return {**plain, "warnings": found}


def own_url(setup: Setup) -> str:
    """Where the replica of this home answers."""
    return f"http://{setup.config.listen.api or setup.member.api.decode('ascii')}"


async def say(setup: Setup, members: Sequence[MemberRecord], operation: Record) -> None:
    """Have the operator's word ordered.

    Raises:
        Refused: the federation's reason.
        Unavailable: no verdict in time; it may still be executed.
    """
    key = setup.identity
    urls = [f"http://{member.api.decode('ascii')}" for member in members]
    async with FederationClient(setup.genesis, urls) as client:
        for number in range(TRIES):
            cseq = time.time_ns() // 1_000_000 + number
            sealed = seal_request(
                setup.genesis.chain_id,
                key.public_key,
                cseq,
                encode_operation(operation),
                key.sign,
            )
            verdict = await _insist(client, sealed)
            if verdict.code == ACCEPTED:
                return
            if verdict.code != "executed-before":
                raise Refused(verdict.code, verdict.text)
    raise Unavailable("the replica uses up all numbers of this key; try again")


async def _insist(client: FederationClient, sealed: bytes) -> Verdict:
    """The verdict; asked for again while doors are closed, as they are when an epoch begins.

    A request that was executed is answered again when it comes again.
    """
    for _ in range(CLOSED_TRIES):
        with suppress(Unavailable):
            return await client.submit(sealed)
        await asyncio.sleep(CLOSED_S)
    return await client.submit(sealed)


def next_members(
    present: Sequence[MemberRecord],
    add: Sequence[MemberRecord] = (),
    remove: Sequence[str] = (),
    exchange: dict[str, MemberRecord] | None = None,
) -> tuple[MemberRecord, ...]:
    """The complete list that follows from what is to change; who stays keeps its order.

    Args:
        add: new members, behind all others.
        remove, exchange: by the operator's name as `status` shows it, or the index.

    Raises:
        Refused: "no-such-member", "no-members" (the list cannot be an epoch's).
    """
    exchanged = {find(present, who): new for who, new in (exchange or {}).items()}
    removed = {find(present, who) for who in remove}
    stay = [
        exchanged.get(index, member) for index, member in enumerate(present) if index not in removed
    ]
    found = (*stay, *add)
    try:
        check_next_members(found)
    except FederationError as error:
        raise Refused("no-members", str(error)) from None
    return found


def find(members: Sequence[MemberRecord], who: str) -> int:
    """The index of a member by its operator's name, or by its index.

    Raises:
        Refused: "no-such-member": none, or more than one.
    """
    named = [index for index, one in enumerate(members) if one.operator.decode() == who]
    if len(named) == 1:
        return named[0]
    if not named and who.isdigit() and int(who) < len(members):
        return int(who)
    names = ", ".join(one.operator.decode("utf-8", "replace") for one in members)
    raise Refused("no-such-member", f"{who!r} names {len(named)} members; there are {names}")


def lacking(
    operators: Sequence[str], without_share: Sequence[int], unready: Sequence[str]
) -> tuple[str, ...]:
    """How near this epoch is to standing still.

    Args:
        operators: names, by index.
        without_share: indices of members that cannot sign for the federation.
        unready: names of those that do not answer, or lag far behind.
    """
    n = len(operators)
    names = dict.fromkeys((*(operators[index] for index in without_share), *unready))
    if not names:
        return ()
    left, who = quorum.faults(n) - len(names), ", ".join(names)
    if left < 0:
        return (f"no share or no answer: {who}; {n} members cannot do without so many",)
    more = "one more is" if left == 0 else f"{left + 1} more are"
    return (f"no share or no answer: {who}; {n} members stand still when {more} gone",)


def warnings(
    present: Sequence[MemberRecord], coming: Sequence[MemberRecord], unready: Sequence[str]
) -> tuple[str, ...]:
    """What an operator should know before this list is in force.

    Args:
        unready: names of members-to-be that do not answer, or lag far behind.
    """
    n = len(coming)
    f = quorum.faults(n)
    found = []
    if (n - 1) % 3:
        found.append(
            f"{n} members tolerate {f} faults, as {3 * f + 1} do, but every decision takes "
            f"{quorum.strong(n)} of them"
        )
    if unready:
        names = ", ".join(unready)
        left = f - len(unready)
        if left < 0:
            found.append(f"not ready: {names}; {n} members tolerate {f}, so the epoch would stand")
        elif left == 0:
            found.append(f"not ready: {names}; one crash more, and the epoch would stand")
        else:
            found.append(f"not ready: {names}; the epoch would tolerate {left} faults more")
    old = {member.key for member in present}
    stay = sum(member.key in old for member in coming)
    if stay < quorum.strong(len(present)):
        found.append(
            f"{stay} of {len(present)} members stay, fewer than sign for the federation; those who "
            "leave must deal their key shares first, or the change fails"
        )
    return tuple(found)


def stands(coming: Sequence[MemberRecord], unready: Sequence[str]) -> bool:
    """Whether an epoch of these would decide nothing: too few of them are ready."""
    return len(unready) > quorum.faults(len(coming))


def shown(present: Sequence[MemberRecord], opened: Propose) -> tuple[str, ...]:
    """What a proposal changes, one line a member."""
    old = {member.key: member for member in present}
    new = {member.key: member for member in opened.members}
    lines = [f"- {_who(member)}" for key, member in old.items() if key not in new]
    for key, member in new.items():
        before = old.get(key)
        if before is None:
            lines.append(f"+ {_who(member)}")
        elif before != member:
            lines.append(f"~ {_who(before)} becomes {_who(member)}")
    if not lines:
        lines = ["the same members, with fresh key shares"]
    reason = opened.reason.decode("utf-8", "replace")
    return (*lines, f"reason: {reason}") if reason else tuple(lines)


def _who(member: MemberRecord) -> str:
    name = member.operator.decode("utf-8", "replace")
    link, door = member.link.decode("ascii", "replace"), member.api.decode("ascii", "replace")
    return f"{name}: key {member.key.hex()}, links {link}, API {door}"


def described(plain: dict[str, Any]) -> list[str]:
    """What a replica tells of the members, for people."""
    lines = [f"epoch            {plain['epoch']}: {', '.join(plain['operators'])}"]
    if plain["without_share"]:
        names = ", ".join(plain["operators"][index] for index in plain["without_share"])
        lines.append(f"without a share  {names}; `operator propose --refresh` gives them one")
    change, ending = plain["change"], plain["ending"]
    if change is not None:
        given = f"{len(change['approvals'])} of {change['approvals_needed']} approvals"
        lines.append(f"proposal         {change['digest'][:16]}: {', '.join(change['operators'])}")
        lines.append(f"                 {change['stage']}, {given} {change['reason']!r}")
    if change is not None and "phase" in change:
        awaited = ", ".join(change["awaited"]) or "nobody"
        lines.append(
            f"resharing        attempt {change['attempt']}, {change['phase']}, waits for {awaited}"
        )
        lines += [
            f"                 {fault['operator']} as {fault['as']}: {fault['reason']}"
            for fault in change["faults"]
        ]
    if ending is not None:
        lines.append(
            f"next epoch       {ending['epoch']} after batch {ending['after_sequence']}: "
            f"{', '.join(ending['operators'])}"
        )
    return [*lines, *(f"warning          {line}" for line in plain.get("warnings", ()))]


async def unready(
    members: Sequence[MemberRecord], log_size: int, behind_max: int = 64
) -> list[str]:
    """Operators' names of those whose replica does not answer, or lacks much of the log."""

    async def look(member: MemberRecord) -> bool:
        url = f"http://{member.api.decode('ascii')}"
        try:
            async with Transport() as transport:
                reply = await transport.exchange("GET", url + api.STATUS, bytes_max=JSON_BYTES_MAX)
            told = msgspec.json.decode(reply.body) if reply.status == 200 else {}
            return int(told["log_size"]) >= log_size - BEHIND_MAX
        except (FederationError, msgspec.MsgspecError, KeyError, TypeError, ValueError):
            return False

    ready = await asyncio.gather(*(look(member) for member in members))
    return [
        member.operator.decode("utf-8", "replace")
        for member, is_ready in zip(members, ready, strict=True)
        if not is_ready
    ]


def proposal(epoch: int, members: tuple[MemberRecord, ...], reason: str) -> Propose:
    """Raises Refused: the reason is too long."""
    if len(reason.encode()) > REASON_BYTES_MAX:
        raise Refused("too-long", f"a reason has at most {REASON_BYTES_MAX} bytes of UTF-8")
    return Propose(epoch=epoch, members=members, reason=reason.encode())


def approval(change: Change | None, digest: str | None) -> tuple[Propose, Approve, Withdraw]:
    """The open proposal, and what accepts or withdraws it, if `digest` names it.

    Args:
        digest: hex, its first 16 digits at least; None names any.

    Raises:
        Refused: "no-proposal", "other-proposal".
    """
    if change is None:
        raise Refused("no-proposal", "no change of members is proposed")
    opened = change.decoded()
    named = opened.digest.hex()
    if digest is not None and not (len(digest) >= 16 and named.startswith(digest.lower())):
        raise Refused("other-proposal", f"the open proposal is {named}; {digest!r} came")
    return opened, Approve(proposal=opened.digest), Withdraw(proposal=opened.digest)
