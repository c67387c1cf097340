"""The miner's edge: carries out what the session asks for, and tells it what came of it.

One event loop.  The session (miner/session.py) decides; the client (chain/federation/client.py)
asks the federation; the workshop (miner/workshop.py) trains; the stores keep what must survive.
"""

import asyncio
import logging
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from bft.codec.canonical import Record, encode
from bft.codec.envelope import seal
from bft.errors import FederationError, Unavailable
from bft.ordering.request import seal_request
from chain.federation.answers import ACCEPTED
from chain.federation.client import FederationClient
from chain.federation.contribution import fetch_contribution
from chain.federation.template import fetch_template
from chain.network import network_of
from chain.records.block import build_block, decode_block
from chain.records.certificate import decode_certificate
from chain.records.contribution import (
    Profile,
    StorageReceipt,
    UpdateCommitment,
    UpdateReveal,
    UploadAuthorization,
    commitment_digest,
)
from chain.records.contribution import Register as RegisterRecord
from chain.records.operations import encode_operation
from chain.rules.families.registry import segment_parameters
from chain.rules.reward import subsidy
from chain.validation import verify_certificate
from miner import actions
from miner.actions import Action, Event, Failed, Update
from miner.blocks import MadeBlocks
from miner.config import MinerHome
from miner.duties import Session
from miner.files import CertificateStore, EventFile, ModelCache, UnitStore
from miner.profile import load_profile, memory_bytes, save_profile
from miner.session import step
from miner.solving import finished
from miner.workshop import Progress, Workshop

POLL_MS_MIN = 250
POLL_MS_MAX = 5_000
POLLS_PER_PHASE = 16  # how often the shortest phase is looked at
NUMBER_USED = "executed-before"
LEAP_MS_FIRST = 60_000  # doubled with every leap
EVENTS_WAITING_MAX = 1_024
JITTER = 0.25  # of the interval, so that a thousand miners do not ask at once

Show = Callable[[str, Mapping[str, int | float | str]], None]

log = logging.getLogger("gristmill.miner")


class Agent:
    """One miner at work."""

    def __init__(
        self,
        home: MinerHome,
        client: FederationClient,
        workshop: Workshop,
        nodes: Sequence[str],
        show: Show | None = None,
    ) -> None:
        """`show` hears of every event."""
        self._show = show
        self._key, self._genesis, self._config = home.key, home.genesis, home.config
        self._path, self._network = home.path, network_of(home.genesis)
        self._client, self._workshop, self._nodes = client, workshop, nodes
        self._units, self._models = UnitStore(home.path), ModelCache(home.path)
        self._blocks = MadeBlocks(home.path)
        self._certificates, self._events = CertificateStore(home.path), EventFile(home.path)
        self._queue: asyncio.Queue[Event] = asyncio.Queue(EVENTS_WAITING_MAX)
        self._session = Session(miner=home.key.public_key)
        self._profile: Profile | None = None
        self._stopped = 0  # training of this cycle and those before is too late
        self._cseq, self._leap_ms = 0, LEAP_MS_FIRST

    async def run(self) -> None:
        """Mine until cancelled.

        Raises:
            Unavailable: the workshop has died; everything else is waited for.
        """
        self.tell("started", miner=self._key.public_key.hex())
        await self._queue.put(actions.Restored(self._units.restore()))
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._watch())
            while True:
                event = await self._queue.get()
                self._session, effects = step(self._session, event)
                for effect in effects:
                    self._take(effect, tasks)

    def tell(self, event: str, **fields: int | float | str) -> None:
        """One line for dashboards, one for the log."""
        self._events.write(event, fields)
        if self._show is not None:
            self._show(event, fields)
        if event != "training":
            log.info("%s %s", event, " ".join(f"{name}={fields[name]}" for name in fields))

    def _take(self, effect: actions.Effect, tasks: asyncio.TaskGroup) -> None:
        match effect:
            case actions.Report():
                self.tell(effect.event, **dict(effect.fields))
            case actions.StopTraining():
                self._stopped = max(self._stopped, effect.cycle)
                self._workshop.stop()
            case actions.Forget():
                self._units.forget(effect.cycle)
            case _:
                tasks.create_task(self._perform(effect))

    async def _watch(self) -> None:
        """The session's clock: where the federation stands, again and again."""
        params = self._genesis.params
        shortest_ms = min(params.registration_ms, params.reveal_ms, params.block_ms)
        poll_ms = min(POLL_MS_MAX, max(POLL_MS_MIN, shortest_ms // POLLS_PER_PHASE))
        silent = False
        while True:
            try:
                place = await self._client.position()
                await self._queue.put(actions.Seen(place.cycle, place.phase))
                silent = False
            except FederationError as error:
                if not silent:
                    self.tell("federation-silent", reason=str(error))
                silent = True
            wait_ms = poll_ms * (1 + JITTER * secrets.randbelow(1000) / 1000)
            await asyncio.sleep(wait_ms / 1000)

    async def _perform(self, action: Action) -> None:
        """Do it, and tell the session what came of it."""
        try:
            event = await self._event_of(action)
        except (FederationError, OSError) as error:
            if self._workshop.gone:
                raise Unavailable(
                    "the workshop has died; this miner must be started anew"
                ) from None
            event = Failed(action, str(error))
        await self._queue.put(event)

    async def _event_of(self, action: Action) -> Event:
        client, own = self._client, self._key.public_key
        match action:
            case actions.Register():
                record = RegisterRecord(cycle=action.cycle, profile=await self._measured_profile())
                return await self._ordered(action, record)
            case actions.FetchAssignment():
                return actions.AssignmentSeen(action, await client.assignment(action.cycle, own))
            case actions.Train():
                return await self._train(action)
            case actions.Commit():
                return await self._ordered(action, self._commitment(action.update))
            case actions.Upload():
                return await self._upload(action)
            case actions.Reveal():
                return await self._ordered(action, self._reveal(action))
            case actions.FetchScores():
                return actions.ScoresSeen(action, await client.scores(action.cycle, own))
            case actions.FetchCertificate():
                certificate, data = await client.certificate(action.cycle) or (None, b"")
                return actions.CertificateSeen(action, certificate, data)
            case actions.MakeBlock():
                return await self._make_block(action)
            case actions.KeepContribution():
                return await self._keep_contribution(action)

    # Requests.

    async def _ordered(
        self, action: actions.Register | actions.Commit | actions.Reveal, record: Record
    ) -> Event:
        """Have the record ordered, under a number that was not used before.

        Numbers are the wall clock's milliseconds, as for a client that lost its state.  Should
        they be too old, because the clock was set back, they leap ahead of it.
        """
        self._cseq = max(self._cseq + 1, time.time_ns() // 1_000_000)
        request = seal_request(
            self._genesis.chain_id,
            self._key.public_key,
            self._cseq,
            encode_operation(record),
            self._key.sign,
        )
        verdict = await self._client.submit(request)
        if verdict.code == NUMBER_USED:
            self._cseq += self._leap_ms
            self._leap_ms *= 2
            raise Unavailable(f"request number too old, trying newer ones: {verdict.text}")
        return actions.Answered(action, verdict.code, verdict.text)

    def _commitment(self, update: Update) -> UpdateCommitment:
        return UpdateCommitment(
            cycle=update.cycle,
            unit=update.unit,
            commitment=commitment_digest(
                self._genesis.chain_id,
                update.cycle,
                update.unit,
                self._key.public_key,
                update.digest,
                update.salt,
            ),
        )

    def _reveal(self, action: actions.Reveal) -> UpdateReveal:
        update = action.update
        return UpdateReveal(
            cycle=update.cycle,
            unit=update.unit,
            salt=update.salt,
            digest=update.digest,
            size=update.size,
            parameters=segment_parameters(self._genesis.job, update.segment),
            resources=update.resources,
            receipts=action.receipts,
        )

    async def _upload(self, action: actions.Upload) -> Event:
        update, key, chain_id = action.update, self._key, self._genesis.chain_id
        authorization = UploadAuthorization(
            chain_id=chain_id, cycle=update.cycle, digest=update.digest, size=update.size
        )
        receipt = StorageReceipt(
            chain_id=chain_id,
            cycle=update.cycle,
            miner=key.public_key,
            digest=update.digest,
            size=update.size,
        )
        sealed = seal(authorization, key.public_key, key.sign)
        receipts = await self._client.upload(self._units.read(update), sealed, receipt)
        return actions.Uploaded(action, receipts)

    # Training.

    async def _train(self, action: actions.Train) -> Event:
        """Keeps update and salt on disk before anybody hears of them."""
        base = await self._model(action.base)
        if action.cycle <= self._stopped:
            raise Unavailable(f"training of cycle {action.cycle} is over")
        cycle, unit = action.cycle, action.unit

        def tell(progress: Progress) -> None:
            self.tell(
                "training",
                cycle=cycle,
                unit=unit.unit,
                segment=unit.segment,
                step=progress.step,
                steps=progress.steps,
                loss=progress.loss,
            )

        target = self._units.bytes_path(cycle, unit.unit)
        digest, size, report = await self._workshop.train(
            base, target, action.seed, unit, tell, self._path / "feedback"
        )
        update = Update(
            cycle=cycle,
            unit=unit.unit,
            segment=unit.segment,
            salt=secrets.token_bytes(32),
            digest=digest,
            size=size,
            resources=report,
        )
        await asyncio.to_thread(self._units.keep, update)
        return actions.Trained(action, update)

    async def _model(self, digest: bytes) -> Path:
        """The snapshot as a file; fetched from whichever replica has it.  Raises Unavailable."""
        if not await asyncio.to_thread(self._models.holds, digest):
            await asyncio.to_thread(self._models.put, await self._client.blob(digest))
        return self._models.path(digest)

    async def _measured_profile(self) -> Profile:
        """Measured once for a job and a device; the file keeps it over restarts."""
        if self._profile is None:
            self._profile = load_profile(self._path, self._genesis.job, self._config.device)
        return self._profile or await self.measure()

    async def measure(self) -> Profile:
        """Measure this machine on the job's real segment, and keep the result."""
        base = await self._model(self._genesis.job.genesis_model)
        self._profile = Profile(
            device=self._config.device.encode(),
            capacity=await self._workshop.measure(base),
            memory_bytes=memory_bytes(),
        )
        save_profile(self._path, self._genesis.job, self._profile)
        self.tell("measured-capacity", capacity=self._profile.capacity)
        return self._profile

    # What a winner makes, and what everybody keeps.

    async def _make_block(self, action: actions.MakeBlock) -> Event:
        """Always the same block for the same certificate: two would be evidence against us."""
        certificate, _ = decode_certificate(action.certificate)
        block = self._blocks.find(action.certificate)
        if block is None:
            offer = await fetch_template(self._nodes, certificate.parent)
            block = build_block(
                action.certificate,
                time=certificate.not_before,
                subsidy=subsidy(certificate.height, self._genesis.params) + offer.fees,
                sign=self._key.sign,
                winner=self._key.public_key,
                transactions=offer.transactions,
                evidence=offer.evidence,
                profile=self._network,
            )
            self._blocks.keep(action.certificate, block)
        block = await finished(
            block,
            self._network,
            self._client.solve,
            partial(self._blocks.keep, action.certificate),
            lambda tried: self.tell("working", height=certificate.height, tried=tried),
            self._genesis.params.block_ms / 1000,
        )
        said = await self._client.offer_block(block, self._nodes)
        taken = [url for url in said if said[url].code == ACCEPTED]
        for url in said:
            if url not in taken:
                log.warning("%s refused our block: %s: %s", url, said[url].code, said[url].text)
        if sum(url in self._client.urls for url in taken) < self._client.weak:
            raise Unavailable(f"{len(taken)} replicas and nodes took the block; too few")
        block_hash = decode_block(block).hash
        return actions.BlockOffered(action, certificate.height, block_hash, len(taken))

    async def _keep_contribution(self, action: actions.KeepContribution) -> Event:
        """Verified as a stranger would, under the federation's key, before it is kept."""
        key = await self._client.federation_key()
        certificate = verify_certificate(action.certificate, key.key, self._genesis.chain_id)
        own = [row for row in action.scored.rows if row.miner == self._key.public_key]
        if action.scored.contributions_root != certificate.contributions_root:
            log.error("cycle %d: the scores are not those certified", certificate.cycle)
            return actions.ContributionKept(action, "")
        size, proven = await fetch_contribution(self._client, own, certificate)
        rows = [
            {
                "index": each.place,
                "row": encode(each.row).hex(),
                "proof": [sibling.hex() for sibling in each.proof],
                "tickets": each.row.tickets,
            }
            for each in proven
        ]
        document = {
            "cycle": certificate.cycle,
            "certificate": action.certificate.hex(),
            "federation_key": key.key.hex(),
            "contributions": size,
            "rows": rows,
        }
        name = await asyncio.to_thread(self._certificates.keep, certificate.cycle, document)
        return actions.ContributionKept(action, name)
