"""The written description of the API names what the application has, and nothing else."""

import json
from pathlib import Path

import aiohttp
import yaml
from aiohttp import web
from openapi_spec_validator import validate

from chain.federation import openapi
from coordinator.service.closed_door import ClosedDoor
from tests.coordinator.service.mill import running

PACKAGE = "coordinator.service"
METHODS = {"get", "put", "post", "delete", "patch", "head", "options", "trace"}


def described() -> set[tuple[str, str]]:
    """(method, path) of the document; HEAD goes with GET, as its text says."""
    paths = openapi.parsed(PACKAGE)["paths"]
    named = {(m.upper(), path) for path, item in paths.items() for m in METHODS & set(item)}
    return named | {("HEAD", path) for method, path in named if method == "GET"}


def served(app: web.Application) -> set[tuple[str, str]]:
    """(method, path) of the application but for the pages."""
    shown = app[openapi.PAGES]
    found = set()
    for route in app.router.routes():
        assert route.resource is not None
        if route.resource.canonical not in shown:
            found.add((route.method, route.resource.canonical))
    return found


def test_the_document_is_openapi_3_1() -> None:
    told = openapi.parsed(PACKAGE)
    assert told["openapi"].startswith("3.1.")
    validate(told)


async def test_it_names_every_route_and_method_and_is_served_in_both_forms(tmp_path: Path) -> None:
    async with running(tmp_path, 1) as mill, aiohttp.ClientSession() as session:
        assert served(mill.services[0].stint.public_app()) == described()
        async with session.get(mill.urls[0] + openapi.YAML_PATH) as answer:
            assert answer.content_type == openapi.YAML_TYPE
            told = yaml.safe_load(await answer.read())
        async with session.get(mill.urls[0] + openapi.JSON_PATH) as answer:
            assert json.loads(await answer.read()) == told == openapi.parsed(PACKAGE)


def test_an_observers_closed_doors_are_described_as_well() -> None:
    for route in ClosedDoor("").routes():
        assert isinstance(route, web.RouteDef)
        operation = openapi.parsed(PACKAGE)["paths"][route.path][route.method.lower()]
        assert "503" in operation["responses"]


def test_every_operation_says_that_it_may_refuse_who_asks_too_often() -> None:
    for path, item in openapi.parsed(PACKAGE)["paths"].items():
        for method in METHODS & set(item):
            assert "429" in item[method]["responses"], (method, path)
