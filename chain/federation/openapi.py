"""A server's OpenAPI document, as it was written (YAML) and as JSON.

The documents are files beside the servers' code.  That they name every route and method that there
is, and no other, is held by tests; that servers keep what they say, by `python -m tests.api`.
Source: OpenAPI 3.1; RFC 9512 for the media type of YAML.
"""

import asyncio
import json
from functools import cache
from importlib.resources import files
from typing import Any

import yaml
from aiohttp import web

YAML_PATH, JSON_PATH = "/openapi.yaml", "/openapi.json"
YAML_TYPE = "application/yaml"
FILE = "openapi.yaml"
PAGES: web.AppKey[frozenset[str]] = web.AppKey("pages", frozenset)
"""Paths of an application that its document does not describe: what they serve is for people."""
CACHE = "public, max-age=3600"


def read(package: str) -> bytes:
    """The document of the server in this package."""
    return (files(package) / FILE).read_bytes()


@cache
def parsed(package: str) -> dict[str, Any]:
    """What it says."""
    found: dict[str, Any] = yaml.safe_load(read(package))
    return found


def routes(package: str) -> list[web.RouteDef]:
    """For the application of the server in this package."""

    async def get_yaml(request: web.Request) -> web.Response:
        """The document."""
        return _answer(await asyncio.to_thread(read, package), YAML_TYPE)

    async def get_json(request: web.Request) -> web.Response:
        """The document as JSON."""
        told = await asyncio.to_thread(lambda: json.dumps(parsed(package)).encode())
        return _answer(told, "application/json")

    return [web.get(YAML_PATH, get_yaml), web.get(JSON_PATH, get_json)]


def _answer(body: bytes, kind: str) -> web.Response:
    return web.Response(body=body, content_type=kind, headers={"Cache-Control": CACHE})
