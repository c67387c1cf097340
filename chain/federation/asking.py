"""One question to one replica whose answer is JSON for people: bounded, and nothing is proven."""

import asyncio
import json
from typing import Any

import aiohttp

from bft.errors import Unavailable

ANSWER_BYTES_MAX = 4 * 1024 * 1024
ANSWER_S = 10


async def ask_json(session: aiohttp.ClientSession, url: str) -> Any:
    """The document at `url`; None where the replica says 404.

    Raises:
        Unavailable: no answer, none in time, a refusal, too long, or no JSON.
    """
    try:
        async with asyncio.timeout(ANSWER_S), session.get(url, allow_redirects=False) as answer:
            if answer.status == 404:
                return None
            if answer.status != 200:
                raise Unavailable(f"{url} answered {answer.status}")
            body = bytearray()
            async for piece in answer.content.iter_any():
                body += piece
                if len(body) > ANSWER_BYTES_MAX:
                    raise Unavailable(f"{url} says more than {ANSWER_BYTES_MAX} bytes")
    except TimeoutError:
        raise Unavailable(f"{url} did not answer within {ANSWER_S} s") from None
    except aiohttp.ClientError as error:
        raise Unavailable(f"{url}: {error or type(error).__name__}") from None
    try:
        return json.loads(bytes(body))
    except (ValueError, RecursionError):
        raise Unavailable(f"{url} answered with what is no JSON") from None
