"""A node's address book: of whom it heard (new), and who answered it once (tried).

Where an address may stand follows from a secret of this node, from its own group and from the group
of whoever told of it: one source group fills at most 64 of 1024 new buckets, addresses of one group
at most 8 of 256 tried ones, and nobody knows which.  A place that is taken stays taken until its
holder is terrible, so what comes late pushes nothing out.
Source: Bitcoin Core, addrman.cpp; Heilman et al., "Eclipse Attacks on Bitcoin's Peer-to-Peer
Network", 2015.  Unlike Core's, an address has one place in the new table, not up to eight.
Pure.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

from bft.crypto.hashing import sha256
from chain.peers.entry import CHANCE_ONE, Entry
from chain.records.peer_address import PORT_MIN, Announced, PeerAddress
from chain.rules.sampling import Stream

NEW_BUCKETS = 1_024
NEW_BUCKETS_PER_SOURCE = 64
TRIED_BUCKETS = 256
TRIED_BUCKETS_PER_GROUP = 8
BUCKET_PLACES = 64
SECRET_BYTES = 32
COLLISIONS_MAX = 10  # answered, but their place among the tried is taken
COLLISION_S_MAX = 40 * 60  # by then whoever holds it was asked whether it still answers
_ANSWERED_S = 4 * 60 * 60  # who answered so lately keeps its place
_DRAWS_MAX = 100
_SEEN_STEP_S = 60 * 60  # the time of a known address moves in such steps
_SEEN_AT_END_STEP_S = 20 * 60  # and that of one to which we were connected in such
TOLD_PENALTY_S = 2 * 60 * 60  # what others say of an address is older than they say
_Place = tuple[int, int]


class AddressBook:
    """Both tables.  Deterministic: the same secret and calls, the same book and choices."""

    def __init__(self, secret: bytes, started_s: int = 0) -> None:
        """`secret`: SECRET_BYTES random bytes, this node's alone, the same after a restart;
        `started_s`: Unix seconds, so that a restart does not draw the same again."""
        assert len(secret) == SECRET_BYTES
        self.secret = secret
        self.entries: dict[PeerAddress, Entry] = {}
        self.changes = 0  # grows whenever an address enters the tried table
        self.draws = Stream("gristmill/address-book/1", secret + started_s.to_bytes(8, "big"))
        self._tables: dict[bool, dict[int, dict[int, Entry]]] = {False: {}, True: {}}
        self._collisions: dict[PeerAddress, int] = {}  # who waits for a tried place, since when
        self._last_good_s = 1

    def __len__(self) -> int:
        """Addresses in both tables."""
        return len(self.entries)

    # What is heard

    def add(self, told: Iterable[Announced], source: PeerAddress, now_s: int) -> int:
        """Notes addresses that `source` told of; how many are new here."""
        group = source.group
        added = 0
        for each in told:
            if each.address.port < PORT_MIN:
                continue
            own = each.address == source
            seen_s = max(0, each.time if own else each.time - TOLD_PENALTY_S)
            known = self.entries.get(each.address)
            if known is not None:
                known.services |= each.services
                if seen_s >= known.seen_s + _SEEN_STEP_S and seen_s <= now_s:
                    known.seen_s = seen_s
                continue
            entry = Entry(each.address, group, each.services, seen_s)
            added += not entry.is_terrible(now_s) and self._place_new(entry, now_s)
        return added

    def _place_new(self, entry: Entry, now_s: int) -> bool:
        """False: its place is taken by somebody who is not terrible."""
        entry.tried = False
        entry.bucket = self._new_bucket(entry)
        return self._place(entry, now_s)

    def _place(self, entry: Entry, now_s: int) -> bool:
        entry.position = (
            self._number(
                b"T" if entry.tried else b"N", entry.bucket.to_bytes(2, "big"), entry.address.key
            )
            % BUCKET_PLACES
        )
        bucket = self._tables[entry.tried].setdefault(entry.bucket, {})
        holder = bucket.get(entry.position)
        if holder is not None and holder is not entry:
            if not holder.is_terrible(now_s):
                return False
            self._remove(holder)
            bucket = self._tables[entry.tried].setdefault(entry.bucket, {})
        bucket[entry.position] = entry
        self.entries[entry.address] = entry
        return True

    def _remove(self, entry: Entry) -> None:
        self.entries.pop(entry.address, None)
        bucket = self._tables[entry.tried].get(entry.bucket, {})
        if bucket.get(entry.position) is entry:
            del bucket[entry.position]
            if not bucket:
                del self._tables[entry.tried][entry.bucket]

    def _new_bucket(self, entry: Entry) -> int:
        source = entry.source_group
        part = self._number(b"n", source, entry.address.group) % NEW_BUCKETS_PER_SOURCE
        return self._number(b"b", source, part.to_bytes(2, "big")) % NEW_BUCKETS

    def _tried_bucket(self, address: PeerAddress) -> int:
        part = self._number(b"t", address.key) % TRIED_BUCKETS_PER_GROUP
        return self._number(b"u", address.group, part.to_bytes(2, "big")) % TRIED_BUCKETS

    def _number(self, *parts: bytes) -> int:
        sized = b"".join(len(part).to_bytes(1, "big") + part for part in parts)
        return int.from_bytes(sha256(self.secret + sized)[:8], "big")

    # What is seen

    def attempt(self, address: PeerAddress, now_s: int) -> None:
        """It is dialled now.  Failures count once between two successes of anybody: while our own
        line is down nobody is blamed more than once."""
        entry = self.entries.get(address)
        if entry is None:
            return
        entry.attempted_s = now_s
        if entry.counted_s < self._last_good_s:
            entry.counted_s = now_s
            entry.failures += 1

    def good(self, address: PeerAddress, services: int, now_s: int) -> None:
        """It greeted us; from now on it counts as tried, if there is a place."""
        self._last_good_s = now_s
        entry = self.entries.get(address)
        if entry is None:
            return
        entry.succeeded_s = entry.attempted_s = now_s
        entry.failures, entry.services = 0, services
        if not entry.tried:
            self._make_tried(entry, now_s)

    def _make_tried(self, entry: Entry, now_s: int) -> None:
        moved = replace(entry, tried=True, bucket=self._tried_bucket(entry.address))
        self._remove(entry)
        if self._place(moved, now_s):
            self.changes += 1
            self._collisions.pop(entry.address, None)
            return
        self._place(entry, now_s)  # back to where it stood
        if len(self._collisions) < COLLISIONS_MAX:
            self._collisions.setdefault(entry.address, now_s)

    def seen(self, address: PeerAddress, now_s: int) -> None:
        """A connection to it has just ended, which was good until then."""
        entry = self.entries.get(address)
        if entry is not None and now_s - entry.seen_s > _SEEN_AT_END_STEP_S:
            entry.seen_s = now_s

    def forget(self, address: PeerAddress) -> None:
        """It is ourselves, or of no use."""
        entry = self.entries.get(address)
        if entry is not None:
            self._remove(entry)

    # Who keeps a tried place: whoever holds it is asked first

    def contested(self, now_s: int) -> PeerAddress | None:
        """Somebody whose place another wants: dial it to see whether it is still there."""
        self._settle(now_s)
        holders = [self._holder(address) for address in self._collisions]
        found = [holder.address for holder in holders if holder is not None]
        return found[self.draws.below(len(found))] if found else None

    @property
    def waiting(self) -> int:
        """Addresses that answered and have no tried place yet."""
        return len(self._collisions)

    def _settle(self, now_s: int) -> None:
        for address, since_s in list(self._collisions.items()):
            entry, holder = self.entries.get(address), self._holder(address)
            if entry is None or entry.tried:
                del self._collisions[address]
            elif holder is None or (
                now_s - holder.succeeded_s > _ANSWERED_S
                and (_asked_in_vain(holder, now_s) or now_s - since_s > COLLISION_S_MAX)
            ):
                if holder is not None:
                    self._demote(holder, now_s)
                del self._collisions[address]
                self._make_tried(entry, now_s)
            elif now_s - holder.succeeded_s <= _ANSWERED_S:
                del self._collisions[address]

    def _holder(self, address: PeerAddress) -> Entry | None:
        bucket = self._tried_bucket(address)
        position = self._number(b"T", bucket.to_bytes(2, "big"), address.key) % BUCKET_PLACES
        return self._tables[True].get(bucket, {}).get(position)

    def _demote(self, entry: Entry, now_s: int) -> None:
        self._remove(entry)
        self._place_new(replace(entry), now_s)

    # Whom to dial, whom to tell of

    def select(
        self, now_s: int, fits: Callable[[Entry], bool], *, new_only: bool = False
    ) -> PeerAddress | None:
        """Somebody who `fits`: new and tried alike often, every bucket alike often.

        None after a bounded number of draws that found nobody.
        """
        factor = CHANCE_ONE
        for _ in range(_DRAWS_MAX):
            tried = not new_only and self.draws.below(2) == 1
            table = self._tables[tried] or self._tables[not tried and not new_only]
            if not table:
                return None
            numbers = list(table)
            bucket = table[numbers[self.draws.below(len(numbers))]]
            positions = list(bucket)
            entry = bucket[positions[self.draws.below(len(positions))]]
            if fits(entry):
                chance = factor * entry.chance(now_s) // CHANCE_ONE
                if self.draws.below(CHANCE_ONE) < chance:
                    return entry.address
                factor = factor * 12 // 10
        return None

    def sample(self, now_s: int, count: int) -> list[Entry]:
        """At most `count` that are worth telling of; within a day always the same first."""
        day = (now_s // 86_400).to_bytes(4, "big")
        worthy = [entry for entry in self.entries.values() if not entry.is_terrible(now_s)]
        worthy.sort(key=lambda entry: self._number(b"s", day, entry.address.key))
        return worthy[:count]

    def tried(self) -> Iterator[Entry]:
        """Those that answered once."""
        return (entry for bucket in self._tables[True].values() for entry in bucket.values())

    def restore(self, entry: Entry, now_s: int) -> None:
        """Puts back what was kept; what is terrible meanwhile, or finds no place, is forgotten."""
        if entry.is_terrible(now_s) or entry.address in self.entries:
            return
        if entry.tried:
            entry.bucket = self._tried_bucket(entry.address)
            if self._place(entry, now_s):
                return
        self._place_new(entry, now_s)


def _asked_in_vain(entry: Entry, now_s: int) -> bool:
    return 60 < now_s - entry.attempted_s <= _ANSWERED_S
