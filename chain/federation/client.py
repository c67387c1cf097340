"""A client of the federation: asks replicas in turn, believes f + 1 of them or a signature.

No answer of one replica is trusted by itself.  What the federation signed is verified under its
key; bytes named by their digest are hashed; everything else counts when `weak` (f + 1) replicas
give it alike, for one of them is correct.  Requests go to `weak` replicas at once, so a censoring
replica is never the only one that holds them.  Whom to ask next stands in panel.py.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from types import TracebackType
from typing import TypeVar

from bft.codec.canonical import decode
from bft.codec.envelope import open_as
from bft.crypto import bls
from bft.crypto.hashing import sha256
from bft.errors import ConfigError, DecodeError, FederationError, Refused, Unavailable
from chain.federation import api
from chain.federation.answers import (
    ACCEPTED,
    Position,
    ReplicaStatus,
    Verdict,
    read_json,
    read_verdict,
)
from chain.federation.members import newest_epochs
from chain.federation.panel import Panel, gather_enough
from chain.federation.receipts import Signed, concluded, read_receipt
from chain.federation.solving import solve
from chain.federation.transport import (
    EXCHANGE_S,
    JSON_BYTES_MAX,
    Reply,
    Transport,
    base_url,
    refusal,
)
from chain.federation.uploading import send_in_chunks, send_whole
from chain.records.certificate import CERTIFICATE_BYTES, BlockCertificate
from chain.records.contribution import StorageReceipt
from chain.records.federation import FEDERATION_KEY_BYTES_MAX, FederationKey, Genesis
from chain.records.profile import Profile
from chain.records.score_log import ENTRY_BYTES_MAX, Assigned, Scored
from chain.rules.limits import RECEIPT_BYTES_MAX
from chain.validation import verify_certificate

BLOB_S = 120.0  # for a download
BLOB_HEDGE_S = 15.0
FOLLOW_S = 30.0  # between two questions who the members are
RECEIPTS_GRACE_S = 0.5  # with enough receipts in hand, wait so long for the rest
SNAPSHOT_BYTES_MAX = 256 * 1024 * 1024
ABSENT = b""  # an answer 404: no record has the empty encoding

T = TypeVar("T")


class FederationClient:
    """Use as an async context manager, in one event loop."""

    def __init__(self, genesis: Genesis, urls: Sequence[str] = ()) -> None:
        """Talk to the replicas at `urls`, one each; without any, to the members as they change.

        Raises:
            ConfigError: a malformed address, or fewer than `weak` different ones.
        """
        self._genesis, self._chain_id = genesis, genesis.chain_id
        self._membership = genesis.membership
        given = urls or [f"http://{member.api.decode()}" for member in genesis.members]
        self._urls = tuple(dict.fromkeys(base_url(url) for url in given))
        if len(self._urls) < self._membership.weak:
            raise ConfigError(
                f"{len(self._urls)} replica addresses came; {self._membership.weak} different "
                "ones are needed, because one replica alone proves nothing"
            )
        self._panel = Panel(self._urls)
        self._follows, self._followed_s = not urls, -FOLLOW_S
        self._epochs: tuple[FederationKey, ...] = ()
        self._key: FederationKey | None = None
        self._transport = Transport()

    async def __aenter__(self) -> "FederationClient":
        await self._transport.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._transport.__aexit__(kind, error, trace)

    @property
    def urls(self) -> tuple[str, ...]:
        """The replicas' addresses."""
        return self._urls

    @property
    def weak(self) -> int:
        """How many replicas have to say the same: f + 1 of the present members."""
        return self._membership.weak

    async def follow(self) -> int:
        """Go on with the members of the newest epoch that a replica can prove; its number.

        Raises:
            Unavailable, DecodeError: see `federation_key`.
        """
        key = (await self.federation_key()).key
        self._epochs = await newest_epochs(self._genesis, key, self._epochs, self._urls, self._get)
        if self._epochs and self._epochs[-1].epoch > self._membership.epoch:
            newest = self._epochs[-1]
            self._membership = newest.membership
            if self._follows:
                told = (base_url(f"http://{member.api.decode()}") for member in newest.members)
                self._urls = tuple(dict.fromkeys(told))
                self._panel = Panel(self._urls)
        return self._membership.epoch

    async def _follow_now_and_then(self) -> None:
        """So that members may come and go while a client runs; what fails is tried again."""
        now = asyncio.get_running_loop().time()
        if self._follows and now - self._followed_s >= FOLLOW_S:
            self._followed_s = now
            with suppress(FederationError):
                await self.follow()

    # Questions that need one answer, verified by itself.

    async def blob(self, digest: bytes, bytes_max: int = SNAPSHOT_BYTES_MAX) -> bytes:
        """The bytes with this SHA-256, from any replica that has them.

        Raises:
            Unavailable: no replica gave them.
        """
        path = api.BLOBS.format(digest=digest.hex())

        async def ask(url: str) -> bytes:
            data = await self._get(url + path, bytes_max, BLOB_S)
            if sha256(data) != digest:
                raise DecodeError(f"{url}: other bytes came for blob {digest.hex()[:16]}")
            return data

        return await self._panel.ask(ask, lambda answers, _: answers[0], 1, hedge_s=BLOB_HEDGE_S)

    async def certificate(self, cycle: int) -> tuple[BlockCertificate, bytes] | None:
        """The cycle's certificate of the highest rank that `weak` replicas know, and its bytes.

        None when they know none.

        Raises:
            Unavailable: too few answered.
        """
        key = (await self.federation_key()).key
        path = api.CERTIFICATE.format(cycle=cycle)

        async def ask(url: str) -> tuple[BlockCertificate, bytes] | None:
            data = await self._get_if_there(url + path, CERTIFICATE_BYTES)
            if data == ABSENT:
                return None
            certificate = verify_certificate(data, key, self._chain_id)
            if certificate.cycle != cycle:
                raise DecodeError(f"{url}: a certificate of cycle {certificate.cycle} came")
            return certificate, data

        def newest(
            answers: list[tuple[BlockCertificate, bytes] | None], last: bool
        ) -> tuple[tuple[BlockCertificate, bytes] | None] | None:
            if len(answers) < self._membership.weak:
                return None
            found = [answer for answer in answers if answer is not None]
            return (max(found, key=lambda pair: pair[0].rank, default=None),)

        return (await self._panel.ask(ask, newest, self._membership.weak))[0]

    async def proven(self, path: str, bytes_max: int, read: Callable[[str, bytes], T]) -> T:
        """What `read(url, body)` gives for the first body at `path` that it does not refuse.

        Raises:
            Unavailable: it refused all, or too few came.
        """

        async def ask(url: str) -> T:
            return read(url, await self._get(url + path, bytes_max))

        return await self._panel.ask(ask, lambda answers, _: answers[0], 1)

    # Questions that need the same answer from f + 1 replicas.

    async def federation_key(self) -> FederationKey:
        """The federation's key, kept once it is known.

        Raises:
            Unavailable: too few answered alike, or the key is not made yet.
            DecodeError: f + 1 replicas gave something else than an activated key of this chain.
        """
        if self._key is None:
            data = await self._agreed(api.FEDERATION_KEY, FEDERATION_KEY_BYTES_MAX)
            if data == ABSENT:
                raise Unavailable("the federation has no key yet")
            key = decode(FederationKey, data, bytes_max=FEDERATION_KEY_BYTES_MAX)
            if key.chain_id != self._chain_id:
                raise DecodeError(f"a federation key of chain {key.chain_id.hex()[:16]} came")
            bls.verify(key.key, key.activation, key.message)
            self._key = key
        return self._key

    async def assignment(self, cycle: int, miner: bytes | None = None) -> Assigned | None:
        """Who trains what in `cycle`, or what `miner` does; None when it is not assigned."""
        path = api.ASSIGNMENT if miner is None else api.ASSIGNED_UNITS
        data = await self._agreed(_path(path, cycle, miner), ENTRY_BYTES_MAX)
        return decode(Assigned, data) if data != ABSENT else None

    async def scores(self, cycle: int, miner: bytes | None = None) -> Scored | None:
        """The scores of `cycle`, with all rows or `miner`'s; None when there are none."""
        path = api.SCORES if miner is None else api.SCORED_UNITS
        data = await self._agreed(_path(path, cycle, miner), ENTRY_BYTES_MAX)
        return decode(Scored, data) if data != ABSENT else None

    async def position(self) -> Position:
        """A position that a correct replica has reached: the (f + 1)th highest that is claimed.

        A strong quorum is asked, so that liars in it can neither hurry nor hold it back.  Where
        fewer can be reached, `weak` are enough: then a liar may hold it back, never hurry it.

        Raises:
            Unavailable: fewer than `weak` replicas answered.
        """
        await self._follow_now_and_then()
        member = self._membership

        async def ask(url: str) -> Position:
            return (await self._status(url)).position

        def conclude(answers: list[Position], last: bool) -> Position | None:
            if len(answers) < (member.weak if last else member.strong):
                return None
            return sorted(answers, reverse=True)[member.f]

        return await self._panel.ask(ask, conclude, member.strong)

    async def statuses(self) -> dict[str, ReplicaStatus | None]:
        """What each replica says about itself; None for those that did not answer."""

        async def ask(url: str) -> ReplicaStatus | None:
            try:
                return await self._status(url)
            except FederationError:
                return None

        found = await asyncio.gather(*(ask(url) for url in self._urls))
        return dict(zip(self._urls, found, strict=True))

    async def submit(self, request: bytes, wait_ms: int = api.REQUEST_WAIT_MS_MAX) -> Verdict:
        """Have a signed request ordered; the verdict that `weak` replicas give alike.

        Raises:
            Unavailable: no verdict in time.  The request may still be executed.
        """

        async def ask(url: str) -> Verdict:
            return read_verdict(url, await self._post_request(url, request, wait_ms))

        def agree(verdicts: list[Verdict], last: bool) -> Verdict | None:
            counted = Counter(verdict.code for verdict in verdicts)
            code, votes = counted.most_common(1)[0]
            if votes < self._membership.weak:
                return None
            return next(verdict for verdict in verdicts if verdict.code == code)

        return await self._panel.ask(ask, agree, self._membership.weak)

    async def receipt(self, request: bytes, wait_ms: int = api.REQUEST_WAIT_MS_MAX) -> bytes:
        """Have a signed request ordered; an encoded RequestReceipt that anybody can verify.

        See chain/receipts.py.  Its outcomes may be refusals.  A request that was executed lately
        gets its receipt too.

        Raises:
            Refused: `weak` replicas refuse alike to have it ordered, or no longer know it.
            Unavailable: too few signed the same in time.  The request may still be executed.
        """
        digest, member = sha256(request), self._membership

        async def ask(url: str) -> Signed | Refused:
            reply = await self._post_request(url, request, wait_ms)
            return read_receipt(url, reply, digest, member)

        def conclude(answers: list[Signed | Refused], last: bool) -> bytes | Refused | None:
            return concluded(answers, last, member)

        found: bytes | Refused = await self._panel.ask(ask, conclude, member.weak)
        if isinstance(found, Refused):
            raise found
        return found

    async def _post_request(self, url: str, request: bytes, wait_ms: int) -> Reply:
        wait_ms = min(wait_ms, api.REQUEST_WAIT_MS_MAX)
        return await self._transport.exchange(
            "POST",
            f"{url}{api.REQUESTS}?wait_ms={wait_ms}",
            body=request,
            headers={"Content-Type": api.OCTETS},
            bytes_max=JSON_BYTES_MAX,
            timeout_s=wait_ms / 1000 + EXCHANGE_S,
        )

    # Things that every replica should have.

    async def upload(
        self, data: bytes, authorization: bytes, receipt: StorageReceipt
    ) -> tuple[bytes, ...]:
        """Store `data` at the replicas; their sealed receipts, at least `weak` of them.

        What is longer than a chunk goes chunk by chunk, and goes on after a cut connection; called
        again, also by another process, it goes on where it was.

        Args:
            authorization: sealed UploadAuthorization of the miner for these bytes.
            receipt: what each replica has to sign.

        Raises:
            Unavailable: too few valid receipts came; the text says what came instead.
        """
        path = api.BLOBS.format(digest=receipt.digest.hex())
        headers = {api.UPLOAD_HEADER: authorization.hex(), "Content-Type": api.OCTETS}

        holders: set[int] = set()

        async def put(url: str) -> tuple[int, bytes]:
            if len(data) > api.CHUNK_BYTES:
                body = await send_in_chunks(self._transport, url + path, data, headers)
            else:
                body = await send_whole(self._transport, url + path, data, headers)
            signer, signed = open_as(StorageReceipt, body, bytes_max=RECEIPT_BYTES_MAX)
            index = self._membership.index_by_key.get(signer)
            if index is None or signed != receipt:
                raise DecodeError(f"{url}: a receipt of a stranger, or for other bytes, came")
            if index in holders:
                raise DecodeError(f"{url}: replica {index} has signed at another address already")
            holders.add(index)
            return index, body

        receipts = await gather_enough(
            [put(url) for url in self._urls], self._membership.weak, RECEIPTS_GRACE_S
        )
        return tuple(receipt for _, receipt in sorted(receipts))

    async def offer_block(self, block: bytes, nodes: Sequence[str] = ()) -> dict[str, Verdict]:
        """Give a block to all replicas and `nodes`; what each of those that answered said."""

        async def post(url: str) -> Verdict | None:
            try:
                reply = await self._transport.exchange(
                    "POST",
                    url + api.BLOCKS,
                    body=block,
                    headers={"Content-Type": api.OCTETS},
                    bytes_max=JSON_BYTES_MAX,
                )
                if reply.status < 300:
                    return Verdict(ACCEPTED, "")
                raise refusal(reply)
            except Refused as error:
                return Verdict(error.code, str(error))
            except FederationError:
                return None

        urls = [*self._urls, *(base_url(node) for node in nodes)]
        said = await asyncio.gather(*(post(url) for url in urls))
        return {url: verdict for url, verdict in zip(urls, said, strict=True) if verdict}

    async def solve(self, draft: bytes, profile: Profile) -> bytes:
        """Have a draft signed by the replicas; see `chain.federation.solving.solve`."""
        return await solve(self._transport, self._urls, draft, profile)

    # How it asks.

    async def _status(self, url: str) -> ReplicaStatus:
        body = await self._get(url + api.STATUS, JSON_BYTES_MAX)
        return read_json(ReplicaStatus, url, body)

    async def _get(self, url: str, bytes_max: int, timeout_s: float = EXCHANGE_S) -> bytes:
        reply = await self._transport.exchange("GET", url, bytes_max=bytes_max, timeout_s=timeout_s)
        if reply.status != 200:
            raise refusal(reply)
        return reply.body

    async def _get_if_there(self, url: str, bytes_max: int) -> bytes:
        reply = await self._transport.exchange("GET", url, bytes_max=max(bytes_max, JSON_BYTES_MAX))
        if reply.status == 404:
            return ABSENT
        if reply.status != 200 or not 0 < len(reply.body) <= bytes_max:
            raise refusal(reply)
        return reply.body

    async def _agreed(self, path: str, bytes_max: int) -> bytes:
        """The bytes that `weak` replicas serve at `path` alike; ABSENT when they serve none.

        Raises:
            Unavailable: no such agreement.
        """

        def alike(answers: list[bytes], last: bool) -> bytes | None:
            data, votes = Counter(answers).most_common(1)[0]
            return data if votes >= self._membership.weak else None

        return await self._panel.ask(
            lambda url: self._get_if_there(url + path, bytes_max), alike, self._membership.weak
        )


def _path(route: str, cycle: int, miner: bytes | None) -> str:
    return route.format(cycle=cycle, miner="" if miner is None else miner.hex())
