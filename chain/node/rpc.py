"""JSON-RPC as Bitcoin Core speaks it, so that its tools drive this node.

One POST to "/", Basic authentication with the cookie that stands in the node's home, positional or
named parameters, versions 1.0 to 2.0, batches.  Methods stand in chain/node/rpc_methods.py.
Source: Bitcoin Core, rpc/request.cpp, rpc/protocol.h, httprpc.cpp; JSON-RPC 2.0.
"""

import base64
import hmac
import inspect
import os
import secrets
from collections.abc import Callable, Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any

import msgspec
from aiohttp import hdrs, web

from bft.errors import DecodeError, FederationError, Refused
from chain.federation.server import read_body

COOKIE_NAME = ".cookie"
COOKIE_USER = "__cookie__"
RPC_BYTES_MAX = 8 * 1024 * 1024  # a block in hex, and its envelope
BATCH_MAX = 100
BODY_S = 30

# Core's codes, rpc/protocol.h.
PARSE_ERROR, INVALID_REQUEST, METHOD_NOT_FOUND = -32700, -32600, -32601
INVALID_PARAMS, INTERNAL_ERROR = -32602, -32603
MISC_ERROR, TYPE_ERROR, INVALID_ADDRESS_OR_KEY, INVALID_PARAMETER = -1, -3, -5, -8
DESERIALIZATION_ERROR, VERIFY_ERROR, VERIFY_REJECTED, ALREADY_IN_CHAIN = -22, -25, -26, -27

Method = Callable[..., Any]
_ENCODER = msgspec.json.Encoder(decimal_format="number")


class RpcError(FederationError):
    """What the caller reads: one of Core's codes, and a text."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


def write_cookie(home: Path) -> str:
    """A fresh password, readable for this node's user only; returns `user:password`."""
    cookie = f"{COOKIE_USER}:{secrets.token_hex(32)}"
    path = home / COOKIE_NAME
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(cookie)
    return cookie


class Rpc:
    """The door."""

    def __init__(self, cookie: str, methods: Mapping[str, Method]) -> None:
        """`methods`: by name; their keyword names are the parameters' names."""
        token = base64.b64encode(cookie.encode()).decode("ascii")
        self._expected = f"Basic {token}"
        self._methods = methods

    async def handle(self, request: web.Request) -> web.Response:
        """POST /"""
        came = request.headers.get(hdrs.AUTHORIZATION, "")
        secret = came.encode("utf-8", "surrogateescape")  # as aiohttp decoded it
        if not hmac.compare_digest(secret, self._expected.encode()):
            realm = {hdrs.WWW_AUTHENTICATE: 'Basic realm="jsonrpc"'}
            return web.Response(status=HTTPStatus.UNAUTHORIZED, headers=realm)
        body, status = self.answer(await read_body(request, RPC_BYTES_MAX, BODY_S))
        if body is None:
            return web.Response(status=HTTPStatus.NO_CONTENT)
        encoded = _ENCODER.encode(body) + b"\n"
        return web.Response(body=encoded, status=status, content_type="application/json")

    def answer(self, data: bytes) -> tuple[Any, HTTPStatus]:
        """What to say to one body, or None where only notifications came."""
        try:
            message = msgspec.json.decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            error = RpcError(PARSE_ERROR, "Parse error")
            return _failure(None, error, modern=False), HTTPStatus.INTERNAL_SERVER_ERROR
        return self._batch(message) if isinstance(message, list) else self._one(message)

    def _batch(self, messages: list[Any]) -> tuple[Any, HTTPStatus]:
        if not 0 < len(messages) <= BATCH_MAX:
            error = RpcError(INVALID_REQUEST, f"a batch has 1 to {BATCH_MAX} calls")
            return _failure(None, error, modern=True), HTTPStatus.OK
        answers = [answer for answer, _ in map(self._one, messages) if answer is not None]
        return answers or None, HTTPStatus.OK

    def _one(self, message: Any) -> tuple[dict[str, Any] | None, HTTPStatus]:
        """The answer, None to a notification; in version 1 errors have an HTTP status too."""
        number = message.get("id") if isinstance(message, dict) else None
        modern = isinstance(message, dict) and message.get("jsonrpc") == "2.0"
        try:
            result = self._call(message)
        except RpcError as error:
            status = HTTPStatus.OK if modern else _STATUS.get(error.code, _OTHERWISE)
            answer = _failure(number, error, modern=modern)
        else:
            status = HTTPStatus.OK
            answer = {"result": result, "id": number}
            answer |= {"jsonrpc": "2.0"} if modern else {"error": None}
        return (None if modern and "id" not in message else answer), status

    def _call(self, message: Any) -> Any:
        if not isinstance(message, dict) or not isinstance(message.get("method"), str):
            raise RpcError(INVALID_REQUEST, "a call is an object with a method's name")
        method = self._methods.get(message["method"])
        if method is None:
            raise RpcError(METHOD_NOT_FOUND, f"Method not found: {message['method']:.40}")
        given = message.get("params") or []
        if not isinstance(given, list | dict):
            raise RpcError(INVALID_REQUEST, "Params must be an array or object")
        positional, named = (given, {}) if isinstance(given, list) else ([], given)
        try:
            bound = inspect.signature(method).bind(*positional, **named)
        except TypeError as error:
            raise RpcError(INVALID_PARAMS, f"{message['method']}: {error}") from None
        try:
            return method(*bound.args, **bound.kwargs)
        except Refused as error:
            raise RpcError(VERIFY_REJECTED, f"{error.code}: {error}") from None
        except DecodeError as error:
            raise RpcError(DESERIALIZATION_ERROR, str(error)) from None


_STATUS = {
    INVALID_REQUEST: HTTPStatus.BAD_REQUEST,
    METHOD_NOT_FOUND: HTTPStatus.NOT_FOUND,
}
_OTHERWISE = HTTPStatus.INTERNAL_SERVER_ERROR


def _failure(number: Any, error: RpcError, *, modern: bool) -> dict[str, Any]:
    body: dict[str, Any] = {"error": {"code": error.code, "message": str(error)}, "id": number}
    return {"jsonrpc": "2.0", **body} if modern else {"result": None, **body}
