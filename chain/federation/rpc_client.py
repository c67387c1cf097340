"""Calls to a node's JSON-RPC, one at a time, for commands."""

import base64
import http.client
import json
import urllib.error
import urllib.request
from decimal import Decimal
from pathlib import Path
from typing import Any

from bft.errors import ConfigError, DecodeError, Refused, Unavailable
from chain.federation.bounded import ask, why
from chain.federation.transport import base_url

ANSWER_BYTES_MAX = 16 * 1024 * 1024
CALL_S = 30.0
COOKIE_BYTES_MAX = 256


class NodeRpc:
    """One node, by its address and its cookie."""

    def __init__(self, url: str, cookie: Path) -> None:
        """Raises ConfigError: the cookie cannot be read, or `url` is none."""
        self._url = base_url(url) + "/"
        try:
            secret = cookie.read_bytes()[:COOKIE_BYTES_MAX].strip()
        except OSError as error:
            raise ConfigError(
                f"{cookie}: {error.strerror}; the node's password stands in .cookie in its home, "
                "new with each start"
            ) from None
        self._authorization = "Basic " + base64.b64encode(secret).decode("ascii")

    def call(self, method: str, *params: Any) -> Any:
        """The result.

        Raises:
            Refused: the node's error, its code as text.
            ConfigError: the node does not take this cookie.
            Unavailable: it did not answer.
            DecodeError: what answered is no node.
        """
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
        headers = {"Authorization": self._authorization, "Content-Type": "application/json"}
        request = urllib.request.Request(self._url, body.encode(), headers)
        try:
            # A proxy of the environment, or another server, would read the cookie.
            data = ask(request, ANSWER_BYTES_MAX, CALL_S, direct=True)
        except urllib.error.HTTPError as error:
            if error.code == 401:
                raise ConfigError(f"{self._url} does not take this cookie: an old one?") from None
            raise DecodeError(f"{self._url} answered with status {error.code}") from None
        except (OSError, http.client.HTTPException) as error:
            raise Unavailable(f"{self._url} does not answer: {why(error, CALL_S)}") from None
        if len(data) > ANSWER_BYTES_MAX:
            raise DecodeError(f"{self._url} answered with more than {ANSWER_BYTES_MAX} bytes")
        return _result(data, self._url)


def _result(data: bytes, url: str) -> Any:
    try:
        answer = json.loads(data, parse_float=Decimal)
    except (ValueError, RecursionError):
        answer = None
    if not isinstance(answer, dict) or not answer.keys() & {"result", "error"}:
        raise DecodeError(f"{url} answered with something that is no JSON-RPC")
    error = answer.get("error")
    if isinstance(error, dict):
        raise Refused(str(error.get("code")), str(error.get("message"))[:500])
    return answer.get("result")
