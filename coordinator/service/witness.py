"""Asking a witness outside the federation to cosign checkpoints.

A witness remembers the newest checkpoint of a log and signs the next one only if it goes on from
there.  Whoever trusts one witness needs not trust that the members show everybody one log.
Source: C2SP tlog-witness, "add-checkpoint".
"""

import asyncio
import base64
import logging
from collections.abc import Awaitable, Callable, Sequence

import aiohttp

from bft.errors import DecodeError
from chain.tlog.checkpoint import Checkpoint, verify_line
from chain.tlog.note import Line, Note, Verifier, decode_lines

ANSWER_BYTES_MAX = 64 * 1024
ANSWER_S = 10.0
SIZE_DIGITS_MAX = 19
TRIES = 2  # the second with the size that the witness names

CONFLICT = 409  # the witness has another size than we said

log = logging.getLogger("gristmill.witness")

Post = Callable[[str, bytes], Awaitable[tuple[int, bytes] | None]]
"""(URL, body) -> (status, body), or None: no answer."""


async def post(url: str, body: bytes) -> tuple[int, bytes] | None:
    """One request over HTTP."""
    timeout = aiohttp.ClientTimeout(total=ANSWER_S)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.post(url, data=body, allow_redirects=False) as response,
        ):
            return response.status, await response.content.read(ANSWER_BYTES_MAX)
    except (aiohttp.ClientError, OSError, TimeoutError) as error:
        log.warning("witness %s: %s", url, str(error) or type(error).__name__)
        return None


def encode_request(old: int, proof: Sequence[bytes], note: Note) -> bytes:
    """The body of add-checkpoint: the size that the witness has, the proof from there, the note."""
    lines = [f"old {old}\n", *(base64.b64encode(hashed).decode() + "\n" for hashed in proof)]
    return "".join(lines).encode() + b"\n" + note.encode()


class Witness:
    """One witness, and what it signed last."""

    def __init__(self, url: str, verifier: Verifier, post: Post = post) -> None:
        """`url`: the submission prefix; `verifier`: of the type cosignature/v1."""
        self._url = url.rstrip("/") + "/add-checkpoint"
        self._verifier, self._post = verifier, post
        self._size = 0  # that it signed last, as far as we know

    async def cosign(
        self,
        checkpoint: Checkpoint,
        note: Note,
        consistency: Callable[[int], tuple[bytes, ...]],
    ) -> Line | None:
        """The witness's line under the checkpoint, verified; None when it gives none.

        Args:
            note: the checkpoint with our log key's signature.
            consistency: from a size to the checkpoint's; blocks, raises DecodeError.
        """
        for _ in range(TRIES):
            if self._size > checkpoint.size:
                return None  # it has seen a newer one
            proof = await asyncio.to_thread(consistency, self._size)
            answer = await self._post(self._url, encode_request(self._size, proof, note))
            if answer is None:
                return None
            status, body = answer
            told = body.decode("ascii", "replace").strip()
            if status == CONFLICT and told.isdigit() and len(told) <= SIZE_DIGITS_MAX:
                self._size = int(told)
                continue
            if status != 200:
                log.warning("witness %s: %d %s", self._url, status, told[:200])
                return None
            return self._line(checkpoint, body)
        return None

    def _line(self, checkpoint: Checkpoint, body: bytes) -> Line | None:
        try:
            for line in decode_lines(body.decode()):
                if self._verifier.signed(line):
                    verify_line(checkpoint, line, self._verifier)
                    self._size = checkpoint.size
                    return line
        except (DecodeError, ValueError) as error:
            log.warning("witness %s: %s", self._url, error)
        return None
