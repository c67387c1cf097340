"""Which part of an artifact a request asks for, and whether the caller has it already.

One range of bytes is served; several at once, and other units, are answered with the whole, as a
server may.  An artifact's entity tag is its digest.
Source: RFC 9110 sections 13 and 14.
Pure.
"""

import re
from typing import NamedTuple

from aiohttp import hdrs
from multidict import CIMultiDictProxy

from bft.errors import FederationError

TAGS_CHARS_MAX = 4096
_ONE = re.compile(r"bytes=(\d{0,19})-(\d{0,19})")


class Unsatisfiable(FederationError):
    """No byte of the artifact is in the range.

    Attributes:
        size: of the artifact.
    """

    def __init__(self, size: int) -> None:
        super().__init__(f"no byte of this range is in an artifact of {size} bytes")
        self.size = size


class Part(NamedTuple):
    """Bytes start..end-1 of an artifact of `size` bytes."""

    start: int
    end: int
    size: int

    @property
    def is_whole(self) -> bool:
        """Whether it is all of it."""
        return self.end - self.start == self.size


def entity_tag(digest: bytes) -> str:
    """Strong: the same bytes for ever."""
    return f'"{digest.hex()}"'


def is_known(headers: CIMultiDictProxy[str], tag: str) -> bool:
    """Whether If-None-Match names this tag: the caller has it."""
    given = headers.get(hdrs.IF_NONE_MATCH, "")[:TAGS_CHARS_MAX]
    tags = {one.strip().removeprefix("W/") for one in given.split(",")}
    return tag in tags or "*" in tags


def asked_part(headers: CIMultiDictProxy[str], size: int, tag: str) -> Part | None:
    """What Range asks for; None: the whole, without a range.

    Raises:
        Unsatisfiable: nothing of it is there, or its end stands before its start.
    """
    text = headers.get(hdrs.RANGE)
    if text is None or headers.get(hdrs.IF_RANGE, tag) != tag:
        return None
    found = _ONE.fullmatch(text.strip())
    if found is None:
        if not text.startswith("bytes=") or "," in text:
            return None
        raise Unsatisfiable(size)
    first, last = found.groups()
    if not first:
        start, end = max(0, size - int(last or 0)), size
    else:
        start, end = int(first), min(size, int(last) + 1 if last else size)
    if start >= end:
        raise Unsatisfiable(size)
    return Part(start, end, size)
