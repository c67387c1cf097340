"""Programs that we did not write accept our log and cosignatures, and refuse a tampered copy.

aics-tlog verifies C2SP checkpoints, tiles and proofs; aics-witness is a C2SP tlog-witness.
"""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from chain.tlog.checkpoint import Checkpoint, note_of, sign, verify_line
from chain.tlog.note import Note, decode_vkey
from chain.tlog.tiles import Hashes, bundle_path, tile_path
from coordinator.service.witness import Witness
from tests.chain.tlog.publishing import cosigner, log_signer, mill, publish, write_entries
from tests.interop.tools import HERE
from tests.patience import PATIENCE_S
from tests.ports import claim_ports

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


@asynccontextmanager
async def witnessing(home: Path) -> AsyncIterator[tuple[str, str]]:
    """(URL, vkey) of a running witness that knows our log."""
    (port,) = claim_ports(1)
    config = home / "witness.json"
    program = TOOLS / "aics-witness"
    address, vkey = f"127.0.0.1:{port}", log_signer(mill(), 0).verifier.vkey
    status, out = await told(
        program, "init", "-c", config, "--name", "witness.example/w1", "--listen", address
    )
    assert status == 0, out
    origin = log_signer(mill(), 0).name
    status, out = await told(program, "add-log", "-c", config, "--origin", origin, "--vkey", vkey)
    assert status == 0, out
    _, out = await told(program, "status", "-c", config)
    own = next(word for word in re.split(r'[\s"]+', out) if word.startswith("witness.example/w1+"))
    process = await asyncio.create_subprocess_exec(
        *(str(program), "serve", "-c", str(config)),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        async with asyncio.timeout(PATIENCE_S):
            while True:
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                except OSError:
                    await asyncio.sleep(0.05)
                    continue
                writer.close()
                break
        yield f"http://{address}", own
    finally:
        process.kill()
        await process.wait()


def grown(home: Path, size: int) -> tuple[Checkpoint, Note, Hashes]:
    """The log's first entries in files, and our word for them."""
    tree = write_entries(home, mill().entries[:size])
    checkpoint = Checkpoint(log_signer(mill(), 0).name, size, tree.root())
    note = note_of(checkpoint, sign(checkpoint, log_signer(mill(), 0)))
    return checkpoint, note, Hashes(size, lambda name: (home / name).read_bytes())


async def test_a_witness_signs_as_the_log_grows_and_not_when_it_was_rewritten(
    tmp_path: Path,
) -> None:
    async with witnessing(tmp_path) as (url, vkey):
        ours = Witness(url, decode_vkey(vkey))
        for size in (5, 12, 30):
            checkpoint, note, hashes = grown(tmp_path / str(size), size)
            line = await ours.cosign(checkpoint, note, hashes.consistency)
            assert line is not None and verify_line(checkpoint, line, decode_vkey(vkey))
        forgetful = Witness(url, decode_vkey(vkey))
        checkpoint, note, hashes = grown(tmp_path / "40", 40)
        assert await forgetful.cosign(checkpoint, note, hashes.consistency), "it was told 30"
        other = replace(checkpoint, size=41, root=bytes(32))
        lie = note_of(other, sign(other, log_signer(mill(), 0)))
        assert await ours.cosign(other, lie, hashes.consistency) is None
