"""An address book: what one attacker can fill of it, what it forgets, what a restart keeps."""

from ipaddress import IPv4Address

import pytest

from bft.errors import DecodeError
from chain.peers.book import (
    BUCKET_PLACES,
    COLLISIONS_MAX,
    NEW_BUCKETS_PER_SOURCE,
    TOLD_PENALTY_S,
    AddressBook,
)
from chain.peers.entry import (
    CHANCE_ONE,
    FAILURES_MAX,
    FAILURES_NEW_MAX,
    HORIZON_S,
    LATELY_S,
    RETRY_S,
    SILENT_S,
    Entry,
)
from chain.peers.kept import KEPT_MAX, decode_book, encode_book
from chain.records.peer_address import PORT_MIN, Announced, PeerAddress, parse_address

NOW_S = 1_800_000_000
SERVICES = 9


def address(number: int, port: int = 7500) -> PeerAddress:
    """In a /16 of its own for each 65 536 numbers; 20.0.0.0 and above are public."""
    return PeerAddress(IPv4Address((20 << 24) + number), port)


def spread(number: int) -> PeerAddress:
    """In a /16 of its own."""
    return address(number << 16 | 1)


def told(*addresses: PeerAddress, time: int = NOW_S) -> list[Announced]:
    return [Announced(time=time, services=SERVICES, address=each) for each in addresses]


def book_of(seed: int = 1) -> AddressBook:
    return AddressBook(seed.to_bytes(32, "big"))


def chosen(book: AddressBook, *, new_only: bool = False) -> PeerAddress:
    found = book.select(NOW_S + RETRY_S, lambda entry: True, new_only=new_only)
    assert found is not None
    return found


def test_who_floods_from_one_netgroup_gets_a_bounded_share_of_the_choices() -> None:
    """100 000 addresses in one /16 told by one peer, against 500 honest ones of 20 peers."""
    book = book_of()
    for number in range(500):
        book.add(told(spread(number)), spread(1000 + number % 20), NOW_S)
    for number in range(50):
        book.good(spread(number), SERVICES, NOW_S)
    attacker = spread(3000)
    first = 3000 << 16
    flood = (address(first + n % 2_000, 2_000 + n // 2_000) for n in range(100_000))
    added = book.add(told(*flood), attacker, NOW_S)
    assert 0 < added <= BUCKET_PLACES, "one source and one group share one bucket"
    mine = sum(chosen(book).group == attacker.group for _ in range(500))
    assert mine < 25, "of 500 choices"


def test_a_source_with_addresses_of_all_groups_fills_its_buckets_and_no_more() -> None:
    book = book_of()
    attacker, honest = spread(3000), [spread(number) for number in range(40)]
    for number, each in enumerate(honest):
        book.add(told(each), spread(2000 + number), NOW_S)
    there = set(book.entries)
    book.add(told(*(address((50 << 16) + 2111 * n) for n in range(15_000))), attacker, NOW_S)
    assert len(book) <= len(honest) + NEW_BUCKETS_PER_SOURCE * BUCKET_PLACES
    assert there <= set(book.entries), "what was here first has kept its place"
    for each in honest[:20]:
        book.good(each, SERVICES, NOW_S)
    mine = sum(chosen(book) not in there for _ in range(400))
    assert mine < 250, "of 400: half of the choices are of the tried, which it cannot fill"


def test_the_same_secret_gives_the_same_choices_and_another_gives_others() -> None:
    books = [book_of(1), book_of(1), book_of(2)]
    for book in books:
        book.add(told(*(spread(number) for number in range(60))), spread(900), NOW_S)
    first, again, other = ([str(chosen(book)) for _ in range(10)] for book in books)
    assert first == again != other


def test_what_others_say_of_an_address_is_taken_for_older_and_what_it_says_itself_is_not() -> None:
    book = book_of()
    book.add(told(spread(1), spread(2)), spread(1), NOW_S)
    assert book.entries[spread(1)].seen_s == NOW_S
    assert book.entries[spread(2)].seen_s == NOW_S - TOLD_PENALTY_S


def test_ports_of_other_services_are_not_noted() -> None:
    book = book_of()
    book.add(told(address(1, PORT_MIN - 1), address(2, PORT_MIN)), spread(9), NOW_S)
    assert list(book.entries) == [address(2, PORT_MIN)]


@pytest.mark.parametrize(
    ("fields", "terrible"),
    [
        ({}, False),
        ({"seen_s": NOW_S - HORIZON_S}, False),
        ({"seen_s": NOW_S - HORIZON_S - 1}, True),
        ({"seen_s": NOW_S + 601}, True),
        ({"failures": FAILURES_NEW_MAX}, True),
        ({"failures": FAILURES_NEW_MAX, "attempted_s": NOW_S - LATELY_S}, False),
        ({"failures": FAILURES_NEW_MAX, "succeeded_s": NOW_S - SILENT_S}, False),
        ({"failures": FAILURES_MAX, "succeeded_s": NOW_S - SILENT_S}, False),
        ({"failures": FAILURES_MAX, "succeeded_s": NOW_S - SILENT_S - 1}, True),
        ({"failures": FAILURES_MAX - 1, "succeeded_s": NOW_S - SILENT_S - 1}, False),
    ],
)
def test_an_address_is_given_up_by_cores_rules(fields: dict[str, int], terrible: bool) -> None:
    entry = Entry(address(1), b"", SERVICES, NOW_S)
    for name, value in fields.items():
        setattr(entry, name, value)
    assert entry.is_terrible(NOW_S) is terrible


def test_failures_and_a_fresh_attempt_lower_the_chance() -> None:
    entry = Entry(address(1), b"", SERVICES, NOW_S)
    assert entry.chance(NOW_S) == CHANCE_ONE
    entry.attempted_s = NOW_S - RETRY_S
    entry.failures = 2
    assert CHANCE_ONE * 43 // 100 < entry.chance(NOW_S) < CHANCE_ONE * 44 // 100
    entry.attempted_s += 1
    assert entry.chance(NOW_S) < CHANCE_ONE // 200


def test_failures_count_once_while_nobody_answers() -> None:
    """Our own line is down: no address is forgotten for that."""
    book = book_of()
    book.add(told(spread(1), spread(2)), spread(9), NOW_S)
    for minute in range(10):
        book.attempt(spread(1), NOW_S + 60 * minute)
    assert book.entries[spread(1)].failures == 1
    book.good(spread(2), SERVICES, NOW_S + 700)
    book.attempt(spread(1), NOW_S + 800)
    assert book.entries[spread(1)].failures == 2


def without_place(book: AddressBook) -> PeerAddress:
    """One that answered and whose place among the tried another holds."""
    for number in range(1 << 14):
        each = address(number)
        book.add(told(each), spread(1000 + number % 500), NOW_S)
        book.good(each, SERVICES, NOW_S)
        if each in book.entries and not book.entries[each].tried:
            return each
    raise AssertionError("no two addresses share a place")


def test_a_tried_place_goes_to_a_rival_only_when_its_holder_does_not_answer() -> None:
    book = book_of()
    rival = without_place(book)
    assert book.contested(NOW_S) is None, "its holder answered just now, so it stays"
    later_s = NOW_S + 5 * 60 * 60
    book.good(rival, SERVICES, later_s)
    holder = book.contested(later_s)
    assert holder is not None and book.entries[holder].tried
    book.attempt(holder, later_s)
    assert book.contested(later_s + 30) == holder, "it may still answer"
    assert book.contested(later_s + 61) is None
    assert book.entries[rival].tried and not book.entries[holder].tried


def test_those_who_wait_for_a_place_are_bounded() -> None:
    book = book_of()
    without = 0
    for number in range(2_000):
        each = address(number)
        book.add(told(each), spread(1000 + number % 500), NOW_S)
        book.good(each, SERVICES, NOW_S)
        without += each in book.entries and not book.entries[each].tried
    assert without > book.waiting == COLLISIONS_MAX


def test_a_holder_that_answers_keeps_its_place() -> None:
    book = book_of()
    rival = without_place(book)
    assert book.contested(NOW_S) is None
    later_s = NOW_S + 5 * 60 * 60
    book.good(rival, SERVICES, later_s)
    holder = book.contested(later_s)
    assert holder is not None
    book.good(holder, SERVICES, later_s + 1)
    assert book.contested(later_s + 2) is None
    assert book.entries[holder].tried and not book.entries[rival].tried


def test_a_sample_is_the_same_all_day_and_leaves_out_what_is_terrible() -> None:
    book = book_of()
    book.add(told(*(spread(number) for number in range(50))), spread(900), NOW_S)
    book.entries[spread(3)].failures = FAILURES_NEW_MAX
    first = [entry.address for entry in book.sample(NOW_S, 40)]
    assert first == [entry.address for entry in book.sample(NOW_S + 60, 40)]
    assert len(first) == 40 and spread(3) not in first
    assert first != [entry.address for entry in book.sample(NOW_S + 86_400, 40)]


def test_a_restart_keeps_everything() -> None:
    book = book_of()
    book.add(told(*(spread(number) for number in range(50))), spread(900), NOW_S)
    for number in range(5):
        book.good(spread(number), SERVICES, NOW_S)
    book.attempt(spread(7), NOW_S)
    again, anchors = decode_book(encode_book(book, [str(spread(1))]), NOW_S)
    for entry in again.entries.values():
        entry.counted_s = book.entries[entry.address].counted_s
    assert again.entries == book.entries and again.secret == book.secret
    assert anchors == [str(spread(1))]


def test_a_restart_forgets_what_is_terrible_meanwhile() -> None:
    book = book_of()
    book.add(told(spread(1), time=NOW_S), spread(1), NOW_S)
    again, _ = decode_book(encode_book(book, []), NOW_S + HORIZON_S + 1)
    assert len(again) == 0


GOOD = encode_book(book_of(), [])


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{}",
        GOOD[:-1],
        GOOD.replace(b'"version":1', b'"version":2'),
        GOOD.replace(b'"secret":"00', b'"secret":"'),
        GOOD.replace(b'"addresses":[]', b'"addresses":[["x",  "", 1, 1, 1, 1, 1, true]]'),
        GOOD.replace(b'"addresses":[]', b'"addresses":[["1.2.3.4:5","",-1,1,1,1,1,true]]'),
        GOOD.replace(b'"addresses":[]', b'"addresses":[["1.2.3.4:5","x",1,1,1,1,1,true]]'),
        GOOD.replace(b'"addresses":[]', b'"addresses":[["1.2.3.4:5","",1,4294967296,1,1,1,true]]'),
        GOOD.replace(b'"anchors":[]', b'"anchors":["x"]'),
        GOOD.replace(b'"anchors":[]', b'"anchors":["1.2.3.4:1","1.2.3.4:2","1.2.3.4:3"]'),
    ],
)
def test_a_damaged_file_is_refused(data: bytes) -> None:
    with pytest.raises(DecodeError):
        decode_book(data, NOW_S)
    assert KEPT_MAX == 81_920


def test_addresses_are_read_as_people_write_them() -> None:
    for text in ("20.0.0.1:7500", "[2a00::1]:1"):
        assert str(parse_address(text)) == text
    assert str(parse_address("[::ffff:20.0.0.1]:7500")) == "20.0.0.1:7500"
    for text in ("name:7500", "20.0.0.1", "20.0.0.1:0", "20.0.0.1:65536", "[fe80::1%lo]:1", ":1"):
        assert parse_address(text) is None
