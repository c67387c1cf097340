"""@noble/curves accepts what the federation signs: in Node, and in a page in a real browser."""

import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlencode

import pytest
from aiohttp import web

from bft.crypto import bls
from tests.coordinator.service.beacon_mill import beaming
from tests.interop.tools import (
    CHROMIUM,
    HERE,
    MODULES,
    ROOT,
    needs_chromium,
    needs_node,
    node,
    run,
)
from tests.vectors.generate import PATH as VECTORS

CHROMIUM_FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--window-size=900,1300", "--virtual-time-budget=60000"),
)


@pytest.fixture
def example(tmp_path: Path) -> Path:
    """The page's directory as its README makes it."""
    home = tmp_path / "examples"
    home.mkdir()
    for name in ("verify.html", "verify.mjs", "page.mjs"):
        shutil.copy(ROOT / "examples" / name, home)
    (home / "node_modules").symlink_to(MODULES)
    return home


@pytest.fixture
async def page(example: Path) -> AsyncIterator[str]:
    """Its address."""
    app = web.Application()
    app.router.add_static("/", example, follow_symlinks=True)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    yield f"http://{host}:{port}/verify.html"
    await runner.cleanup()


@needs_node
async def test_noble_accepts_every_vector_and_refuses_every_forgery(example: Path) -> None:
    told = await node(HERE / "noble.mjs", example / "verify.mjs", VECTORS)
    assert told["wrong"] == []
    assert all(count > 0 for count in told["counts"].values()), told["counts"]


async def browse(page: str, profile: Path, *flags: str, **given: str) -> str:
    """The page's document once it has checked what was given."""
    assert CHROMIUM is not None
    url = f"{page}#{urlencode(given)}"
    return await run(CHROMIUM, *CHROMIUM_FLAGS, f"--user-data-dir={profile}", *flags, url)


@needs_chromium
@pytest.mark.integration
@pytest.mark.slow
async def test_a_page_verifies_a_running_federations_certificate_and_its_draw(
    tmp_path: Path, page: str
) -> None:
    """And refuses it under another key or for another chain: the replica is not asked for those."""
    async with beaming(tmp_path / "mill") as beacon:
        right = {
            "key": beacon.federation_key.hex(),
            "chain": beacon.mill.genesis.chain_id.hex(),
            "replica": beacon.mill.urls[2],
        }
        good = await browse(page, tmp_path / "a", "--dump-dom", **right)
        assert 'data-verdict="good"' in good and good.count('<li class="good">') == 3
        assert f"Beacon round {beacon.rounds[1]} is the federation's" in good
        other_key = {**right, "key": bls.public_key(7).hex()}
        for wrong, word in (
            (other_key, "the signature is not the federation's"),
            ({**right, "chain": "00" * 32}, "it is for chain"),
            ({**right, "cycle": str(beacon.cycle + 1)}, "answered 404"),
        ):
            bad = await browse(page, tmp_path / "a", "--dump-dom", **wrong)
            assert 'data-verdict="bad"' in bad and word in bad and '<li class="good">' not in bad
        picture = tmp_path / "page.png"
        await browse(page, tmp_path / "a", f"--screenshot={picture}", **right)
        assert picture.read_bytes().startswith(b"\x89PNG")
