"""The federation key for whoever knows the genesis record and nothing else.

The first entries of the score log hold the key ceremony: batches that a strong quorum of the
genesis record's replicas signed, from which the key follows.  An auditor derives it; nobody has to
be believed.  A key that was pinned long ago is still better: whoever steals the key shares or the
identity keys of the first members later can write another beginning.
Pure.
"""

from collections.abc import Iterable

from bft.errors import Refused
from chain.audit.replay import Auditor

CEREMONY_ENTRIES_MAX = 16_384
"""Entries that are read in search of the key: a ceremony of 63 members takes some hundred."""


def derive_key(genesis: bytes, entries: Iterable[bytes]) -> bytes:
    """96 bytes: the federation key that follows from the beginning of a log.

    Args:
        genesis: the encoded genesis record.
        entries: encoded, from the first on; read as far as needed.

    Raises:
        ConfigError: `genesis` is no genesis record.
        Refused: "no-key", the entries end before there is a key; "no-log", one does not follow.
    """
    auditor = Auditor(genesis)
    for count, entry in enumerate(entries):
        if count == CEREMONY_ENTRIES_MAX:
            break
        auditor.take(entry)
        report = auditor.report()
        broken = [finding for finding in report.broken if finding.rule != "end"]
        if broken:
            raise Refused("no-log", broken[0].line())
        if report.federation_key is not None and auditor.settled:
            return report.federation_key
    raise Refused("no-key", "the log ends before the federation has its key")
