"""The beacon as drand serves one: any drand client reads our rounds here, and verifies them.

Rounds come from the log.  They are not periodic: a cycle has two, when its phases come to them, and
a cycle that ends early leaves numbers out for ever (docs/PROTOCOL.md, "The beacon over HTTP").
Source: drand, handler/http/server.go (routes, fields, statuses of its v1 API) and
common/chain/info.go (the names of v2, given beside those of v1).
"""

from collections.abc import Mapping
from http import HTTPStatus

from aiohttp import web

from bft.errors import Refused
from chain.federation import api
from chain.federation.server import problem
from chain.records.federation import Genesis
from chain.records.phase import Phase
from chain.records.score_log import BeaconRound
from chain.rules.beacon import SCHEME, ChainInfo, chain_info, randomness
from chain.rules.rounds import challenge_round, draw_round
from coordinator.service.index import LogIndex
from coordinator.service.parameters import path_hex, path_number
from coordinator.service.problems import Handler
from coordinator.service.standing import Standing

MARK = "beacon"  # under which the journal finds rounds
ROUND_CACHE = "public, max-age=31536000, immutable"
INFO_CACHE = "public, max-age=604800, immutable"
PRESENT_CACHE = "no-cache"


class BeaconApi:
    """Handlers of drand's routes, each with and without the chain hash before it."""

    def __init__(self, genesis: Genesis, runtime: Standing, index: LogIndex) -> None:
        self._genesis, self._runtime, self._index = genesis, runtime, index

    def routes(self) -> list[web.RouteDef]:
        """For the application."""
        handlers: Mapping[str, Handler] = {
            api.BEACON_INFO: self.get_info,
            api.BEACON_LATEST: self.get_latest,
            api.BEACON_ROUND: self.get_round,
            api.BEACON_HEALTH: self.get_health,
        }
        found = [web.get(api.BEACON_CHAINS, self.get_chains)]
        for path, handler in handlers.items():
            found += [web.get(path, handler), web.get(api.BEACON_CHAIN + path, handler)]
        return found

    def _info(self) -> ChainInfo:
        """Raises Refused: the federation has no key yet."""
        key = self._runtime.replica.state.federation_key
        if key is None:
            raise Refused("not-found", "the federation has no key yet, so it has no beacon")
        return chain_info(self._genesis, key.key)

    def _check_chain(self, request: web.Request) -> ChainInfo:
        """Raises DecodeError, Refused: the chain hash in the path is none, or not ours."""
        info = self._info()
        if "chain" in request.match_info and path_hex(request, "chain", 32) != info.hash:
            raise Refused("not-found", f"this beacon's chain hash is {info.hash.hex()}")
        return info

    async def get_chains(self, request: web.Request) -> web.Response:
        """JSON, the chain hashes that are served here."""
        return _json([self._info().hash.hex()], PRESENT_CACHE)

    async def get_info(self, request: web.Request) -> web.Response:
        """JSON, what a client verifies rounds with: drand's names of v1, then those of v2."""
        info = self._check_chain(request)
        scheme, beacon_id = SCHEME.decode(), info.beacon_id.decode()
        told = {
            "public_key": info.federation_key.hex(),
            "period": info.period_s,
            "genesis_time": info.genesis_s,
            "hash": info.hash.hex(),
            "groupHash": info.genesis_seed.hex(),
            "schemeID": scheme,
            "metadata": {"beaconID": beacon_id},
            "chain_hash": info.hash.hex(),
            "genesis_seed": info.genesis_seed.hex(),
            "scheme": scheme,
            "beacon_id": beacon_id,
        }
        return _json(told, INFO_CACHE)

    async def get_latest(self, request: web.Request) -> web.Response:
        """JSON, the newest round in this replica's log."""
        self._check_chain(request)
        newest = await self._newest()
        if newest is None:
            raise Refused("not-found", "no round was signed yet")
        return _round(newest, PRESENT_CACHE)

    async def get_round(self, request: web.Request) -> web.Response:
        """JSON, one round.  404: not signed yet, left out for ever, or not fetched here yet."""
        self._check_chain(request)
        number = path_number(request, "round")
        found = await self._index.newest(BeaconRound, MARK, number)
        if found is not None:
            return _round(found, ROUND_CACHE)
        newest = await self._newest()
        future = newest is None or newest.round < number
        text = "was not signed yet" if future else "is not in this log; newer ones are"
        headers = {"Cache-Control": PRESENT_CACHE}
        return problem(HTTPStatus.NOT_FOUND, "not-found", f"round {number} {text}", headers)

    async def get_health(self, request: web.Request) -> web.Response:
        """JSON, the newest round and the one that this replica's state waits for.

        200 while the replica votes, 503 in a view change and at an observer.
        """
        self._check_chain(request)
        newest = await self._newest()
        current = 0 if newest is None else newest.round
        told = {"current": current, "expected": max(current, self._awaited())}
        return _json(told, PRESENT_CACHE, 200 if self._runtime.voting else 503)

    def _awaited(self) -> int:
        """The round that is being signed now; 0 when none is."""
        state = self._runtime.replica.state
        if state.phase == Phase.CHALLENGE:
            return challenge_round(state.cycle)
        return draw_round(state.cycle) if state.phase == Phase.DRAW else 0

    async def _newest(self) -> BeaconRound | None:
        return await self._index.last(BeaconRound, MARK)


def _round(record: BeaconRound, cache: str) -> web.Response:
    told = {
        "round": record.round,
        "randomness": randomness(record.signature).hex(),
        "signature": record.signature.hex(),
    }
    return _json(told, cache)


def _json(told: object, cache: str, status: int = 200) -> web.Response:
    return web.json_response(told, status=status, headers={"Cache-Control": cache})
