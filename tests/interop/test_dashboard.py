"""A replica's pages in a real browser: by clicks from the front page to a verified certificate."""

from pathlib import Path

import pytest

from tests.coordinator.service.beacon_mill import beaming
from tests.interop.tools import CHROMIUM, HERE, needs_chromium, needs_node, node


@needs_chromium
@needs_node
@pytest.mark.integration
@pytest.mark.slow
async def test_a_visitor_clicks_from_the_front_page_to_a_verified_certificate(
    tmp_path: Path,
) -> None:
    """On the way no page has an error, an axe-core violation, or scrolls sideways on a phone."""
    assert CHROMIUM is not None
    async with beaming(tmp_path / "mill") as beacon:
        seen = await node(HERE / "dashboard.mjs", CHROMIUM, beacon.mill.urls[0], tmp_path)
    assert seen["verdict"] == "good", seen["checks"]
    assert len(seen["checks"]) == 3
    assert seen["errors"] == [] and seen["violations"] == [] and seen["wide"] == []
    assert len(seen["visited"]) == 7
    assert all((tmp_path / f"{name}.png").stat().st_size for name in seen["visited"])
