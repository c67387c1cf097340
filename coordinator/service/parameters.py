"""What stands in paths and queries, strictly: one spelling each, bounded before it is parsed."""

from aiohttp import web
from yarl import URL

from bft.errors import DecodeError

INTEGER_MAX = 2**63 - 1
_DIGITS_MAX = 19


def decimal(name: str, text: str, largest: int = INTEGER_MAX) -> int:
    """An integer within 0..largest.  Raises DecodeError."""
    known = text.isascii() and text.isdigit() and len(text) <= _DIGITS_MAX
    if not known or int(text) > largest or str(int(text)) != text:
        raise DecodeError(f"{name} {text[:32]!r} came; an integer from 0 to {largest} expected")
    return int(text)


def number(request: web.Request, name: str, default: int, largest: int = INTEGER_MAX) -> int:
    """A query parameter within 0..largest.  Raises DecodeError: it is not, or came twice."""
    given = request.query.getall(name, [])
    if len(given) > 1:
        raise DecodeError(f"{name} came {len(given)} times; once, or not at all")
    return decimal(name, given[0], largest) if given else default


def path_number(request: web.Request, name: str) -> int:
    """A number in the path.  Raises DecodeError."""
    return decimal(name, request.match_info[name])


def path_hex(request: web.Request, name: str, size: int) -> bytes:
    """`size` bytes in the path, as lower-case hex.  Raises DecodeError."""
    text = request.match_info[name]
    try:
        data = bytes.fromhex(text)
    except ValueError:
        data = b""
    if len(data) != size or text != data.hex():
        raise DecodeError(f"{name}: {2 * size} lower-case hex digits expected")
    return data


def digest_of(request: web.Request) -> bytes:
    """The digest in the path.  Raises DecodeError."""
    return path_hex(request, "digest", 32)


def next_page(request: web.Request, following: int | None) -> dict[str, str]:
    """The header that says where the next page of a list begins: with `following`; None: nowhere.

    Source: RFC 8288; the target is relative, so it holds behind a reverse proxy as well.
    """
    if following is None:
        return {}
    query = {**request.query, "from": str(following)}
    return {"Link": f'<{URL(request.path).with_query(query)}>; rel="next"'}
