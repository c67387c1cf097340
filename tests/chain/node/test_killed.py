"""kill -9 of a node that catches up: nothing final is lost, and chain and coins agree."""

import subprocess
import sys
from pathlib import Path

from chain.gossip_events import BlockSubmitted
from chain.node.core import NodeCore, unix_ms
from tests.chain.federation_fixture import block_on, view_of
from tests.chain.node.homes import make_config

ROOT = Path(__file__).parents[3]
TOLD = (3, 8)  # lines after which it is killed, once in the beginning and once on what it had


def kill_after(home: Path, lines: int) -> tuple[int, str]:
    """What it told last."""
    command = [sys.executable, "-m", "tests.chain.node.following_node", str(home)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as node:
        assert node.stdout is not None
        told = [node.stdout.readline() for _ in range(lines)]
        node.kill()
        told += [line for line in node.stdout if line.endswith("\n")]
    height, block_hash = told[-1].split()
    return int(height), block_hash


def test_what_was_told_as_final_is_there_after_kill_9(tmp_path: Path) -> None:
    reached = 0
    for lines in TOLD:
        height, block_hash = kill_after(tmp_path, lines)
        assert height > reached
        core = NodeCore(make_config(tmp_path), unix_ms)
        found = core.store.final_hash(height)
        assert found is not None and found.hex() == block_hash
        reached = core.tree.final.height
        assert core.store.coins.height == reached >= height
        assert core.store.coins.totals()[0] == reached, "each block's reward, none twice"
        for at in range(1, reached + 1):
            header = core.store.final_header(at)
            assert header is not None
            assert header[4:36] == core.store.final_hash(at - 1)
        following = block_on(core.tree.tip)
        core.step(BlockSubmitted(data=following.data), lambda effect: None)
        assert core.tree.tip == view_of(following)
        core.close()
