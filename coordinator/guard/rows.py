"""The guard's exact memory, in the journal: written in the transaction that carries the promises.

A claim and the promise behind it are durable together or not at all, without a sync of their own.
"""

import sqlite3
import zlib

from bft.errors import ConfigError
from coordinator.guard.claims import Claim, Domain
from coordinator.guard.rules import REMEMBERED, Guarded

TABLE = (
    "CREATE TABLE guard (domain INTEGER, slot INTEGER, epoch INTEGER NOT NULL,"
    " rank INTEGER NOT NULL, digest BLOB NOT NULL, crc INTEGER NOT NULL,"
    " PRIMARY KEY (domain, slot)) WITHOUT ROWID"
)
_NUMBER = "guard"  # in `meta`: which raise of the bounds the newest claims were made under


def write_guarded(connection: sqlite3.Connection, guarded: Guarded) -> None:
    """Part of the present transaction."""
    connection.executemany(
        "INSERT OR REPLACE INTO guard VALUES (?, ?, ?, ?, ?, ?)",
        [
            (int(claim.domain), claim.slot, *claim.rank, claim.digest, _checksum(claim))
            for claim in guarded.claims
        ],
    )
    connection.execute(
        "INSERT OR REPLACE INTO meta VALUES (?, ?)", (_NUMBER, b"%d" % guarded.number)
    )


def prune_guarded(connection: sqlite3.Connection) -> None:
    """Forget what the guard forgets as well.  Part of the present transaction."""
    for domain, slots in REMEMBERED.items():
        connection.execute(
            "DELETE FROM guard WHERE domain = ?1 AND slot <="
            " (SELECT max(slot) FROM guard WHERE domain = ?1) - ?2",
            (int(domain), 2 * slots),
        )


def read_guarded(connection: sqlite3.Connection) -> Guarded:
    """What was durable.  Raises ConfigError: a row is damaged."""
    claims = []
    for domain, slot, epoch, rank, digest, crc in connection.execute("SELECT * FROM guard"):
        try:
            claim = Claim(Domain(domain), slot, (epoch, rank), bytes(digest))
        except ValueError:
            raise ConfigError(f"the signing guard's domain {domain} is unknown") from None
        if crc != _checksum(claim):
            raise ConfigError(f"the signing guard's row of {claim} is damaged")
        claims.append(claim)
    row = connection.execute("SELECT value FROM meta WHERE key = ?", (_NUMBER,)).fetchone()
    return Guarded(0 if row is None else int(bytes(row[0])), tuple(claims))


def _checksum(claim: Claim) -> int:
    """CRC-32: finds damage by disks, not by people."""
    place = b"%d %d %d %d" % (claim.domain, claim.slot, *claim.rank)
    return zlib.crc32(claim.digest, zlib.crc32(place))
