"""Who may be the members of an epoch, and where one epoch ends.

Source: docs/PROTOCOL.md, section 7, "Members"; docs/adr/0010-epochs.md for the reasons.
Pure.
"""

import re
from collections.abc import Sequence

from bft.errors import ConfigError
from bft.membership import REPLICAS_MAX
from chain.params import Params
from chain.records.federation import MemberRecord

SIZES_WITHOUT_REASON = (2, 3)
"""More to fail than one member alone, and still no fault is tolerated."""
_ADDRESS = re.compile(rb"[!-~]+:[0-9]+")
_NOT_IN_ADDRESSES = frozenset(b"/?#@\\")
_UNSHOWN = re.compile(
    "[\x00-\x1f\x7f-\x9f"  # control characters
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # marks of direction
    "\u2028\u2029]"  # ends of lines and paragraphs
)
"""Written out: tables of Unicode differ between releases of Python, and replicas must agree."""


def check_members(members: Sequence[MemberRecord]) -> None:
    """Returns if these can be the replicas of an epoch, the first one included.

    Raises:
        ConfigError: names the member, what it has, and what it must have.
    """
    if len(members) > REPLICAS_MAX:
        raise ConfigError(f"{len(members)} members; consensus takes at most {REPLICAS_MAX}")
    keys = [member.key for member in members]
    if len(set(keys)) != len(keys):
        raise ConfigError("two members have one key; each needs its own")
    for index, member in enumerate(members):
        if not text(member.operator, "utf-8"):
            raise ConfigError(f"the name {member.operator!r} is not printable UTF-8")
        for address in (member.link, member.api):
            if not is_address(address):
                raise ConfigError(
                    f"member {index} has the address {address!r}; it must be host:port"
                )


def check_next_members(members: Sequence[MemberRecord]) -> None:
    """Returns if these can be the members of an epoch after the first.

    Raises:
        ConfigError: as `check_members`; 2 or 3 of them, or two share a certificate or an address.
    """
    if len(members) in SIZES_WITHOUT_REASON:
        raise ConfigError(f"{len(members)} members tolerate no fault; 1 or at least 4 are expected")
    check_members(members)
    for name, values in (
        ("TLS certificate", [member.tls_certificate for member in members]),
        ("link address", [member.link for member in members]),
        ("API address", [member.api for member in members]),
    ):
        if len(set(values)) != len(values):
            raise ConfigError(f"two members have one {name}; each needs its own")


def is_address(data: bytes) -> bool:
    """Whether this is host:port: printable ASCII, what stands behind the last colon is a port."""
    if not _ADDRESS.fullmatch(data) or _NOT_IN_ADDRESSES & set(data):
        return False
    return 0 < int(data.rpartition(b":")[2]) < 65536


def text(data: bytes, encoding: str) -> str:
    """The text in `data`; empty when it is none, or has what nobody can see."""
    try:
        found = data.decode(encoding)
    except UnicodeDecodeError:
        return ""
    return "" if _UNSHOWN.search(found) else found


def boundary(sequence: int, params: Params) -> int:
    """The last sequence of an epoch whose successor was activated by batch `sequence`.

    A checkpoint, and so far ahead that nobody can have proposed beyond it before knowing it: a
    replica takes part in batches at most a window above a stable checkpoint.
    """
    interval = params.checkpoint_interval
    return -(-(sequence + params.window) // interval) * interval
