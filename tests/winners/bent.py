"""Miners that do their work, win, and then do not do their part.  Targets of real processes."""

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from http import HTTPStatus
from pathlib import Path

import aiohttp

import miner.main
from chain.federation import api
from chain.federation.answers import ACCEPTED
from chain.records.block import build_block
from chain.records.certificate import BlockCertificate, decode_certificate
from chain.records.phase import Phase
from chain.rules.reward import subsidy
from miner import actions
from miner.agent import Agent

OFFLINE, LATE, INVALID, TWO = "offline", "late", "invalid", "two"
HABITS = (OFFLINE, LATE, INVALID, TWO)
OFFERED = "bent-offered"
"""The event that tells what those said who were offered a bent block."""
LOOK_S = 0.2


class BentAgent(Agent):
    """The winner of height 1 in cycle 1, if its rank is 0, misbehaves; all else is honest."""

    habit = ""

    async def _make_block(self, action: actions.MakeBlock) -> actions.Event:
        certificate, _ = decode_certificate(action.certificate)
        if (certificate.cycle, certificate.height, certificate.rank) != (1, 1, 0):
            return await super()._make_block(action)
        make = partial(self._bent_block, action.certificate, certificate)
        if self.habit == LATE:
            await self._wait_until_void(certificate)
        if self.habit in (LATE, INVALID):
            extra = 1 if self.habit == INVALID else 0
            said = await self._client.offer_block(make(extra=extra), self._nodes)
            self._tell_codes([verdict.code for verdict in said.values()])
        if self.habit == TWO:
            await self._offer_two(make)
        return actions.BlockOffered(action, certificate.height, bytes(32), 0)

    def _bent_block(
        self, signed: bytes, certificate: BlockCertificate, later_s: int = 0, extra: int = 0
    ) -> bytes:
        return build_block(
            signed,
            time=certificate.not_before + later_s,
            subsidy=subsidy(certificate.height, self._genesis.params) + extra,
            sign=self._key.sign,
            winner=self._key.public_key,
        )

    async def _wait_until_void(self, certificate: BlockCertificate) -> None:
        """Until the federation is in another certificate's turn, or past the cycle."""
        while True:
            await asyncio.sleep(LOOK_S)
            at = await self._client.position()
            if at.cycle > certificate.cycle or at.phase is Phase.CERTIFICATION:
                return

    async def _offer_two(self, make: Callable[..., bytes]) -> None:
        """One block to half of the replicas, its twin to the others, both to the nodes."""
        twins = make(), make(later_s=1)
        given = [(url, twins[at % 2]) for at, url in enumerate(self._client.urls)]
        given += [(url, twin) for url in self._nodes for twin in twins]
        async with aiohttp.ClientSession() as session:
            said = [await _offer(session, url, block) for url, block in given]
        self._tell_codes(said)

    def _tell_codes(self, codes: Sequence[str]) -> None:
        taken = sum(code == ACCEPTED for code in codes)
        told = " ".join(sorted({code for code in codes if code != ACCEPTED}))
        self.tell(OFFERED, taken=taken, refused=told)


async def _offer(session: aiohttp.ClientSession, url: str, block: bytes) -> str:
    """What one of them says: ACCEPTED, or the code of its refusal."""
    async with session.post(url + api.BLOCKS, data=block) as answer:
        if answer.status < HTTPStatus.MULTIPLE_CHOICES:
            return ACCEPTED
        return str((await answer.json(content_type=None)).get("code", ""))


def mine_badly(home: Path, urls: Sequence[str], nodes: Sequence[str], habit: str) -> int:
    """The target of a miner's process; see `miner.main.run_miner`."""
    BentAgent.habit = habit
    miner.main.Agent = BentAgent  # type: ignore[misc]
    return miner.main.run_miner(home, urls, nodes)
