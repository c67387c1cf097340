"""A program that we did not write accepts our log and cosignatures, and refuses a tampered copy.

aics-tlog verifies C2SP checkpoints, tiles and proofs.
"""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from chain.tlog.tiles import bundle_path, tile_path
from tests.chain.tlog.publishing import cosigner, log_signer, mill, publish
from tests.interop.tools import HERE
from tests.patience import PATIENCE_S

TOOLS = HERE / ".venv" / "bin"
AUDIT = """
import sys
from aics_tlog.tiles import FileSystemTileReader, TileVerificationError
from aics_tlog.verified import audit_tiles
home, size, root = sys.argv[1:]
try:
    audit_tiles(FileSystemTileReader(home), int(size), bytes.fromhex(root))
except TileVerificationError as error:
    sys.exit(f"refused: {error}")
print("all", size, "entries lead to the root")
"""

pytestmark = pytest.mark.skipif(
    not (TOOLS / "aics-tlog").exists(),
    reason="needs `uv venv --python 3.12 .venv` in tests/interop, and aics-tlog in it",
)


async def told(*command: str | Path) -> tuple[int, str]:
    """(exit status, all that a program printed)."""
    process = await asyncio.create_subprocess_exec(
        *map(str, command), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    try:
        async with asyncio.timeout(PATIENCE_S):
            out, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode is not None
    return process.returncode, out.decode(errors="replace")


async def verify(home: Path, quorum: int) -> tuple[int, Any]:
    """What aics-tlog says of the checkpoint in a directory, with all replicas' keys pinned."""
    made = mill()
    keys = [f"--witness-key={cosigner(made, n).verifier.vkey}" for n in range(4)]
    status, out = await told(
        *(TOOLS / "aics-tlog", "verify-checkpoint", "--tiles", home),
        *(f"--log-key={log_signer(made, 0).verifier.vkey}", f"--quorum={quorum}", *keys),
    )
    return status, json.loads(out)


async def rehash(home: Path, size: int, root: bytes) -> str:
    """The last line of its own walk over all tiles and bundles."""
    _, out = await told(TOOLS / "python", "-c", AUDIT, home, str(size), root.hex())
    return out.strip().splitlines()[-1]


async def test_it_accepts_the_log_and_its_cosignatures(tmp_path: Path) -> None:
    checkpoint = publish(tmp_path, mill(), (0, 1, 3))
    status, report = await verify(tmp_path, 3)
    assert status == 0 and report["ok"], report
    said = await rehash(tmp_path, checkpoint.size, checkpoint.root)
    assert said == f"all {checkpoint.size} entries lead to the root"


async def test_it_refuses_fewer_cosignatures_than_the_quorum(tmp_path: Path) -> None:
    publish(tmp_path, mill(), (0, 1))
    status, report = await verify(tmp_path, 3)
    assert status != 0 and not report["ok"], report


@pytest.mark.parametrize("kind", ["bundle", "tile", "root"])
async def test_it_refuses_a_tampered_copy(tmp_path: Path, kind: str) -> None:
    checkpoint = publish(tmp_path, mill(), range(4))
    width = checkpoint.size
    if kind == "root":
        note = tmp_path / "checkpoint"
        lines = note.read_text().split("\n")
        lines[2] = lines[2].swapcase()
        note.write_text("\n".join(lines))
        status, report = await verify(tmp_path, 3)
        assert status != 0 and not report["ok"], report
        return
    path = tmp_path / (bundle_path(0, width) if kind == "bundle" else tile_path(0, 0, width))
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    said = await rehash(tmp_path, checkpoint.size, checkpoint.root)
    assert said.startswith("refused: ")
