"""How a backup passes on what its clients ask: at once, or many together."""

from bft.codec.canonical import decode, encode
from bft.crypto.hashing import sha256
from bft.pbft.config import Config
from bft.pbft.events import Received, Send, Submitted, Tick
from bft.pbft.messages import FORWARDED_MAX, ForwardedRequests, RequestBundle, sign_message
from bft.pbft.replica import Replica
from bft.pbft.requests import BUNDLES_MAX, FORWARD_GAP_MS, bundles
from tests.bft.pbft.cluster import WALL_0
from tests.bft.pbft.identities import CHAIN, members, opened, request, signer


class Backup:
    """Replica 1 of four, and what it passes on."""

    def __init__(self, index: int = 1, **config: int) -> None:
        given = Config(membership=members(4), index=index, sign=signer(index), **config)
        self.replica = Replica(given)
        self.now = 1_000

    def passed_on(self, *events: Submitted | Tick | Received) -> list[tuple[int | None, int]]:
        """(to whom, how many requests) of each message that these events give rise to."""
        found = []
        for event in events:
            for effect in self.replica.step(event, self.now, WALL_0 + self.now):
                message = opened(effect.message, members(4)) if isinstance(effect, Send) else None
                if message is not None and isinstance(message.message, ForwardedRequests):
                    assert isinstance(effect, Send)
                    count = len(decode(RequestBundle, message.attachment).requests)
                    found.append((effect.to, count))
        return found


def asked(first: int, count: int) -> list[Submitted]:
    """Requests of many clients, each another one."""
    return [Submitted(request(number % 16, number)) for number in range(first, first + count)]


def test_a_single_request_goes_to_the_primary_at_once() -> None:
    assert Backup().passed_on(*asked(1, 1)) == [(0, 1)]


def test_what_comes_in_a_short_time_goes_together() -> None:
    backup = Backup()
    assert backup.passed_on(*asked(1, 50)) == [(0, 1)]
    backup.now += FORWARD_GAP_MS - 1
    assert backup.passed_on(Tick()) == []
    backup.now += 1
    assert backup.passed_on(Tick()) == [(0, 49)]
    assert backup.passed_on(Tick()) == []


def test_what_nobody_proposed_goes_to_all_in_few_messages() -> None:
    backup = Backup(request_ms=60_000)
    backup.passed_on(*asked(1, 600))
    backup.now += FORWARD_GAP_MS
    backup.passed_on(Tick())
    backup.now += 500
    assert backup.passed_on(Tick()) == [(None, FORWARDED_MAX), (None, FORWARDED_MAX), (None, 88)]
    assert backup.passed_on(Tick()) == []


def test_a_bundle_keeps_its_bounds() -> None:
    """At most FORWARDED_MAX requests and about 1 MiB; one request always fits."""
    small = [bytes([n % 256]) for n in range(FORWARDED_MAX + 1)]
    assert [len(bundle) for bundle in bundles(small)] == [FORWARDED_MAX, 1]
    large = [bytes(600 * 1024)] * 3
    assert [len(bundle) for bundle in bundles(large)] == [1, 1, 1]
    assert bundles([]) == []
    assert BUNDLES_MAX * FORWARDED_MAX >= 1_000


def test_a_forged_request_ends_its_bundle_and_what_stood_before_counts() -> None:
    """The one that passes it on has checked it, if it is correct; nothing more of it is read."""
    primary = Backup(index=0)
    good, later = request(1, 1), request(2, 2)
    forged = request(3, 3)[:-1] + b"\0"
    bundle = encode(RequestBundle(requests=(good, forged, later)))
    message = ForwardedRequests(chain_id=CHAIN, epoch=0, digest=sha256(bundle), replica=2)
    primary.passed_on(Received(sign_message(message, members(4), signer(2), bundle)))
    assert primary.replica.is_pending(sha256(good))
    assert not primary.replica.is_pending(sha256(later))


def test_a_primary_passes_nothing_on() -> None:
    primary = Backup(index=0)
    assert primary.passed_on(*asked(1, 20), Tick()) == []
