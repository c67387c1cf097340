"""The published log of one replica: its directory, its door, and, at a member, who publishes."""

from collections.abc import Sequence
from pathlib import Path

from aiohttp import web

from bft.codec.canonical import Record, encode
from bft.crypto.identity import PrivateKey
from bft.errors import ConfigError, DecodeError
from chain.records.federation import Genesis
from chain.records.score_log import Certified, CycleClosed
from chain.tlog.note import COSIGNATURE_V1, decode_vkey
from coordinator.epochs import Place
from coordinator.log_keys import LogSigners
from coordinator.service.index import LogIndex
from coordinator.service.log_files import GENESIS_FILE, LogDoor, LogFiles
from coordinator.service.log_publisher import Peer, Publisher
from coordinator.service.outflow import Outflow
from coordinator.service.standing import Standing
from coordinator.service.witness import Witness
from coordinator.service.work import Artifacts
from coordinator.settings import WitnessSettings


class Publication:
    """Serves what is published; publishes itself once it is a member's."""

    def __init__(self, path: Path, genesis: Genesis, index: LogIndex, answers_bytes: int) -> None:
        self._genesis, self._index = genesis, index
        self._files = LogFiles(path)
        self._files.write([(GENESIS_FILE, encode(genesis))])
        self._publisher: Publisher | None = None
        self._outflow = Outflow(answers_bytes)

    def join(
        self,
        place: Place,
        identity: PrivateKey,
        artifacts: Artifacts,
        standing: Standing,
        witnesses: Sequence[WitnessSettings] = (),
    ) -> None:
        """Be a member: cosign and publish.

        Args:
            artifacts: fetches from peers.
            standing: keeps the state, from which the federation's key is known.

        Raises:
            ConfigError: the key of a witness is none.
        """
        own, members = identity.public_key, place.epoch.members
        peers = [Peer(m.key, f"http://{m.api.decode('ascii')}") for m in members if m.key != own]

        def federation_key() -> bytes | None:
            made = standing.replica.state.federation_key
            return None if made is None else made.key

        self._publisher = Publisher(
            self._files,
            self._index,
            place.epoch.membership,
            LogSigners(self._genesis.chain_id, identity),
            peers,
            artifacts.fetch,
            federation_key,
            [_witness(each) for each in witnesses],
        )

    def routes(self) -> list[web.RouteDef]:
        """For the application."""
        return LogDoor(self._files, self._publisher, self._outflow).routes()

    def hear(self, record: Record) -> None:
        """The log has one more record."""
        if isinstance(record, CycleClosed | Certified) and self._publisher is not None:
            self._publisher.wake()

    async def run(self) -> None:
        """Until it is cancelled; at once over at a replica without a vote."""
        if self._publisher is not None:
            await self._publisher.run()


def _witness(settings: WitnessSettings) -> Witness:
    """Raises ConfigError."""
    try:
        verifier = decode_vkey(settings.vkey)
    except DecodeError as error:
        raise ConfigError(f"witnesses: {settings.url}: {error}") from None
    if verifier.kind != COSIGNATURE_V1:
        raise ConfigError(f"witnesses: {settings.vkey} is not of the type cosignature/v1 (04)")
    return Witness(settings.url, verifier)
