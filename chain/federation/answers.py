"""What replicas answer in JSON: their word about themselves, and about a request."""

from typing import NamedTuple, TypeVar

import msgspec

from bft.errors import DecodeError, Refused, Unavailable
from chain.federation.transport import Reply, refusal
from chain.records.phase import Phase

ACCEPTED = "accepted"

T = TypeVar("T")


class Verdict(NamedTuple):
    """What became of a request: ACCEPTED, or the word and the text of a refusal."""

    code: str
    text: str


class Position(NamedTuple):
    """Where the federation stands.  Positions compare as time does."""

    cycle: int
    phase: Phase


class ReplicaStatus(msgspec.Struct):
    """What a replica says about itself, unverified; it says more than this."""

    cycle: int
    phase: str
    replica: int = -1
    view: int = -1
    height: int = -1

    @property
    def position(self) -> Position:
        """Raises DecodeError: no phase that we know, or a cycle below 0."""
        if self.phase not in Phase.__members__ or self.cycle < 0:
            raise DecodeError(f"cycle {self.cycle}, phase {self.phase[:32]!r} came in a status")
        return Position(self.cycle, Phase[self.phase])


class _Answer(msgspec.Struct):
    code: str
    text: str = ""


def read_verdict(url: str, reply: Reply) -> Verdict:
    """What one replica says of a request.  Raises what `refusal` gives, unless it is a verdict."""
    if reply.status == 202:
        raise Unavailable(f"{url}: the request is not executed yet")
    if reply.status == 200:
        answer = read_json(_Answer, url, reply.body)
        return Verdict(answer.code, answer.text)
    error = refusal(reply)
    if isinstance(error, Refused):
        return Verdict(error.code, str(error))
    raise error


def read_json(kind: type[T], url: str, body: bytes) -> T:
    """The JSON in `body`.  Raises DecodeError; `url` is for its text."""
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise DecodeError(f"{url}: not the JSON that was asked for: {error}") from None
