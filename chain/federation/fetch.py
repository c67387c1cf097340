"""One GET for commands that need no more of HTTP: bounded, timed, errors typed; no aiohttp."""

import http.client
from urllib.error import HTTPError, URLError
from urllib.request import Request

from bft.errors import ConfigError, DecodeError, Unavailable
from chain.federation.bounded import REASON_CHARS_MAX, ask, plain, why

FETCH_S = 10.0  # without a byte


def fetch(url: str, bytes_max: int) -> bytes:
    """The body of a good answer.

    Raises:
        ConfigError: no http or https address.
        FileNotFoundError: 404.
        Unavailable: no answer or not all of it, another status, or a redirect elsewhere.
        DecodeError: more than `bytes_max` bytes came.
    """
    if not url.startswith(("http://", "https://")):
        raise ConfigError(f"{url}: a URL begins with http:// or https://")
    try:
        data = ask(Request(url), bytes_max, FETCH_S)
    except HTTPError as error:
        with error:
            if error.code == 404:
                raise FileNotFoundError(2, "not found", url) from None
            reason = plain(str(error.reason), REASON_CHARS_MAX)
            raise Unavailable(f"{url} answered {error.code} {reason}") from None
    except (URLError, OSError, http.client.HTTPException) as error:
        raise Unavailable(f"{url} does not answer: {why(error, FETCH_S)}") from None
    if len(data) > bytes_max:
        raise DecodeError(f"{url}: more than {bytes_max} bytes came")
    return data
