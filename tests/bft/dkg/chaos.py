"""Random sessions: key generation and resharing, with liars, crashes, losses and haste.

One seed is one whole history.  The ordered log is a list here; everybody reads it with a lag, and
whoever restarts has its disk and a snapshot.  `python -m tests.bft.dkg.search` runs many.
"""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from bft.codec.canonical import decode, encode
from bft.crypto import bls, shamir
from bft.crypto.threshold import KeyShare
from bft.dkg.fold import close, expire, hear
from bft.dkg.messages import Message, Phase
from bft.dkg.transcript import Transcript, open_resharing, open_session
from bft.errors import Refused
from bft.quorum import faults as faults_of
from bft.quorum import strong, weak
from tests.bft.dkg import checkers
from tests.bft.dkg.liars import ANNOUNCERS, COMPLAINERS, DEALERS, Deed, Fate, Lie
from tests.bft.dkg.people import Person

CHAIN_ID = bytes([7] * 32)
SIZES = (4, 4, 4, 4, 7, 7, 10, 16)
SIZE_MAX = 16
CHANGES = ("refresh", "grow", "shrink", "replace", "shuffle", "threshold")
HASTY_ATTEMPTS = 2  # before which clocks may run out early, and genesis members may be silent
ATTEMPTS_MAX = 6
CHAOS_TURNS = 3_000
"""After so many, nothing is lost, doubled or crashed any more, and everybody reads to the end."""

TURNS_MAX = 40_000


@dataclass
class Post:
    """A message on its way into the log."""

    author: bytes
    lie: Lie


@dataclass(frozen=True)
class Entry:
    """One step of the log: a message, or what the machine does by itself."""

    author: bytes = b""
    message: Message | None = None
    move: Callable[[Transcript], Transcript] | None = None

    def take(self, transcript: Transcript) -> Transcript:
        if self.message is None:
            assert self.move is not None
            return self.move(transcript)
        return hear(transcript, self.author, self.message)


class Chaos:
    """One seed: a first sharing, then one or two more."""

    def __init__(self, seed: int, without: frozenset[str] = frozenset()) -> None:
        self.seed, self.without = seed, without
        self.faults: list[str] = []
        self.story: list[str] = []
        self.world = Random(f"{seed}/world")
        self.people: dict[bytes, Person] = {}
        self.names = 0

    def run(self) -> None:
        world = self.world
        members = self.recruit(world.choice(SIZES))
        public: tuple[bytes, ...] = ()
        if world.random() < 0.4:
            threshold = strong(len(members))
            opening = open_session(CHAIN_ID, 0, 0, members, threshold)
            public = self.session(0, opening, members, members)
        else:
            public = self.found(members)
        for epoch in range(1, world.choice((2, 2, 3))):
            change = world.choice(CHANGES)
            following, threshold = self.change(change, members)
            self.tell(f"epoch {epoch}: {change}, {len(members)} to {len(following)} members")
            opening = open_resharing(
                CHAIN_ID, epoch, 0, following, threshold, members, tuple(public)
            )
            if self.spare_dealers(opening) < 0:
                self.tell("too few have shares: a federation that hurried too much")
                return
            public = self.session(epoch, opening, members, following)
            members = following

    # Members.

    def recruit(self, count: int) -> tuple[bytes, ...]:
        fresh = [Person(self.names + at) for at in range(count)]
        self.names += count
        self.people |= {person.key: person for person in fresh}
        return tuple(person.key for person in fresh)

    def found(self, members: tuple[bytes, ...]) -> tuple[bytes, ...]:
        """A sharing out of nothing, instead of a ceremony."""
        n = len(members)
        t = self.world.choice((strong(n), strong(n), strong(n), weak(n)))
        polynomial = tuple(self.world.randrange(1, bls.ORDER) for _ in range(t))
        for at, key in enumerate(members):
            secret = shamir.evaluate(polynomial, at + 1)
            self.people[key].keep_share(0, KeyShare(index=at, secret=secret))
        return shamir.commit(polynomial)

    def change(self, change: str, members: tuple[bytes, ...]) -> tuple[tuple[bytes, ...], int]:
        """(new members, threshold of the new sharing)."""
        world, n = self.world, len(members)
        if change == "grow" and n + 3 <= SIZE_MAX:
            members = (*members, *self.recruit(3))
        elif change == "shrink" and n > 4:
            gone = world.sample(members, 3)
            members = tuple(key for key in members if key not in gone)
        elif change == "replace":
            count = world.randint(1, n) if world.random() < 0.2 else 1
            places = world.sample(range(n), count)
            fresh = dict(zip(places, self.recruit(count), strict=True))
            members = tuple(fresh.get(at, key) for at, key in enumerate(members))
        elif change == "shuffle":
            members = tuple(world.sample(members, n))
        n = len(members)
        if change == "threshold":
            return members, world.randint(weak(n), n - faults_of(n))
        return members, strong(n)

    # A session.

    def session(
        self, epoch: int, opening: Transcript, old: tuple[bytes, ...], new: tuple[bytes, ...]
    ) -> tuple[bytes, ...]:
        """Play it to its end and check it; commitments of the new sharing."""
        play = Session(self, epoch, opening, self.choose_bad(old, new, opening))
        done = play.run()
        checkers.check(play, done)
        for person in map(self.people.__getitem__, new):
            share = play.shares.get(person.key)
            if person.key in play.bad:
                share, _ = person.share(done)
            if share is not None:
                person.keep_share(epoch, share)
        return done.commitments

    def spare_dealers(self, opening: Transcript) -> int:
        """How many more may deal badly than those who have nothing to deal."""
        spare = min(faults_of(len(opening.dealers)), len(opening.dealers) - opening.dealings_needed)
        return spare - len(self.shareless(opening))

    def shareless(self, opening: Transcript) -> set[bytes]:
        """Dealers who missed the epoch before, or lied in it."""
        if not opening.old:
            return set()
        before, people = opening.epoch - 1, self.people
        return {key for key in opening.dealers if people[key].secrets.share_of(before) is None}

    def choose_bad(
        self, old: tuple[bytes, ...], new: tuple[bytes, ...], opening: Transcript
    ) -> frozenset[bytes]:
        """At most f of each list, so that enough good dealers have shares."""
        spare, shareless = self.spare_dealers(opening), self.shareless(opening)
        bad = set[bytes]()
        everybody = sorted({*old, *new})
        wanted = self.world.randint(0, max(spare, 0) + faults_of(len(new)))
        for key in self.world.sample(everybody, len(everybody)):
            trial = bad | {key}
            deal_badly = (trial & {*old}) - shareless
            if (
                len(bad) < wanted
                and len(deal_badly) <= spare
                and len(trial & {*new}) <= faults_of(len(new))
            ):
                bad = trial
        return frozenset(bad)

    def fault(self, name: str) -> bool:
        """Whether this fault happens; notes that it does."""
        if name in self.without:
            return False
        if name not in self.faults:
            self.faults.append(name)
        return True

    def tell(self, text: str) -> None:
        self.story.append(text)


class Session:
    """One session, with its attempts."""

    def __init__(
        self, chaos: Chaos, epoch: int, opening: Transcript, bad: frozenset[bytes]
    ) -> None:
        self.chaos, self.epoch, self.opening, self.bad = chaos, epoch, opening, bad
        self.random = Random(f"{chaos.seed}/{epoch}/schedule")
        self.everybody = sorted({*opening.members, *opening.dealers})
        self.history = [opening]  # after 0, 1, 2, ... entries
        self.log: list[Entry] = []
        self.posts: list[Post] = []
        self.read = dict.fromkeys(self.everybody, 0)  # how much of the log each has seen
        self.said: dict[bytes, object] = {}  # for what each has spoken last
        self.lied: set[tuple[bytes, bytes, Phase]] = set()
        self.expected: list[tuple[bytes, bytes]] = []  # (key, reason): faults that must be named
        self.bad_shares: dict[tuple[bytes, bytes], tuple[bytes, ...]] = {}
        self.hasty = False  # whether a clock ran out early in the attempt that stands
        self.shares: dict[bytes, KeyShare] = {}
        self.turns = 0
        draw = Random(f"{chaos.seed}/{epoch}/deeds")
        self.deeds = {
            key: (
                draw.choice(sorted(DEALERS)),
                draw.choice(["honest", *sorted(ANNOUNCERS)]),
                draw.choice(["honest", *sorted(COMPLAINERS)]),
            )
            for key in sorted(bad)
        }
        self.crashing = draw.random() < 0.5 and chaos.fault(f"epoch {epoch}: crashes")
        self.lossy = draw.random() < 0.5 and chaos.fault(f"epoch {epoch}: losses")
        self.doubling = draw.random() < 0.5 and chaos.fault(f"epoch {epoch}: duplicates")
        self.hurried = draw.random() < 0.3 and chaos.fault(f"epoch {epoch}: clocks run early")

    @property
    def head(self) -> Transcript:
        return self.history[-1]

    @property
    def good(self) -> list[Person]:
        return [self.chaos.people[key] for key in self.everybody if key not in self.bad]

    def run(self) -> Transcript:
        for _ in range(TURNS_MAX):
            if self.head.phase is Phase.DONE:
                return self.head
            if self.head.phase is Phase.FAILED:
                self.append(Entry(move=expire))
                self.hasty = False
            self.turn()
        raise AssertionError(f"no end after {TURNS_MAX} turns: {self.head.phase.name}")

    def turn(self) -> None:
        random = self.random
        self.turns += 1
        if self.turns == CHAOS_TURNS:
            self.crashing = self.lossy = self.doubling = False
        person = self.chaos.people[random.choice(self.everybody)]
        deed = self.deed(person)
        if deed is None:
            self.speak(person)
        else:
            self.lie(person, deed)
        for _ in range(random.randint(0, 3)):
            if self.posts:
                self.order()
        hurry = self.hurried and self.head.attempt < HASTY_ATTEMPTS
        if hurry and random.random() < 0.01:
            self.hasty = True
            self.time_over("early")
        elif self.idle():
            self.time_over("at last")

    def time_over(self, when: str) -> None:
        """As the machine does when enough clocks have said so."""
        if self.head.phase in (Phase.DONE, Phase.FAILED):
            return
        self.chaos.tell(f"attempt {self.head.attempt}, {self.head.phase.name}: time over {when}")
        if self.head.old:
            self.append(Entry(move=close))
        else:
            self.append(Entry(move=expire))
            self.hasty = False
        assert self.head.attempt < ATTEMPTS_MAX, "too many attempts"

    def append(self, entry: Entry) -> None:
        self.history.append(entry.take(self.head))
        self.log.append(entry)

    # Those who are good.

    def speak(self, person: Person) -> None:
        random, seen = self.random, self.read[person.key]
        if self.crashing and random.random() < 0.05:
            self.posts = [p for p in self.posts if p.author != person.key or random.random() < 0.5]
            self.said.pop(person.key, None)
            seen = random.randint(0, len(self.log))
        elif self.turns >= CHAOS_TURNS:
            seen = len(self.log)
        elif random.random() < 0.8:
            seen = random.randint(seen, len(self.log))
        self.read[person.key] = seen
        transcript = self.history[seen]
        if self.said.get(person.key) == _situation(transcript, person):
            return
        if self.crashing:
            transcript = decode(Transcript, encode(transcript))
        self.prepare(person, transcript)
        owed = person.owes(transcript)
        self.said[person.key] = _situation(transcript, person)
        for message in owed:
            self.posts.append(Post(person.key, Lie(message)))

    def prepare(self, person: Person, transcript: Transcript) -> None:
        if person.wants_seed(transcript):
            draw = Random(f"{self.chaos.seed}/{person.name}/{transcript.session.hex()}")
            person.keep_seed(transcript.session, draw.randbytes(32))

    def idle(self) -> bool:
        """Nobody who is good, or acts so, has anything left to say or to read."""
        if self.posts or self.head.phase in (Phase.DONE, Phase.FAILED):
            return False
        return all(
            self.read[person.key] == len(self.log)
            and self.said.get(person.key) == _situation(self.head, person)
            for person in map(self.chaos.people.__getitem__, self.everybody)
            if self.deed(person) is None
        )

    # Those who are not.

    def deed(self, person: Person) -> Deed | None:
        """What a liar does in this phase; None: what everybody does."""
        now = self.head
        if person.key not in self.bad or now.phase in (Phase.DONE, Phase.FAILED):
            return None
        dealing, announcing, complaining = self.deeds[person.key]
        name, deeds = {
            Phase.KEYS: (announcing, ANNOUNCERS),
            Phase.DEALING: (dealing, DEALERS),
            Phase.COMPLAINT: (complaining, COMPLAINERS),
        }[now.phase]
        if name not in deeds:
            return None
        if not now.old and now.attempt >= HASTY_ATTEMPTS and _stops_genesis(now.phase, name):
            return None
        fault = f"epoch {self.epoch}: {name} by {person.name} in {now.phase.name}"
        return deeds[name] if self.chaos.fault(fault) else None

    def lie(self, liar: Person, deed: Deed) -> None:
        """Rushing: a liar always sees the newest state.  It acts once in a phase."""
        now = self.head
        receiver, dealer = liar.roles(now)
        acts = dealer is not None if now.phase is Phase.DEALING else receiver is not None
        told = (liar.key, now.session, now.phase)
        if not acts or told in self.lied:
            return
        if now.phase is Phase.COMPLAINT and receiver not in now.holders:
            return
        self.lied.add(told)
        self.prepare(liar, now)
        random = Random(f"{self.chaos.seed}/{now.session.hex()}/{now.phase}/{liar.name}")
        self.posts += [Post(liar.key, lie) for lie in deed(liar, now, random)]
        if random.random() < 0.3:
            self.replay(liar, random)

    def replay(self, liar: Person, random: Random) -> None:
        """Something that this liar said in an earlier attempt."""
        said = [
            entry.message
            for entry in self.log
            if entry.author == liar.key
            and entry.message is not None
            and entry.message.session != self.head.session
        ]
        if said:
            self.posts.append(Post(liar.key, Lie(random.choice(said), Fate.REFUSED)))

    # The log.

    def order(self) -> None:
        random = self.random
        post = self.posts.pop(random.randrange(len(self.posts)))
        if self.lossy and random.random() < 0.1:
            self.said.pop(post.author, None)
            return
        if self.doubling and random.random() < 0.1:
            self.posts.append(post)
        before, lie = self.head, post.lie
        try:
            self.append(Entry(author=post.author, message=lie.message))
        except Refused as refused:
            assert self.head == before
            self.said.pop(post.author, None)
            name = self.chaos.people[post.author].name
            self.chaos.tell(f"  {type(lie.message).__name__} of {name}: {refused.code}")
            return
        self.took(before, post)

    def took(self, before: Transcript, post: Post) -> None:
        """A message counted: what follows from it if it was a lie?"""
        lie, name = post.lie, self.chaos.people[post.author].name
        self.chaos.tell(f"  {type(lie.message).__name__} of {name}: {lie.fate.name}")
        assert lie.fate is not Fate.REFUSED, f"a lie of {name} was accepted"
        if lie.fate is Fate.VOID:
            self.expected.append((post.author, b"void-dealing"))
        elif lie.fate is Fate.FALSE:
            self.expected.append((post.author, b"false-complaint"))
        elif lie.fate is Fate.BAD_SHARE:
            victims = tuple(before.members[at] for at in lie.victims)
            self.bad_shares[before.session, post.author] = victims
        fresh = {(fault.key, fault.reason) for fault in self.head.faults}
        assert all(key in self.bad for key, _ in fresh), "a correct member is accused"
        if lie.fate in (Fate.VOID, Fate.FALSE):
            assert self.expected[-1] in fresh, "a fault without a name"


def _stops_genesis(phase: Phase, deed: str) -> bool:
    """Whether a ceremony that insists on everybody could never end with this."""
    return phase is not Phase.DEALING or deed in ("silent", "copied")


def _situation(transcript: Transcript, person: Person) -> object:
    """What a person's duties depend on; while it is the same there is nothing new to say."""
    receiver, dealer = person.roles(transcript)
    spoke = (
        receiver is not None and transcript.keys_of(receiver) is not None,
        dealer is not None and transcript.dealt_by(dealer) is not None,
        receiver in transcript.ready,
    )
    return (transcript.session, transcript.phase, len(transcript.complaints), spoke)
