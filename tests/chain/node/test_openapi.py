"""The written description of a node's HTTP doors names what there is, and nothing else."""

from pathlib import Path

from aiohttp import web
from openapi_spec_validator import validate

from chain.federation import api, openapi
from chain.node.doors import make_app
from chain.node.service import NodeService
from tests.chain.node.homes import make_config

PACKAGE = "chain.node"
METHODS = {"get", "put", "post", "delete", "patch", "head", "options", "trace"}


def described() -> set[tuple[str, str]]:
    """(method, path) of the document; HEAD goes with GET, as its text says."""
    paths = openapi.parsed(PACKAGE)["paths"]
    named = {(m.upper(), path) for path, item in paths.items() for m in METHODS & set(item)}
    return named | {("HEAD", path) for method, path in named if method == "GET"}


def served(app: web.Application) -> set[tuple[str, str]]:
    """(method, path) of the application, but for what pages read."""
    shown = app.get(openapi.PAGES, frozenset())
    found = set()
    for route in app.router.routes():
        assert route.resource is not None
        path = route.resource.canonical
        if path not in shown or (route.method, path) == ("POST", "/"):
            found.add((route.method, path))
    return found


def test_the_document_is_openapi_3_1() -> None:
    told = openapi.parsed(PACKAGE)
    assert told["openapi"].startswith("3.1.")
    validate(told)


async def test_it_names_every_route_and_method(tmp_path: Path) -> None:
    service = NodeService(make_config(tmp_path))
    await service.start()
    try:
        app = make_app(service.core, service.step)
        assert served(app) == described()
        assert ("GET", api.STATUS) in served(app)
    finally:
        await service.stop()
