"""Reading the published log in virtual time: observers live on it, late members catch up by it.

Every disk's log can be read by everybody whose process lives; what is read is checked by its
proofs (coordinator/observer.py, and consensus itself for members).
"""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

from msgspec.structs import replace

from bft.ordering.batch import batch_digest
from bft.ordering.proof import verify_quorum_proof
from bft.pbft.events import Learned
from chain.records.score_log import LogEntry, Ordered, encode_leaf
from coordinator.custody import Custody
from coordinator.effects import Append, DrawSeed, KeepSecrets
from coordinator.observer import Observer, Say, Voice
from coordinator.replica import CoordinatorReplica
from tests.sim.disk import Disk

if TYPE_CHECKING:
    from tests.sim.host import Host

READ_MS = 250  # between two looks
BATCHES_MAX = 32  # in one look
HINT_MS = 3_000  # a frame of a later epoch makes a member look so long
SILENCE_MS = 3_000  # who hears too few of its own epoch for so long looks as well


def make_observer(host: Host) -> Observer:
    """From what is on the disk; it speaks if it is to join."""
    application = host.resume()
    custody = Custody(host.world.rules, host.key.public_key, host.disk.secrets)
    voice = Voice(key=host.key.public_key, sign=host.key.sign, custody=custody)
    return Observer(application, host.disk.gap(), voice)


class Reader:
    """What one host reads in one life."""

    def __init__(self, host: Host) -> None:
        self._host, self._life = host, host.life
        self._random = Random(f"{host.world.seed}/reading/{host.index}/{host.life}")
        self._hinted_ms = -HINT_MS
        self._heard: dict[int, int] = {}  # member of the own epoch -> when last
        host.world.agenda.after(self._random.randint(1, READ_MS), self._look)

    def hint(self) -> None:
        """A frame claims to be of a later epoch."""
        self._hinted_ms = self._host.world.now

    def heard(self, sender: int) -> None:
        """A member of the own epoch speaks."""
        self._heard[sender] = self._host.world.now

    def _look(self) -> None:
        host = self._host
        if host.life != self._life:
            return
        host.world.agenda.after(READ_MS, self._look)
        sources = [h for h in host.world.hosts if h is not host and h.alive]
        sources = [h for h in sources if host.world.network.connected(h.index, host.index)]
        if host.busy or not sources:
            return
        source = self._random.choice(sources)
        if isinstance(host.replica, Observer):
            self._follow(host.replica, source)
        elif self._is_alone(host.replica):
            self._learn(host.replica, source)

    def _is_alone(self, replica: CoordinatorReplica) -> bool:
        """Whether others are ahead by an epoch, or too few are there to decide anything."""
        now = self._host.world.now
        if now - self._hinted_ms < HINT_MS:
            return True
        present = 1 + sum(now - at < SILENCE_MS for at in self._heard.values())
        return now - self._host.born > SILENCE_MS and present < replica.members.strong

    def _follow(self, observer: Observer, source: Host) -> None:
        host, epoch = self._host, observer.state.epoch
        for entry in published(source, observer.state.sequence):
            effects = observer.take(entry)
            host.world.checkers.stepped(host, [])
            host.disk.write(Disk.keeps(effects))
            host.disk.sync()
            appends = [effect for effect in effects if isinstance(effect, Append)]
            host.world.checkers.synced(host, None, appends)
            host.settled = observer.state
            if observer.state.epoch != epoch:
                host.begin_anew()
                return
        for effect in observer.owed(host.world.now - host.born, host.wall_ms):
            match effect:
                case Say(request=request):
                    doors = [host.world.machines[key] for key in observer.state.membership.keys]
                    host.world.submit(self._random.choice(doors), request)
                case DrawSeed() | KeepSecrets():
                    host.keep_secrets(effect)
                case _:
                    pass

    def _learn(self, replica: CoordinatorReplica, source: Host) -> None:
        host = self._host
        over = replica.over  # what is read now may end the epoch: then it is on disk a look later
        for entry in published(source, replica.state.sequence):
            ordered = source_record(source, entry)
            if not over:
                host.post(Learned(ordered.sequence, ordered.batch, entry.proof))
                continue
            digest = batch_digest(ordered.batch)
            members = replica.state.membership
            verify_quorum_proof(entry.proof, members, ordered.sequence, digest)
            noted = host.disk.noted[replica.epoch]
            host.disk.noted[replica.epoch] = replace(noted, over=1)
            host.begin_anew()
            return


def published(source: Host, after: int) -> list[LogEntry]:
    """Ordered entries of a disk, the first behind batch `after`."""
    batches = source.disk.safe.batches[after : after + BATCHES_MAX]
    return [
        LogEntry(index=kept.first_index, leaf=encode_leaf(kept.records[0]), proof=kept.proof)
        for kept in batches
    ]


def source_record(source: Host, entry: LogEntry) -> Ordered:
    """The batch in an entry that `published` gave."""
    kept = next(k for k in source.disk.safe.batches if k.first_index == entry.index)
    ordered = kept.records[0]
    assert isinstance(ordered, Ordered)
    return ordered
