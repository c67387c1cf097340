"""Signed endpoint records on a board that may lie, on a real etcd."""

import hashlib
import uuid

import pytest

from bft.codec.envelope import seal
from bft.crypto.identity import PrivateKey
from bft.errors import BadSignature, ConfigError, DecodeError, Refused
from bft.membership import Membership
from deploy.discovery import (
    RECORD_BYTES_MAX,
    URL_BYTES_MAX,
    URLS_MAX,
    Endpoints,
    check,
    key_of,
    publish,
    read,
    urls_of,
)
from deploy.etcd import EtcdClient

KEYS = [PrivateKey(hashlib.sha256(b"replica %d" % i).digest()) for i in range(4)]
STRANGER = PrivateKey(hashlib.sha256(b"stranger").digest())


@pytest.fixture
def members() -> Membership:
    """Four replicas of a chain that no other test uses."""
    chain_id = hashlib.sha256(uuid.uuid4().bytes).digest()
    return Membership(chain_id=chain_id, epoch=1, keys=tuple(key.public_key for key in KEYS))


def record(members: Membership, replica: int, sequence: int, url: bytes = b"") -> Endpoints:
    return Endpoints(
        chain_id=members.chain_id,
        epoch=members.epoch,
        replica=replica,
        sequence=sequence,
        urls=(url or b"https://r%d.example:7400" % replica,),
    )


def sealed(endpoints: Endpoints, key: PrivateKey) -> bytes:
    return seal(endpoints, key.public_key, key.sign)


def test_what_a_replica_publishes_its_peers_read(etcd: EtcdClient, members: Membership) -> None:
    for replica in (2, 0):
        publish(etcd, members, record(members, replica, 1), KEYS[replica].sign)
    reading = read(etcd, members)
    assert list(reading.endpoints) == [0, 2]
    assert reading.endpoints[2] == record(members, 2, 1)
    assert reading.refused == ()


def test_a_newer_record_replaces_an_older_one_never_the_reverse(
    etcd: EtcdClient, members: Membership
) -> None:
    publish(etcd, members, record(members, 1, 5), KEYS[1].sign)
    publish(etcd, members, record(members, 1, 6, b"https://new.example"), KEYS[1].sign)
    for sequence in (5, 6):
        with pytest.raises(Refused) as refused:
            publish(etcd, members, record(members, 1, sequence), KEYS[1].sign)
        assert refused.value.code == "stale"
    assert read(etcd, members).endpoints[1].urls == (b"https://new.example",)


def test_publishing_the_same_record_again_changes_nothing(
    etcd: EtcdClient, members: Membership
) -> None:
    publish(etcd, members, record(members, 1, 5), KEYS[1].sign)
    before = etcd.get(key_of(members, 1))
    publish(etcd, members, record(members, 1, 5), KEYS[1].sign)
    assert etcd.get(key_of(members, 1)) == before


def test_a_board_that_replays_an_old_record_moves_no_reader(
    etcd: EtcdClient, members: Membership
) -> None:
    newer = record(members, 3, 9)
    etcd.put(key_of(members, 3), sealed(record(members, 3, 8), KEYS[3]))
    assert read(etcd, members, {3: newer}).endpoints[3] == newer


def test_a_board_that_loses_a_record_takes_nothing_from_a_reader(
    etcd: EtcdClient, members: Membership
) -> None:
    known = record(members, 3, 9)
    assert read(etcd, members, {3: known}).endpoints == {3: known}


def test_a_wrong_record_is_told_and_hides_no_other(etcd: EtcdClient, members: Membership) -> None:
    publish(etcd, members, record(members, 0, 1), KEYS[0].sign)
    etcd.put(key_of(members, 1), b"garbage")
    etcd.put(key_of(members, 2), sealed(record(members, 2, 1), STRANGER))
    etcd.put(key_of(members, 3), sealed(record(members, 2, 1), KEYS[2]))  # a copy, elsewhere
    reading = read(etcd, members)
    assert list(reading.endpoints) == [0]
    assert [replica for replica, _ in reading.refused] == [1, 2, 3]


def test_a_replica_takes_its_place_back_from_whoever_wrote_there(
    etcd: EtcdClient, members: Membership
) -> None:
    etcd.put(key_of(members, 1), sealed(record(members, 1, 2**63 - 1), STRANGER))
    publish(etcd, members, record(members, 1, 1), KEYS[1].sign)
    assert read(etcd, members).endpoints[1].sequence == 1


def test_another_chain_or_epoch_is_not_ours(members: Membership) -> None:
    data = sealed(record(members, 0, 1), KEYS[0])
    assert check(data, members, 0) == record(members, 0, 1)
    for other in (
        Membership(chain_id=bytes(32), epoch=1, keys=members.keys),
        Membership(chain_id=members.chain_id, epoch=2, keys=members.keys),
        Membership(chain_id=members.chain_id, epoch=1, keys=members.keys[::-1]),
    ):
        with pytest.raises(Refused) as refused:
            check(data, other, 0)
        assert refused.value.code == "not-for-us"


def test_any_flipped_bit_is_noticed(members: Membership) -> None:
    data = sealed(record(members, 0, 1), KEYS[0])
    for position in range(len(data)):
        flipped = bytearray(data)
        flipped[position] ^= 1
        with pytest.raises((DecodeError, Refused)):
            check(bytes(flipped), members, 0)
    with pytest.raises(BadSignature):
        check(data[:-1] + bytes([data[-1] ^ 1]), members, 0)


def test_a_record_longer_than_allowed_is_not_even_parsed(members: Membership) -> None:
    with pytest.raises(DecodeError, match=str(RECORD_BYTES_MAX)):
        check(bytes(RECORD_BYTES_MAX + 1), members, 0)


@pytest.mark.parametrize(
    "url",
    [
        b"http://r0.example",
        b"file:///etc/passwd",
        b"https://",
        b"https://r0.example/ x",
        b"https://r0.example\n",
        "https://r0.exämple".encode(),
    ],
)
def test_a_record_sends_nobody_elsewhere_than_to_https(url: bytes, members: Membership) -> None:
    with pytest.raises(DecodeError):
        check(sealed(record(members, 0, 1, url), KEYS[0]), members, 0)


def test_what_readers_would_refuse_is_not_published(etcd: EtcdClient, members: Membership) -> None:
    elsewhere = Endpoints(
        chain_id=bytes(32), epoch=1, replica=0, sequence=1, urls=(b"https://r0.example",)
    )
    for wrong, key in (
        (record(members, 0, 1, b"http://r0.example"), KEYS[0]),
        (elsewhere, KEYS[0]),
        (record(members, 0, 1), STRANGER),
    ):
        with pytest.raises(ConfigError, match="cannot be published"):
            publish(etcd, members, wrong, key.sign)
    assert etcd.get(key_of(members, 0)) is None


def test_urls_are_bounded_in_length_and_number() -> None:
    longest = "https://" + "x" * (URL_BYTES_MAX - 8)
    assert urls_of([longest] * URLS_MAX) == (longest.encode(),) * URLS_MAX
    for wrong in ([], [longest] * (URLS_MAX + 1), [longest + "x"], ["http://x"]):
        with pytest.raises(ConfigError):
            urls_of(wrong)
