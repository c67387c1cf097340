"""An address is one that can be asked, or its owner's error."""

import pytest
from aiohttp import web

from bft.errors import ConfigError
from chain.federation.transport import RETRY_S_MAX, Later, Transport, base_url, refusal


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("http://127.0.0.1:8000", "http://127.0.0.1:8000"),
        ("https://a.example/path/", "https://a.example/path"),
        ("http://[::1]:7", "http://[::1]:7"),
    ],
)
def test_an_address_ends_without_a_slash(text: str, expected: str) -> None:
    assert base_url(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        *("", "127.0.0.1:8000", "ftp://a", "http://", "http://a?b", "http://a#b", "http://[::1"),
        "http://[::1]:@",  # found by fuzzing
    ],
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ConfigError):
        base_url(text)


@pytest.mark.parametrize(
    ("text", "wanted_s"),
    [
        ("7", 7),
        (str(RETRY_S_MAX + 1), RETRY_S_MAX),
        *((text, 0) for text in ("", "-1", "x", "1.5", "9" * 10, "Wed, 21 Oct 2026 07:28:00 GMT")),
    ],
)
async def test_who_is_told_to_come_again_knows_when(text: str, wanted_s: int) -> None:
    async def busy(request: web.Request) -> web.Response:
        return web.Response(status=429, headers={"Retry-After": text})

    app = web.Application()
    app.router.add_get("/", busy)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        url = f"http://127.0.0.1:{runner.addresses[0][1]}/"
        async with Transport() as transport:
            error = refusal(await transport.exchange("GET", url, bytes_max=100))
    finally:
        await runner.cleanup()
    assert isinstance(error, Later) and error.retry_s == wanted_s
