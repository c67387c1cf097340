"""One block for one certificate, over restarts."""

from pathlib import Path

import pytest

from bft.errors import DecodeError
from miner.blocks import BLOCKS_KEPT_MAX, MadeBlocks
from tests.chain.federation_fixture import START, block_on, make_chain

BLOCK = block_on(START)
CERTIFICATE = BLOCK.coinbase.certificate


def test_a_block_is_found_again_after_a_restart(tmp_path: Path) -> None:
    assert MadeBlocks(tmp_path).find(CERTIFICATE) is None
    MadeBlocks(tmp_path).keep(CERTIFICATE, BLOCK.data)
    assert MadeBlocks(tmp_path).find(CERTIFICATE) == BLOCK.data
    other = block_on(START, rank=1)
    assert MadeBlocks(tmp_path).find(other.coinbase.certificate) is None


def test_a_damaged_block_is_not_made_anew(tmp_path: Path) -> None:
    MadeBlocks(tmp_path).keep(CERTIFICATE, BLOCK.data)
    (path,) = (tmp_path / "blocks").iterdir()
    path.write_bytes(BLOCK.data[:-1])
    with pytest.raises(DecodeError, match="no second"):
        MadeBlocks(tmp_path).find(CERTIFICATE)
    path.write_bytes(block_on(START, rank=1).data)
    with pytest.raises(DecodeError, match="another certificate"):
        MadeBlocks(tmp_path).find(CERTIFICATE)


def test_only_the_newest_are_kept(tmp_path: Path) -> None:
    made = MadeBlocks(tmp_path)
    for block in make_chain(BLOCKS_KEPT_MAX + 3):
        made.keep(block.coinbase.certificate, block.data)
    assert len(list((tmp_path / "blocks").iterdir())) == BLOCKS_KEPT_MAX
    assert made.find(block.coinbase.certificate) == block.data
