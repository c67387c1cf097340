"""Where replicas can be reached: signed endpoint records on a board that nobody has to trust.

A replica publishes its addresses, signed with its identity key; readers check signature, chain,
epoch and index against the member list and keep the record with the highest sequence number that
they have ever seen.  The board (etcd) can withhold or replay records, and nothing else; static
addresses go on working without it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Protocol

from msgspec import Meta

from bft.codec.canonical import Record
from bft.codec.envelope import Sign, open_as, seal
from bft.codec.types import U16, U32, U63, Bytes32
from bft.errors import Busy, ConfigError, DecodeError, Refused
from bft.membership import Membership

URL_BYTES_MAX = 256
URLS_MAX = 8
RECORD_BYTES_MAX = 4096
PUBLISH_ATTEMPTS_MAX = 3

_SCHEME = b"https://"
_ABSENT = 0

Url = Annotated[bytes, Meta(min_length=len(_SCHEME) + 1, max_length=URL_BYTES_MAX)]


class Endpoints(Record):
    """`replica` says: I can be reached at `urls`, best first."""

    TAG: ClassVar[str] = "gristmill/endpoints/v1"

    chain_id: Bytes32
    epoch: U32
    replica: U16
    sequence: U63  # the highest counts; milliseconds since 1970 at publication serve well
    urls: Annotated[tuple[Url, ...], Meta(min_length=1, max_length=URLS_MAX)]


class Value(Protocol):
    """What stands under a key of the board."""

    @property
    def data(self) -> bytes: ...

    @property
    def revision(self) -> int: ...


class Board(Protocol):
    """A key-value store with compare-and-swap; `deploy.etcd.EtcdClient` is one."""

    def get(self, key: bytes) -> Value | None: ...

    def compare_and_swap(self, key: bytes, data: bytes, *, expected: int) -> bool: ...


@dataclass(frozen=True)
class Reading:
    """What one look at the board gave."""

    endpoints: Mapping[int, Endpoints]  # replica index -> newest record known
    refused: tuple[tuple[int, str], ...]  # (replica index, why) for what stood there and is wrong


def key_of(membership: Membership, replica: int) -> bytes:
    """Where the record of `replica` stands."""
    return b"/gristmill/v1/%s/endpoints/%d" % (
        membership.chain_id.hex()[:16].encode(),
        replica,
    )


def check(data: bytes, membership: Membership, replica: int) -> Endpoints:
    """The record in `data`, if it is what `replica` says about itself in this epoch.

    Raises:
        DecodeError: no record, or a URL that is not printable https.
        BadSignature: not signed, or not by this replica.
        Refused: "not-for-us", another chain, epoch or replica.
    """
    signer, record = open_as(Endpoints, data, bytes_max=RECORD_BYTES_MAX)
    if (record.chain_id, record.epoch) != (membership.chain_id, membership.epoch):
        raise Refused("not-for-us", f"endpoints of another chain or of epoch {record.epoch}")
    if record.replica != replica or signer != membership.keys[replica]:
        raise Refused("not-for-us", f"endpoints of replica {record.replica} or by another key")
    for url in record.urls:
        _check_url(url)
    return record


def publish(board: Board, membership: Membership, record: Endpoints, sign: Sign) -> None:
    """Puts `record` on the board, unless a newer one of ours stands there.

    What does not verify is overwritten: our key is ours, whoever wrote there.

    Raises:
        ConfigError: a URL is not https, or the record is not for this chain, epoch and key.
        Refused: "stale", a record of ours with this sequence or a higher one stands there.
        Busy: others wrote each time between our look and our write.
        Unavailable: see the board.
    """
    data = seal(record, membership.keys[record.replica], sign)
    try:
        check(data, membership, record.replica)
    except (DecodeError, Refused) as error:
        raise ConfigError(f"these endpoints cannot be published: {error}") from None
    key = key_of(membership, record.replica)
    for _ in range(PUBLISH_ATTEMPTS_MAX):
        there = board.get(key)
        if there is not None:
            if there.data == data:
                return
            _refuse_older(there.data, membership, record)
        expected = there.revision if there is not None else _ABSENT
        if board.compare_and_swap(key, data, expected=expected):
            return
    raise Busy(f"the endpoints of replica {record.replica} were written by others at the same time")


def read(
    board: Board, membership: Membership, known: Mapping[int, Endpoints] | None = None
) -> Reading:
    """The newest record of every replica that has one, on the board or in `known`.

    One look per replica, so neither foreign keys nor their number matter.  Raises what the board
    raises; wrong records are no error, they are told in `refused`.
    """
    newest = dict(known or {})
    refused: list[tuple[int, str]] = []
    for replica in range(membership.n):
        there = board.get(key_of(membership, replica))
        if there is None:
            continue
        try:
            record = check(there.data, membership, replica)
        except (DecodeError, Refused) as error:
            refused.append((replica, str(error)))
            continue
        if replica not in newest or record.sequence > newest[replica].sequence:
            newest[replica] = record
    return Reading(endpoints={k: newest[k] for k in sorted(newest)}, refused=tuple(refused))


def urls_of(texts: Sequence[str]) -> tuple[bytes, ...]:
    """URLs from a configuration, as a record holds them.  Raises ConfigError."""
    if not 1 <= len(texts) <= URLS_MAX:
        raise ConfigError(f"{len(texts)} endpoint URLs; 1 to {URLS_MAX} are possible")
    urls = tuple(text.encode() for text in texts)
    for url in urls:
        try:
            _check_url(url)
        except DecodeError as error:
            raise ConfigError(str(error)) from None
    return urls


def _refuse_older(there: bytes, membership: Membership, record: Endpoints) -> None:
    try:
        standing = check(there, membership, record.replica)
    except (DecodeError, Refused):
        return
    if standing.sequence >= record.sequence:
        raise Refused("stale", f"sequence {standing.sequence} is published; {record.sequence} came")


def _check_url(url: bytes) -> None:
    """Only https: the links are mutual TLS, and nobody may be sent anywhere else by a record."""
    printable = all(0x21 <= byte <= 0x7E for byte in url)
    if not (url.startswith(_SCHEME) and len(_SCHEME) < len(url) <= URL_BYTES_MAX and printable):
        raise DecodeError(f"{url[:64]!r} is not an https URL of at most {URL_BYTES_MAX} bytes")
