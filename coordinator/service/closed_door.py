"""The doors of an observer that take something in at a member: closed, and saying so."""

from aiohttp import web

from bft.errors import Unavailable
from chain.federation import api


class ClosedDoor:
    """Handlers of the routes at which a member takes requests, updates and blocks."""

    def __init__(self, reason: str) -> None:
        """`reason`: why this replica has no vote, for people."""
        self._reason = reason

    def routes(self) -> list[web.RouteDef]:
        """For the application."""
        return [
            web.post(api.REQUESTS, self.refuse),
            web.put(api.BLOBS, self.refuse),
            web.get(api.CHUNKS, self.refuse),
            web.put(api.CHUNK, self.refuse),
            web.post(api.CHUNKS, self.refuse),
            web.post(api.BLOCKS, self.refuse),
            web.post(api.DRAFTS, self.refuse),
        ]

    async def refuse(self, request: web.Request) -> web.StreamResponse:
        """503: nothing is ordered or promised here; the members take it."""
        raise Unavailable(f"this replica only observes; ask a member.  {self._reason}")
