"""The bounds of a key that several processes of an operator may hold in turn: etcd beside the file.

Every process has its own guard file, whose random id names it as a holder.  A raise is written to
the file first and to etcd second.  So whoever comes back after a crash knows its own words, even
those that never arrived; and what is not its own was promised by another holder: it is inherited,
and below it this process stays silent until the federation has moved on.
"""

import logging
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from bft.errors import Busy, ConfigError, FederationError, Refused
from coordinator.guard.rules import Reservation
from coordinator.guard.store import Fenced, GuardError, SqliteGuard
from coordinator.guard.text import TEXT_BYTES_MAX, read_memory, write_memory
from deploy.lease import Found, Hold

RAISES_UNHEARD = 1
"""A raise that the file has and etcd has not: the next one waits for its outcome."""

log = logging.getLogger("gristmill.guard")


class _Shared(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What stands in etcd."""

    format: Literal["gristmill/shared-guard/v1"]
    holder: Annotated[str, Meta(pattern="^[0-9a-f]{32}$")]  # id of a guard file
    memory: Annotated[bytes, Meta(max_length=TEXT_BYTES_MAX)]


class SharedGuard:
    """A GuardStore over `local` and etcd, while `hold` lasts."""

    def __init__(self, local: SqliteGuard, hold: Hold) -> None:
        """Take over: inherit what other holders may have signed.

        Raises:
            ConfigError: etcd is an older copy of itself, another cluster, or does not know what
                this process knows it to have known; or what stands there is malformed.
            GuardError: the file cannot be written.
            Unavailable: etcd does not answer.
            Busy: this process is a standby, and nobody has held the key before.
            Fenced: the key was lost meanwhile.
        """
        self._local, self._hold = local, hold
        found = hold.look()
        if found.memory is None and local.second:
            raise Busy("etcd has no memory of this key yet: the process that used it comes first")
        self._check_standing(found)
        local.saw_cluster(found.standing.cluster, found.standing.revision)
        foreign = self._foreign(found.memory)
        if foreign is not None:
            local.inherit(foreign)
            log.warning("another holder of this key may have signed up to raise %d", foreign.number)
        # What a raise wrote to the file and not to etcd may be signed from now on without another.
        self._publish(local.reservation, local.reservation)

    def _check_standing(self, found: Found) -> None:
        known = self._local.cluster
        if known is None:
            return
        cluster, revision = known
        now = found.standing
        if now.cluster != cluster or now.revision < revision:
            raise ConfigError(
                f"etcd is cluster {now.cluster:x} at revision {now.revision}; {cluster:x} at "
                f"{revision} or later expected.  It was restored or replaced, and may have "
                "forgotten what this key signed: see `gristmill operator guard reset --help`"
            )
        if found.memory is None and self._local.reservation.number:
            raise ConfigError(
                "etcd has no memory of this key, which has signed before: see "
                "`gristmill operator guard reset --help`"
            )

    def _foreign(self, data: bytes | None) -> Reservation | None:
        """What stands in etcd, unless this process wrote it."""
        if data is None:
            return None
        try:
            shared = msgspec.json.decode(data, type=_Shared)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise ConfigError(f"the key's memory in etcd: {error}") from None
        memory = read_memory(shared.memory, self._local.public_key, "the key's memory in etcd")
        known = self._local.reservation.number
        if memory.number < known - RAISES_UNHEARD:
            raise ConfigError(
                f"etcd knows of {memory.number} raises of this key's bounds, this process of "
                f"{known}.  It was restored from an old copy, and may have forgotten what this key "
                "signed: see `gristmill operator guard reset --help`"
            )
        if shared.holder != self._local.id:
            return memory
        if memory.number > self._local.reservation.number:
            raise ConfigError(
                f"etcd says that this guard was raised {memory.number} times, its file says "
                f"{self._local.reservation.number}: the file is an old copy"
            )
        return None

    @property
    def reservation(self) -> Reservation:
        """The bounds in force."""
        return self._local.reservation

    def raise_to(self, reservation: Reservation) -> None:
        """See GuardStore.  Raises Fenced when another process holds the key."""
        before = self._local.reservation
        self._local.raise_to(reservation)
        self._publish(reservation, before)

    def _publish(self, reservation: Reservation, before: Reservation) -> None:
        shared = _Shared(
            format="gristmill/shared-guard/v1",
            holder=self._local.id,
            memory=write_memory(self._local.public_key, reservation),
        )
        try:
            self._hold.raise_to(msgspec.json.encode(shared))
        except Refused as refused:
            raise Fenced(f"{refused}; bounds stay at raise {before.number}") from None
        except (Busy, FederationError) as error:
            raise GuardError(f"nobody knows whether etcd was written: {error}") from None
