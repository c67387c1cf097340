"""Why a connection is there, in the words of Bitcoin Core's getpeerinfo.

Pure.
"""

from enum import StrEnum


class Connection(StrEnum):
    """What is told over it, and who wanted it."""

    INBOUND = "inbound"
    MANUAL = "manual"  # named in the settings, or by addnode
    FULL_RELAY = "outbound-full-relay"  # chosen from the address book
    BLOCK_ONLY = "block-relay-only"  # the same; neither transactions nor addresses pass
    FEELER = "feeler"  # greets, and hangs up: the address is good

    @property
    def outbound(self) -> bool:
        """We dialled."""
        return self is not Connection.INBOUND

    @property
    def automatic(self) -> bool:
        """The address book chose it, and it holds one of the slots."""
        return self in (Connection.FULL_RELAY, Connection.BLOCK_ONLY)

    @property
    def tells_addresses(self) -> bool:
        """We ask it for addresses as soon as it has greeted."""
        return self in (Connection.MANUAL, Connection.FULL_RELAY)
