"""Who may be the members of an epoch, and where one epoch ends.

Source: docs/PROTOCOL.md, section 7, "Members"; docs/adr/0010-epochs.md for the reasons.
Pure.
"""

from collections.abc import Sequence

from bft.errors import ConfigError
from bft.membership import REPLICAS_MAX
from chain.params import Params
from chain.records.federation import MemberRecord

SIZES_WITHOUT_REASON = (2, 3)
"""More to fail than one member alone, and still no fault is tolerated."""
_NOT_IN_HOSTS = frozenset(" /?#@\\")


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
            host, _, port = text(address, "ascii").rpartition(":")
            number = int(port) if port.isdigit() else 0
            if not host or set(host) & _NOT_IN_HOSTS or not 0 < number < 65536:
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


def text(data: bytes, encoding: str) -> str:
    """The text in `data`; empty when it is none, or not printable."""
    try:
        found = data.decode(encoding)
    except UnicodeDecodeError:
        return ""
    return found if found.isprintable() else ""


def boundary(sequence: int, params: Params) -> int:
    """The last sequence of an epoch whose successor was activated by batch `sequence`.

    A checkpoint, and so far ahead that nobody can have proposed beyond it before knowing it: a
    replica takes part in batches at most a window above a stable checkpoint.
    """
    interval = params.checkpoint_interval
    return -(-(sequence + params.window) // interval) * interval
