"""The short form of `python -m tests.chain.thousand`: a simulated federation, three judges."""

from pathlib import Path

from tests.chain.thousand import run

BLOCKS = 20


def test_core_our_node_and_our_light_client_agree_on_a_federations_chain(tmp_path: Path) -> None:
    found = run(BLOCKS, 1, tmp_path, damaged=1.0)
    assert found["blocks"] == BLOCKS
    refused = found["refused"]
    assert isinstance(refused, dict) and len(refused) >= 4
