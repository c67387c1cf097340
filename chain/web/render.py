"""Templates to pages: escaped; with headers that let a page load what lies beside it alone.

Replicas and nodes look alike: layout, style and scripts are here, and each brings its own pages.
"""

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from aiohttp import web
from jinja2 import (
    ChoiceLoader,
    Environment,
    PackageLoader,
    StrictUndefined,
    select_autoescape,
)

from bft.errors import DecodeError, FederationError, Refused
from chain.bitcoin.text import amount

CSP = (
    "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; "
    "img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": CSP,
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}
TIME = "%Y-%m-%d %H:%M:%S UTC"
SHORT = 12  # hex digits that are enough to tell keys and digests apart by eye
MICRO = 1_000_000
STATIC_PATH = "/static/{name}"
STATIC = {
    "style.css": "text/css",
    "live.js": "text/javascript",
    "icon.svg": "image/svg+xml",
    "check.js": "text/javascript",
}
VERIFIER = "verify.bundle.mjs"
"""The light client's, made from @noble/curves: chain/light/bundle."""

Page = Callable[[web.Request], Awaitable[web.Response]]


def short(text: str) -> str:
    """The first digits of a key or digest."""
    return text if len(text) <= SHORT else text[:SHORT] + "\u2026"


def nats(micronats: int | None) -> str:
    """Micro-nats as nats."""
    return "\u2013" if micronats is None else f"{micronats / MICRO:.6f}"


def grouped(number: int) -> str:
    """With thin spaces between thousands."""
    return f"{number:,}".replace(",", "\u202f")


def utc(seconds: int) -> str:
    """A time since 1970."""
    return time.strftime(TIME, time.gmtime(seconds))


def coins(value: int) -> str:
    """A value in coins, with all eight decimals."""
    return f"{amount(value):f}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """What is the same on all pages of one server."""

    package: str  # whose `templates` its pages are
    events: str  # path of the server-sent events that tell when a page is old
    places: tuple[tuple[str, str], ...]  # (path, name) in the bar on top; the first is "/"
    finds: str  # what the search field takes, for who hears it
    hint: str  # the same in few words, for who sees it
    footer: str  # whom one does not have to believe
    operator: str


class Pages:
    """A site's pages."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._templates = Environment(
            loader=ChoiceLoader([PackageLoader(site.package), PackageLoader("chain.web")]),
            autoescape=select_autoescape(default=True),
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        filters = {"short": short, "nats": nats, "grouped": grouped, "coins": coins, "utc": utc}
        self._templates.filters.update(filters)
        folder = files("chain.web") / "static"
        self._static = {name: (kind, (folder / name).read_bytes()) for name, kind in STATIC.items()}
        verifier = (files("chain.light") / "static" / VERIFIER).read_bytes()
        self._static[VERIFIER] = ("text/javascript", verifier)

    def show(
        self,
        template: str,
        here: str = "",
        *,
        http_status: int = 200,
        live: bool = True,
        **context: Any,
    ) -> web.Response:
        """A whole page; `here`: the path of the place in the bar that it is."""
        found = self._templates.get_template(template)
        text = found.render(site=self._site, here=here, live=live, **context)
        return web.Response(
            text=text, status=http_status, content_type="text/html", headers=HEADERS
        )

    def problem(self, status: int, title: str, text: str) -> web.Response:
        """That something went wrong."""
        return self.show("problem.html", http_status=status, live=False, title=title, text=text)

    def guarded(self, handler: Page) -> Page:
        """What goes wrong is a page as well."""

        async def shown(request: web.Request) -> web.Response:
            try:
                return await handler(request)
            except DecodeError as error:
                return self.problem(400, "That cannot be", str(error))
            except Refused as error:
                return self.problem(404, "Not found", str(error))
            except FederationError as error:
                return self.problem(503, "Not now", str(error))

        return shown

    def routes(self, pages: list[tuple[str, Page]]) -> list[web.RouteDef]:
        """Pages by their paths, and what they load."""
        shown = [web.get(path, self.guarded(handler)) for path, handler in pages]
        return [*shown, web.get(STATIC_PATH, self.get_static)]

    async def get_static(self, request: web.Request) -> web.Response:
        """What pages load."""
        name = request.match_info["name"]
        if name not in self._static:
            raise Refused("not-found", f"no file {name[:64]!r} here")
        headers = {**HEADERS, "Cache-Control": "public, max-age=3600"}
        kind, body = self._static[name]
        return web.Response(body=body, content_type=kind, charset="utf-8", headers=headers)


def go(path: str) -> web.Response:
    """To another page."""
    return web.Response(status=303, headers={"Location": path})
