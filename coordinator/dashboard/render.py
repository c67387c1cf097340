"""Templates to pages: escaped; with headers that let a page load what lies beside it alone."""

from typing import Any

from aiohttp import web
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

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
SHORT = 12  # hex digits that are enough to tell keys and digests apart by eye
MICRO = 1_000_000

_pages = Environment(
    loader=PackageLoader("coordinator.dashboard"),
    autoescape=select_autoescape(default=True),
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def short(text: str) -> str:
    """The first digits of a key or digest."""
    return text if len(text) <= SHORT else text[:SHORT] + "\u2026"


def nats(micronats: int | None) -> str:
    """Micro-nats as nats."""
    return "\u2013" if micronats is None else f"{micronats / MICRO:.6f}"


def grouped(number: int) -> str:
    """With thin spaces between thousands."""
    return f"{number:,}".replace(",", "\u202f")


_pages.filters.update(short=short, nats=nats, grouped=grouped)


def page(template: str, http_status: int = 200, **context: Any) -> web.Response:
    """A whole page."""
    text = _pages.get_template(template).render(context)
    return web.Response(text=text, status=http_status, content_type="text/html", headers=HEADERS)
