"""A node's heart: the deciding half and its store; what is decided is saved first."""

import asyncio
import fcntl
import secrets
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO

from bft.errors import ConfigError, DecodeError, Unavailable
from chain.gossip import Gossip
from chain.gossip_events import (
    Effect,
    Event,
    SaveBlock,
    SaveEvidence,
    SaveFinal,
    SaveFinality,
)
from chain.network import magic_of, network_of
from chain.node.config import NodeConfig, load_genesis, member_url, pinned_key
from chain.node.peers_file import PeersFile
from chain.node.showing import Showing
from chain.node.store import PRUNE_MIN, Store
from chain.peers.neighbours import Neighbourhood
from chain.records.evidence import Evidence
from chain.records.federation import FederationKey, MemberRecord
from chain.records.peer_message import SERVICES, SERVICES_NONE_OLD, SERVICES_PRUNED
from chain.snapshot.checking import HistoryCheck
from chain.tree import BlockTree
from chain.validation import genesis_view

USER_AGENT = b"/gristmill:1/"
_SAVED = SaveBlock | SaveFinal | SaveFinality | SaveEvidence


def unix_ms() -> int:
    """The clock of nodes, in milliseconds."""
    return time.time_ns() // 1_000_000


class NodeCore:
    """Genesis, key, store and Gossip of one home, which it holds alone."""

    def __init__(self, config: NodeConfig, now_ms: Callable[[], int]) -> None:
        """Opens home, lock and store.

        Raises:
            ConfigError: settings, genesis, key or store do not fit, or another node runs here.
        """
        self.config, self.now_ms = config, now_ms
        self.genesis = load_genesis(Path(config.genesis))
        self.chain_id = self.genesis.chain_id
        self.magic = magic_of(self.genesis)
        self.federation_key = pinned_key(config, self.chain_id)
        self._lock = take_lock(Path(config.home))
        try:
            self.store = Store(
                config.database,
                self.chain_id,
                genesis_view(self.genesis),
                prune=config.prune_blocks,
                indexes=config.indexes,
            )
        except ConfigError:
            self._lock.close()
            raise
        origin = self.store.origin
        if origin is not None and origin.validated is False:
            self.close()
            raise ConfigError(
                f"{config.database} began from a snapshot of block {origin.height} that is false: "
                "remove it, and do not trust again who gave you its digest"
            )
        self.history = (
            HistoryCheck(
                self.store,
                Path(config.home),
                genesis_view(self.genesis),
                self.genesis.params,
                lambda: (*config.history_from, *self.replicas),
            )
            if origin is not None and origin.validated is None and config.check_history
            else None
        )
        try:
            self.peers_file = PeersFile(Path(config.home), now_ms() // 1000)
        except ConfigError:
            self.close()
            raise
        tree, evidence, self.epochs = self._what_is_kept()
        self.services = self._services(tree.final.height)
        self.gossip = Gossip(
            chain_id=self.chain_id,
            federation_key=self.federation_key,
            params=self.genesis.params,
            tree=tree,
            nonce=secrets.randbits(64),
            user_agent=USER_AGENT,
            evidence=evidence,
            coins=self.store.coins,
            stored=self.store.block,
            services=self.services,
            neighbourhood=Neighbourhood(
                named=config.peers,
                automatic=config.discover,
                private=config.private,
                inbound_max=config.inbound_max,
                anchors=self.peers_file.anchors,
            ),
            book=self.peers_file.book,
            shuns=self.store.is_discouraged,
            profile=network_of(self.genesis),
        )
        self.showing = Showing(self.chain_id, self.genesis.params)
        self.replica_status: dict[str, str] = {url: "not asked yet" for url in self.replicas}
        self.addresses: dict[int, str] = {}  # of connected peers, by their numbers
        self._stepped = asyncio.Event()
        self._failure: BaseException | None = None

    def _what_is_kept(self) -> tuple[BlockTree, tuple[Evidence, ...], tuple[FederationKey, ...]]:
        """(tree, evidence, verified epochs from 0 on).  Raises ConfigError: the file is damaged."""
        try:
            return self.store.tree(), self.store.evidence(), self.store.epochs()
        except (sqlite3.Error, DecodeError, ConfigError) as error:
            self.close()
            raise ConfigError(f"{self.config.database}: {error}") from None

    @property
    def pruned(self) -> bool:
        """Whether old blocks are not here, or not for long."""
        return bool(self.config.prune_blocks) or self.store.pruned_height > 0

    def _services(self, final_height: int) -> int:
        """What it can promise other nodes as long as it runs."""
        if not self.pruned:
            return SERVICES
        missing = self.store.pruned_height
        has_newest = not missing or final_height - missing >= PRUNE_MIN
        return SERVICES_PRUNED if has_newest else SERVICES_NONE_OLD

    @property
    def tree(self) -> BlockTree:
        """What this node holds for true."""
        return self.gossip.intake.tree

    def step(self, event: Event, carry_out: Callable[[Effect], None]) -> None:
        """One step of Gossip, saved, then carried out.

        Raises:
            DecodeError, Refused: what was submitted is not valid.
            Unavailable: the disk failed; the node stops rather than forgets.
        """
        if self._failure is not None:
            raise Unavailable("this node has stopped")
        try:
            effects = self.gossip.step(event, self.now_ms())
            saved = [effect for effect in effects if isinstance(effect, _SAVED)]
            if saved:
                self.store.save(saved)
        except sqlite3.Error as error:
            raise self._lost(error) from None
        for effect in effects:
            carry_out(effect)
        self._stepped.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Waits until a step makes `condition` hold.  Raises what stopped the node."""
        while not condition():
            if self._failure is not None:
                raise self._failure
            self._stepped.clear()
            await self._stepped.wait()

    @property
    def members(self) -> tuple[MemberRecord, ...]:
        """The federation's present members, as far as this node knows."""
        return self.epochs[-1].members if self.epochs else self.genesis.members

    @property
    def replicas(self) -> tuple[str, ...]:
        """URLs of the replicas that are asked: those of the settings, and members if wanted."""
        asked = self.config.replicas
        if self.config.ask_members:
            asked += tuple(member_url(member.api) for member in self.members)
        return tuple(dict.fromkeys(asked))

    def enter_epochs(self, epochs: tuple[FederationKey, ...]) -> None:
        """All epochs that are known now, verified.  Raises Unavailable: the disk failed."""
        try:
            self.store.save_epochs(epochs)
        except sqlite3.Error as error:
            raise self._lost(error) from None
        self.epochs = epochs
        for url in self.replicas:
            self.replica_status.setdefault(url, "not asked yet")
        for url in set(self.replica_status) - set(self.replicas):
            del self.replica_status[url]  # whoever left the federation is not asked any more
        self._stepped.set()

    def note_replica(self, url: str, text: str) -> None:
        """How the replica at `url` does."""
        self.replica_status[url] = text
        self._stepped.set()

    @property
    def failed(self) -> bool:
        """A bug or the disk stopped this node; `until` raises the reason."""
        return self._failure is not None

    def fail(self, error: BaseException) -> None:
        """No further step; the first reason stays."""
        found = self._unusable(error) if isinstance(error, sqlite3.Error) else error
        self._failure = self._failure or found
        self._stepped.set()

    def _lost(self, error: sqlite3.Error) -> Unavailable:
        found = self._unusable(error)
        self.fail(found)
        return found

    def _unusable(self, error: sqlite3.Error) -> Unavailable:
        return Unavailable(f"the store {self.config.database} cannot be used: {error}")

    def close(self) -> None:
        """The home may be opened again."""
        self.store.close()
        self._lock.close()


def take_lock(home: Path) -> IO[str]:
    """An open file whose lock ends with the process.  Raises ConfigError: it is taken."""
    try:
        home.mkdir(parents=True, exist_ok=True)
        lock = (home / "node.lock").open("w")
    except OSError as error:
        raise ConfigError(f"{home}: {error.strerror}") from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        lock.close()
        raise ConfigError(f"{home}: another node runs in this home") from None
    return lock
