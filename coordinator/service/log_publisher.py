"""Publishes the score log as tiles, under checkpoints that a strong quorum of members cosigned.

There is a point to sign where a certificate was made (its size and root stand in it, so it goes
under the checkpoint as the federation's own line) and where a cycle was closed.  Members reach the
same points; each says for itself that its log has this root there, and whoever publishes asks all.
Nothing here needs consensus: what is published, stands in the log already.
"""

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from bft.codec.canonical import decode
from bft.errors import DecodeError, FederationError
from bft.membership import Membership
from chain.federation.api import LOG_FILES
from chain.records.certificate import decode_certificate
from chain.records.score_log import (
    ENTRY_BYTES_MAX,
    Certified,
    CycleClosed,
    Leaf,
    LogEntry,
    decode_leaf,
)
from chain.tlog.checkpoint import (
    Checkpoint,
    certificate_line,
    cosign,
    decode_checkpoint,
    log_origin,
    note_of,
    sign,
    verify_line,
)
from chain.tlog.keys import STATEMENT_BYTES_MAX, LogKeys, open_keys
from chain.tlog.note import Line, Note, decode_lines, decode_note, merged
from chain.tlog.tiles import CERTIFIED, CHECKPOINT, SERVED, File, Hashes, TileTree
from coordinator.log_keys import LogSigners
from coordinator.service.witness import Witness

ROOTS_KEPT = 4_096  # entries behind the newest at which a certificate's root is compared
POINTS_KEPT = 64  # the newest; others may still ask for our word on them
LINE_BYTES_MAX = 1024
GATHER_S = 20.0  # for a strong quorum, before the next point has its turn
ROUND_S = 0.25  # between two rounds through those who have not signed; doubles up to
ROUND_S_MAX = 2.0
GRACE_S = 2.0  # for the others, once a strong quorum has signed
PAUSE_S = 1.0  # between two publications
POLL_S = 30.0  # without news
PUBLICATIONS_KEPT = 3  # whose partial files stay for those who are reading them

log = logging.getLogger("gristmill.log")

Fetch = Callable[[str, int], Awaitable[bytes | None]]
"""(URL, bytes at most) -> the body, or None."""


class Files(Protocol):
    """The directory; see coordinator/service/log_files.py."""

    def read(self, name: str) -> bytes:
        """Raises DecodeError: it is not there."""

    def write(self, files: Iterable[File]) -> None:
        """Each whole and synced."""

    def sweep(self, kept: Iterable[str]) -> int:
        """Delete partial files other than these."""


class Entries(Protocol):
    """The log; see coordinator/service/index.py."""

    async def entries(self, first: int) -> tuple[LogEntry, ...]:
        """From `first` on, as many as fit."""


@dataclass(frozen=True, slots=True)
class Point:
    """A size at which the log is signed for."""

    size: int
    root: bytes
    certificate: bytes = b""  # that names this size and root, if one does


@dataclass(frozen=True, slots=True)
class Peer:
    """Another member."""

    key: bytes
    url: str


class Publisher:
    """One replica's publication of the log."""

    def __init__(
        self,
        files: Files,
        entries: Entries,
        membership: Membership,
        signers: LogSigners,
        peers: Sequence[Peer],
        fetch: Fetch,
        federation_key: Callable[[], bytes | None],
        witnesses: Sequence[Witness] = (),
    ) -> None:
        """Args:
        peers: the other members of `membership`.
        federation_key: 96 bytes, None before activation.
        witnesses: outside the federation; their lines stand under checkpoints when they give them.
        """
        self._witnesses = tuple(witnesses)
        self._files, self._entries, self._membership = files, entries, membership
        self._signers, self._peers, self._fetch = signers, peers, fetch
        self._federation_key = federation_key
        self._origin = log_origin(membership.chain_id)
        self._tree = TileTree()
        self._points: OrderedDict[int, Point] = OrderedDict()
        self._roots: OrderedDict[int, bytes] = OrderedDict()
        self._stated: dict[bytes, LogKeys] = {}
        self._grown = asyncio.Event()
        self._partial: list[list[str]] = []  # of the newest publications
        self._partial_certified: list[str] = []
        self.published = 0  # entries under the newest checkpoint
        self._certified = 0

    def wake(self) -> None:
        """There may be a new point."""
        self._grown.set()

    def cosignature(self, size: int) -> Line | None:
        """Our word that the log had this root at a point; None where we know of no point."""
        point = self._points.get(size)
        if point is None:
            return None
        checkpoint = Checkpoint(self._origin, point.size, point.root)
        return cosign(checkpoint, self._signers.cosigner, int(time.time()))

    async def run(self) -> None:
        """Until it is cancelled."""
        await asyncio.to_thread(self.open)
        while True:
            self._grown.clear()
            try:
                await self.publish()
            except (FederationError, OSError) as error:
                log.error("the log cannot be published: %s", error)
            await asyncio.sleep(PAUSE_S)
            try:
                async with asyncio.timeout(POLL_S):
                    await self._grown.wait()
            except TimeoutError:
                pass

    def open(self) -> None:
        """Go on from the newest checkpoint that is published; from nothing if it is damaged."""
        own = f"keys/{self._signers.keys.replica.hex()}"
        self._files.write([(own, self._signers.statement)])
        try:
            note = decode_note(self._files.read(CHECKPOINT))
            checkpoint = decode_checkpoint(note.text)
            tree = TileTree.load(checkpoint.size, self._files.read)
            if checkpoint.origin == self._origin and tree.root() == checkpoint.root:
                self._tree, self.published = tree, checkpoint.size
                kept = [path for path, _ in tree.partial()]
                self._partial.append(kept)
                self._files.sweep(kept)
        except DecodeError as error:
            log.info("the log is published from its beginning: %s", error)

    async def publish(self) -> None:
        """Write new tiles, then the checkpoints that are due."""
        await self.build()
        newest = [point for point in self._points.values() if point.certificate][-1:]
        newest += list(self._points.values())[-1:]
        for point in newest:
            late = point.size <= (self._certified if point.certificate else self.published)
            if not late and (point.size > self.published or point.certificate):
                await self._publish(point)

    async def build(self) -> None:
        """Files for everything that the log holds by now, and the points in it."""
        while entries := await self._entries.entries(self._tree.size):
            await asyncio.to_thread(self._append, entries)

    def _append(self, entries: tuple[LogEntry, ...]) -> None:
        for entry in entries:
            self._files.write(self._tree.append(entry.leaf, entry.proof))
            self._roots[self._tree.size] = self._tree.root()
            if len(self._roots) > ROOTS_KEPT:
                self._roots.popitem(last=False)
            point = self._point(entry)
            if point is not None:
                self._points[point.size] = point
                while len(self._points) > POINTS_KEPT:
                    self._points.popitem(last=False)

    def _point(self, entry: LogEntry) -> Point | None:
        """Where this entry of our own log asks for signatures."""
        tag = decode(Leaf, entry.leaf, bytes_max=ENTRY_BYTES_MAX).tag
        if tag == CycleClosed.TAG.encode():
            return Point(self._tree.size, self._tree.root())
        if tag != Certified.TAG.encode():
            return None
        record = decode_leaf(entry.leaf)
        assert isinstance(record, Certified)
        named, _ = decode_certificate(record.certificate)
        if self._roots.get(named.log_size) != named.log_root:
            if named.log_size in self._roots:
                log.error("the log here is not the one of cycle %d's certificate", named.cycle)
            return None
        return Point(named.log_size, named.log_root, record.certificate)

    async def _publish(self, point: Point) -> None:
        checkpoint = Checkpoint(self._origin, point.size, point.root)
        cosigned = await self._gather(checkpoint)
        if len(cosigned) < self._membership.strong:
            log.warning(
                "%d of %d members cosigned the log at %d entries; %d are needed",
                *(len(cosigned), self._membership.n, point.size, self._membership.strong),
            )
            return
        lines = [sign(checkpoint, self._signers.publisher)]
        lines += [cosigned[key] for key in self._membership.keys if key in cosigned]
        key = self._federation_key()
        if point.certificate and key is not None:
            lines.append(certificate_line(self._origin, key, point.certificate))
        note = note_of(checkpoint, *lines)
        await asyncio.to_thread(self._write, point, note.encode())
        if self._witnesses:
            await self._witness(point, checkpoint, note)

    async def _witness(self, point: Point, checkpoint: Checkpoint, note: Note) -> None:
        """Have those outside sign as well; the checkpoint stands without them."""
        hashes = Hashes(checkpoint.size, self._files.read)
        lines = []
        for witness in self._witnesses:
            line = await witness.cosign(checkpoint, note, hashes.consistency)
            if line is not None:
                lines.append(line)
        if lines:
            signed = Note(note.text, merged(note.lines, lines))
            await asyncio.to_thread(self._files.write, self._heads(point, signed.encode()))

    def _write(self, point: Point, note: bytes) -> None:
        """Tiles first, then what names them; older partial files go, but for the last ones."""
        partial = self._tree.partial_at(point.size, self._files.read)
        self._files.write(partial)
        if point.certificate:
            self._certified = point.size
            self._partial_certified = [path for path, _ in partial]
        self.published = max(self.published, point.size)
        self._files.write(self._heads(point, note))
        self._partial = [*self._partial[-PUBLICATIONS_KEPT:], [path for path, _ in partial]]
        kept = [*self._partial, self._partial_certified]
        self._files.sweep(path for paths in kept for path in paths)

    def _heads(self, point: Point, note: bytes) -> list[File]:
        """The files that a checkpoint goes to."""
        heads = [(CERTIFIED, note)] if point.certificate else []
        return [*heads, (CHECKPOINT, note)] if point.size >= self.published else heads

    async def _gather(self, checkpoint: Checkpoint) -> dict[bytes, Line]:
        """Cosignatures by identity key: ours, and those that come in time."""
        own = cosign(checkpoint, self._signers.cosigner, int(time.time()))
        found, loop = {self._signers.keys.replica: own}, asyncio.get_running_loop()
        end, pause = loop.time() + GATHER_S, ROUND_S
        while True:
            waited = [peer for peer in self._peers if peer.key not in found]
            lines = await asyncio.gather(*(self._ask(peer, checkpoint) for peer in waited))
            found |= {p.key: line for p, line in zip(waited, lines, strict=True) if line}
            if len(found) >= self._membership.strong:
                end = min(end, loop.time() + GRACE_S)
            if len(found) == self._membership.n or loop.time() >= end:
                return found
            await asyncio.sleep(pause)
            pause = min(2 * pause, ROUND_S_MAX)

    async def _ask(self, peer: Peer, checkpoint: Checkpoint) -> Line | None:
        """One member's cosignature, verified, or None."""
        keys = await self._keys(peer)
        data = keys and await self._fetch(
            f"{peer.url}{LOG_FILES}/cosignatures/{checkpoint.size}", LINE_BYTES_MAX
        )
        if keys is None or not data:
            return None
        try:
            (line,) = decode_lines(data.decode())
            verify_line(checkpoint, line, keys.cosigner)
        except (DecodeError, ValueError) as error:
            log.warning(
                "%s signs for another log at %d entries: %s", peer.url, checkpoint.size, error
            )
            return None
        return line

    async def _keys(self, peer: Peer) -> LogKeys | None:
        """Which keys a member says it has, by its own signature."""
        if peer.key not in self._stated:
            name = f"keys/{peer.key.hex()}"
            assert SERVED.fullmatch(name)
            data = await self._fetch(f"{peer.url}{LOG_FILES}/{name}", STATEMENT_BYTES_MAX)
            if data is None:
                return None
            try:
                self._stated[peer.key] = open_keys(data, self._membership.chain_id, peer.key)
            except DecodeError as error:
                log.warning("%s: %s", peer.url, error)
                return None
            await asyncio.to_thread(self._files.write, [(name, data)])
        return self._stated[peer.key]
