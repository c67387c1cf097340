"""What the tests with other people's programs need: Node and its modules, Chromium; or a skip."""

import asyncio
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.patience import PATIENCE_S

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
MODULES = HERE / "node_modules"
NODE = shutil.which("node")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")

needs_node = pytest.mark.skipif(
    NODE is None or not MODULES.is_dir(),
    reason="needs Node, and `npm install` in tests/interop",
)
needs_chromium = pytest.mark.skipif(
    CHROMIUM is None or not MODULES.is_dir(),
    reason="needs chromium, and `npm install` in tests/interop",
)


async def run(*command: str | Path) -> str:
    """A program's stdout; fails when the program does."""
    process = await asyncio.create_subprocess_exec(
        *map(str, command), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    try:
        async with asyncio.timeout(PATIENCE_S):
            out, err = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, err.decode(errors="replace")[-4_000:]
    return out.decode()


async def node(script: Path, *arguments: str | Path) -> Any:
    """What a Node script prints, as JSON."""
    assert NODE is not None
    return json.loads(await run(NODE, script, *arguments))
