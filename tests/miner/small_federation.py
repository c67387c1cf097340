"""A federation without consensus: the real cycle machine behind four real HTTP doors.

One sequencer orders what comes in; each of the four replicas does its duties with its own keys:
key generation, shares, measurements with torch, the outer step, votes for blocks.  What is missing
is the network between the replicas, which no client can see.  Clocks are the test's: a phase runs
out when the test says so.
"""

import json
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from aiohttp import web

from bft.codec.canonical import Record, encode
from bft.codec.envelope import open_as, seal
from bft.crypto.hashing import sha256
from bft.crypto.identity import PrivateKey
from bft.crypto.threshold import sign_share
from bft.dkg import participant
from bft.dkg.secrets import for_session
from bft.errors import DecodeError, FederationError, Refused
from bft.ordering.batch import Batch
from bft.ordering.request import open_request, seal_request
from bft.pbft.clients import ClientTable
from chain.federation import api
from chain.params import MINIMAL
from chain.records.contribution import StorageReceipt, UploadAuthorization
from chain.records.evaluation import EvaluationTable, SnapshotVote
from chain.records.federation import Genesis, MemberRecord
from chain.records.operations import encode_operation
from chain.records.phase import Phase
from chain.records.score_log import Assigned, Certified, CycleClosed, Scored
from chain.records.votes import BlockSeen, Elapsed, SignatureShare
from chain.rules.aggregation import Scored as ScoredUpdate
from chain.rules.families.registry import heldout_predictions
from chain.validation import ParentView, validate_block
from coordinator.cycle import duties
from coordinator.cycle.machine import Answer, execute
from coordinator.cycle.state import Rules, opening_state
from coordinator.evaluation.evaluator import batches, candidates, evaluate
from coordinator.evaluation.stepping import make_models
from coordinator.service.parts import AssignedParts, ScoredParts
from miner.training.jobs import digits_job
from tests.chain.federation_fixture import key_of

REPLICAS = 4
JOB, SNAPSHOT = digits_job()
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def member_key(index: int) -> PrivateKey:
    """Replica `index`'s identity."""
    return key_of(f"replica {index}")


def make_genesis() -> Genesis:
    """Four members on the real job, with cycles of seconds."""
    members = tuple(
        MemberRecord(
            operator=b"operator %d" % index,
            key=member_key(index).public_key,
            tls_certificate=bytes(64),
            link=b"127.0.0.1:1",
            api=b"127.0.0.1:2",
        )
        for index in range(REPLICAS)
    )
    return Genesis(
        version=1,
        name=b"small",
        created_ms=1_800_000_000_000,
        params=MINIMAL,
        job=JOB,
        members=members,
    )


class SmallFederation:
    """The state that all four replicas share, and what each of them does with it."""

    def __init__(self) -> None:
        self.genesis = make_genesis()
        self.rules = Rules(self.genesis)
        self.state = opening_state(self.rules)
        self.log: list[Record] = []
        self.blobs: dict[bytes, bytes] = {sha256(SNAPSHOT): SNAPSHOT}
        self.blocks: dict[tuple[int, int], bytes] = {}  # (cycle, rank) -> first valid block
        self.accepted: set[bytes] = set()  # requests of miners
        self.held = False  # no block is taken, as by replicas that are behind
        self._clients = ClientTable()
        self._cseq = 0
        self._now_ms = self.genesis.created_ms

    def found(self, kind: type[Record], cycle: int) -> Record | None:
        """The newest log record of this kind and cycle."""
        for record in reversed(self.log):
            if isinstance(record, kind) and getattr(record, "cycle", cycle) == cycle:
                return record
        return None

    # Ordering.

    def order(self, sealed: bytes) -> Answer:
        """Execute one request now; then every replica does what it owes."""
        answer = self._execute(sealed)
        self.work()
        return answer

    def _execute(self, sealed: bytes) -> Answer:
        self._now_ms += 1_000
        batch = encode(Batch(timestamp_ms=self._now_ms, requests=(sealed,)))
        executed = execute(self.rules, self.state, self._clients, self.state.sequence + 1, batch)
        self.state = executed.state
        self.log += executed.records
        return executed.answers[0]

    def mark(self, client: bytes, cseq: int) -> None:
        """As if this client's request with this number had been executed."""
        self._clients.mark(client, cseq, self.state.sequence)

    def say(self, index: int, operation: Record) -> Answer:
        """Replica `index` has an operation ordered."""
        key = member_key(index)
        self._cseq += 1
        sealed = seal_request(
            self.rules.chain_id,
            key.public_key,
            self._cseq,
            encode_operation(operation),
            key.sign,
        )
        return self._execute(sealed)

    def work(self) -> None:
        """All replicas do their duties, those that wait for clocks and blocks excepted."""
        while any(self._work_once(index) for index in range(REPLICAS)):
            pass

    def _work_once(self, index: int) -> bool:
        said = False
        for duty in duties.duties(self.rules, self.state, index):
            for operation in self._operations(index, duty):
                said |= self.say(index, operation).code == "accepted"
        return said

    def _operations(self, index: int, duty: duties.Duty) -> tuple[Record, ...]:
        if duty not in duties.duties(self.rules, self.state, index):
            return ()  # what another duty led to
        secrets = for_session(self.state.transcript.session, sha256(b"seed %d" % index))
        match duty:
            case duties.Ceremony():
                return participant.owed(self.state.transcript, index, index, secrets)
            case duties.Sign():
                asked = duty.asked
                share = participant.key_share(self.state.transcript, index, secrets)
                return (
                    SignatureShare(
                        purpose=asked.purpose,
                        subject=asked.subject,
                        rank=asked.rank,
                        epoch=asked.epoch,
                        share=sign_share(share, asked.message),
                    ),
                )
            case duties.Measure():
                return (self._table(duty.cycle),)
            case duties.Step():
                return (self._vote(duty.cycle),)
            case duties.Witness():
                block = self.blocks.get((duty.cycle, duty.rank))
                if block is not None:
                    return (BlockSeen(cycle=duty.cycle, rank=duty.rank, header=block[:80]),)
        return ()

    def _table(self, cycle: int) -> EvaluationTable:
        job = duties.measurement(self.rules, self.state)
        rows = evaluate(
            self.rules.job,
            self.rules.params,
            self.blobs[job.base],
            candidates(job, [self.blobs.get(reveal.digest) for _, reveal in job.candidates]),
            batches(job),
        )
        return EvaluationTable(cycle=cycle, rows=rows)

    def _vote(self, cycle: int) -> SnapshotVote:
        step = duties.outer_step(self.rules, self.state)
        updates = [
            ScoredUpdate(row, partial(self.blobs.__getitem__, reveal.digest))
            for row, reveal in step.updates
        ]
        job = self.rules.job
        snapshots, models = make_models(
            job, self.blobs[step.base], updates, step.randomness, step.challenge
        )
        self.blobs.update({sha256(snapshot): snapshot for snapshot in snapshots})
        return SnapshotVote(cycle=cycle, models=models, records=heldout_predictions(job))

    def run_out(self, phase: Phase) -> None:
        """`weak` clocks say that this phase had its time; the replicas go on."""
        assert self.state.phase == phase, f"the cycle is in {Phase(self.state.phase).name}"
        here = Elapsed(cycle=self.state.cycle, phase=phase, attempt=self.state.attempt)
        for index in range(self.rules.genesis.membership.weak):
            assert self.say(index, here).code == "accepted"
        self.work()

    def offer(self, data: bytes) -> None:
        """Check a block as each replica does, and vote for it.  Raises as `validate_block`."""
        state = self.state
        if state.phase != Phase.BLOCK or self.held:
            raise Refused("no-block-due", f"the cycle is in {Phase(state.phase).name}")
        assert state.federation_key is not None
        parent = ParentView(hash=state.tip.hash, height=state.tip.height, time=state.tip.time)
        block = validate_block(
            data, state.federation_key.key, self.rules.chain_id, self.rules.params, parent
        )
        self.blocks.setdefault((state.cycle, state.rank), block.data)
        self.work()

    def closed(self, cycle: int) -> bool:
        """Whether the cycle is over."""
        return self.found(CycleClosed, cycle) is not None


class Door:
    """Replica `index`'s HTTP server, as coordinator/service answers."""

    def __init__(self, federation: SmallFederation, index: int) -> None:
        self._federation, self._index = federation, index
        self.down = False  # answers nothing but 503

    def application(self) -> web.Application:
        """Its routes."""
        app = web.Application(client_max_size=4 * 1024 * 1024, middlewares=[self._errors])
        app.add_routes(
            [
                web.get(api.STATUS, self._status),
                web.get(api.FEDERATION_KEY, self._record(lambda _: self._key())),
                web.get(api.ASSIGNMENT, self._record(self._of(Assigned))),
                web.get(api.SCORES, self._record(self._of(Scored))),
                web.get(api.ASSIGNED_UNITS, self._part(Assigned, AssignedParts)),
                web.get(api.SCORED_UNITS, self._part(Scored, ScoredParts)),
                web.get(api.CONTRIBUTION, self._contribution),
                web.get(api.CERTIFICATE, self._certificate),
                web.get(api.BLOBS, self._get_blob),
                web.put(api.BLOBS, self._put_blob),
                web.post(api.REQUESTS, self._post_request),
                web.post(api.BLOCKS, self._post_block),
            ]
        )
        return app

    @web.middleware
    async def _errors(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if self.down:
            return _problem(503, "unavailable", "down")
        try:
            return await handler(request)
        except Refused as error:
            return _problem(404 if error.code == "not-found" else 409, error.code, str(error))
        except DecodeError as error:
            return _problem(400, "malformed", str(error))
        except FederationError as error:
            return _problem(500, "internal", str(error))

    async def _status(self, request: web.Request) -> web.Response:
        state = self._federation.state
        shown = {
            "replica": self._index,
            "cycle": state.cycle,
            "phase": Phase(state.phase).name,
            "height": state.tip.height,
            "view": 0,
            "model": state.model.hex(),
        }
        return web.json_response(shown)

    def _key(self) -> Record | None:
        return self._federation.state.federation_key

    def _of(self, kind: type[Record]) -> Callable[[web.Request], Record | None]:
        return lambda request: self._federation.found(kind, int(request.match_info["cycle"]))

    def _record(self, find: Callable[[web.Request], Record | None]) -> Handler:
        async def get(request: web.Request) -> web.Response:
            record = find(request)
            if record is None:
                raise Refused("not-found", "none yet")
            return web.Response(body=encode(record), content_type=api.OCTETS)

        return get

    def _part(self, kind: type[Record], sort: Callable[[Any], Any]) -> Handler:
        def find(request: web.Request) -> Record | None:
            record = self._of(kind)(request)
            miner = bytes.fromhex(request.match_info["miner"])
            return None if record is None else sort(record).of(miner)

        return self._record(find)

    async def _contribution(self, request: web.Request) -> web.Response:
        scored = self._of(Scored)(request)
        assert isinstance(scored, Scored)
        parts = ScoredParts(scored)
        rows = [
            {
                "index": index,
                "row": parts.leaves[index].hex(),
                "proof": [sibling.hex() for sibling in parts.proof(index)],
            }
            for index in parts.indices(bytes.fromhex(request.match_info["miner"]))
        ]
        return web.json_response({"size": len(parts.leaves), "rows": rows})

    async def _certificate(self, request: web.Request) -> web.Response:
        wanted = int(request.match_info["cycle"])
        for record in reversed(self._federation.log):
            if isinstance(record, Certified):
                cycle = int.from_bytes(record.certificate[37:45], "little")
                if cycle == wanted:
                    return web.Response(body=record.certificate, content_type=api.OCTETS)
        raise Refused("not-found", "no certificate yet")

    async def _get_blob(self, request: web.Request) -> web.Response:
        data = self._federation.blobs.get(bytes.fromhex(request.match_info["digest"]))
        if data is None:
            raise Refused("not-found", "no such blob")
        return web.Response(body=data, content_type=api.OCTETS)

    async def _put_blob(self, request: web.Request) -> web.Response:
        sealed = bytes.fromhex(request.headers[api.UPLOAD_HEADER])
        miner, asked = open_as(UploadAuthorization, sealed)
        data = await request.read()
        state = self._federation.state
        if (state.phase, state.cycle) != (Phase.REVEAL, asked.cycle):
            raise Refused("wrong-phase", f"the cycle is in {Phase(state.phase).name}")
        if sha256(data) != asked.digest or len(data) != asked.size:
            raise DecodeError("other bytes came than were authorized")
        self._federation.blobs[asked.digest] = data
        receipt = StorageReceipt(
            chain_id=asked.chain_id,
            cycle=asked.cycle,
            miner=miner,
            digest=asked.digest,
            size=asked.size,
        )
        key = member_key(self._index)
        return web.Response(status=201, body=seal(receipt, key.public_key, key.sign))

    async def _post_request(self, request: web.Request) -> web.Response:
        sealed = await request.read()
        open_request(sealed, self._federation.rules.chain_id)
        answer = self._federation.order(sealed)
        by_another_door = sealed in self._federation.accepted and answer.code == "executed-before"
        if answer.code != "accepted" and not by_another_door:
            return _problem(409, answer.code, answer.text)
        self._federation.accepted.add(sealed)
        return web.json_response({"code": "accepted", "text": ""})

    async def _post_block(self, request: web.Request) -> web.Response:
        block = await request.read()
        if block not in self._federation.blocks.values():
            self._federation.offer(block)
        return web.json_response({}, status=202)


def _problem(status: int, code: str, detail: str) -> web.Response:
    body = {"type": "about:blank", "status": status, "code": code, "detail": detail}
    return web.Response(status=status, body=json.dumps(body).encode(), content_type=api.PROBLEM)


class Doors:
    """All four servers on loopback ports that the system chooses."""

    def __init__(self, federation: SmallFederation) -> None:
        self.doors = [Door(federation, index) for index in range(REPLICAS)]
        self.urls: list[str] = []
        self._runners: list[web.AppRunner] = []

    async def __aenter__(self) -> "Doors":
        for door in self.doors:
            runner = web.AppRunner(door.application(), access_log=None)
            await runner.setup()
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            host, port = runner.addresses[0][:2]
            self.urls.append(f"http://{host}:{port}")
            self._runners.append(runner)
        return self

    async def __aexit__(self, *_: object) -> None:
        for runner in self._runners:
            await runner.cleanup()
