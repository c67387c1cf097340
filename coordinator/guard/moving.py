"""A key's memory on the move: out of one home, into another, or told anew by its operator."""

import sqlite3
import time
from pathlib import Path

from bft.errors import ConfigError
from bft.pbft.config import Inherited
from chain.rules.rounds import draw_round
from coordinator.config import Home
from coordinator.guard.claims import Domain
from coordinator.guard.keeper import RAISES_AHEAD
from coordinator.guard.rows import read_guarded
from coordinator.guard.rules import Bound, Reservation
from coordinator.guard.store import SqliteGuard

ANY_RANK = ((1 << 32) - 1, (1 << 63) - 1)
"""At or above every (epoch, view)."""

BATCHES = (Domain.PREPARE, Domain.COMMIT, Domain.CHECKPOINT)
"""Domains whose slots are sequences of consensus."""


def silence(inherited: Reservation, epoch: int) -> Inherited:
    """What a core of `epoch` must stay away from, see bft/pbft/standby.py."""
    bounds = inherited.bounds
    sequences = [bounds[domain].slot for domain in BATCHES if domain in bounds]
    views = [bound.rank[1] for bound in bounds.values() if bound.rank[0] == epoch]
    return Inherited(max(sequences, default=0), max(views, default=0))


def tight_bounds(guard: SqliteGuard, home: Path) -> Reservation:
    """Over exactly what was signed, if the journal is here and of one time; else as reserved."""
    path = Home(home).journal
    if not path.is_file():
        return guard.reservation
    connection = sqlite3.connect(path)
    try:
        guarded = read_guarded(connection)
    except (sqlite3.Error, ConfigError):
        return guard.reservation
    finally:
        connection.close()
    reserved = guard.reservation.number
    if not reserved - RAISES_AHEAD <= guarded.number <= reserved or not guarded.claims:
        return guard.reservation
    bounds = dict(guard.inherited.bounds)
    exact = Reservation(reserved - 1, bounds).raised(guarded.claims, 0)
    return exact


def inherit(path: Path, public_key: bytes, bounds: Reservation) -> None:
    """Make the guard at `path`, if there is none, and sign nothing within `bounds` from now on.

    Raises:
        ConfigError: see SqliteGuard.
        GuardError: the disk refused.
    """
    guard = SqliteGuard(path, public_key, create=not path.exists())
    try:
        guard.inherit(bounds)
        guard.reopen()
    finally:
        guard.close()


def make_second(path: Path, public_key: bytes) -> None:
    """A guard for a standby: it learns from etcd what others have signed before it signs.

    Raises:
        ConfigError: there is one already, see SqliteGuard.
    """
    SqliteGuard(path, public_key, create=True, second=True).close()


def everything_through(sequence: int, view: int, cycle: int, epoch: int) -> Reservation:
    """Bounds as an operator tells them."""
    bounds = {domain: Bound(sequence, ANY_RANK) for domain in BATCHES}
    bounds |= {
        Domain.VIEW_CHANGE: Bound(0, (epoch, view)),
        Domain.NEW_VIEW: Bound(0, (epoch, view)),
        Domain.BEACON: Bound(draw_round(cycle), ANY_RANK),
        Domain.CERTIFICATE: Bound(cycle, ANY_RANK),
        Domain.FINALITY: Bound(cycle, ANY_RANK),
        Domain.BLOCK: Bound(cycle, ANY_RANK),
    }
    return Reservation(1, bounds)


def set_aside(path: Path, public_key: bytes) -> Path | None:
    """Rename a guard that cannot be opened, for whoever wants to look at it; a good one stays."""
    if not path.exists():
        return None
    try:
        SqliteGuard(path, public_key).close()
    except ConfigError as error:
        if "is held" in str(error):
            raise
        aside = path.with_name(f"{path.name}.set-aside-{time.time_ns() // 1_000_000}")
        path.rename(aside)
        return aside
    return None
