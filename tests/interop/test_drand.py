"""drand's own client libraries accept our rounds from a running federation, and no others."""

from pathlib import Path

import pytest

from chain.records.score_log import BeaconRound, decode_leaf
from chain.rules.beacon import SCHEME, chain_info, randomness
from tests.chain.audit.mill import Mill
from tests.coordinator.service.beacon_mill import beaming
from tests.interop.tools import HERE, needs_node, node


@needs_node
@pytest.mark.integration
@pytest.mark.slow
async def test_the_npm_drand_client_verifies_our_rounds_and_refuses_changed_ones(
    tmp_path: Path,
) -> None:
    async with beaming(tmp_path) as beacon:
        info = chain_info(beacon.mill.genesis, beacon.federation_key)
        url = beacon.mill.urls[1]
        told = await node(
            HERE / "drand.mjs",
            url,
            info.hash.hex(),
            info.federation_key.hex(),
            *map(str, beacon.rounds),
        )
    assert [entry["round"] for entry in told["beacons"]] == list(beacon.rounds)
    assert told["latest"] == told["beacons"][-1]
    assert told["info"]["schemeID"] == SCHEME.decode()
    assert told["chains"] == [f"{url}/{info.hash.hex()}"]
    newest = beacon.rounds[1]
    assert told["health"] == {"status": 200, "current": newest, "expected": newest}
    assert len(told["refused"]) == 4 and all(told["refused"].values()), told["refused"]


def test_the_rust_drand_verify_accepts_our_rounds_and_no_others() -> None:
    drand_verify = pytest.importorskip("drand_verify", reason="needs `pip install drand-verify`")
    mill = Mill().found().cycle()
    assert mill.state.federation_key is not None
    key = mill.state.federation_key.key.hex()
    records = [decode_leaf(entry.leaf) for entry in mill.entries]
    rounds = [record for record in records if isinstance(record, BeaconRound)]
    assert [record.round for record in rounds] == [2, 3]
    for record in rounds:
        signature = record.signature.hex()
        verified = drand_verify.verify_bls_unchained_g1_rfc9380(record.round, signature, key)
        assert verified == randomness(record.signature).hex()
        with pytest.raises(ValueError):
            drand_verify.verify_bls_unchained_g1_rfc9380(record.round + 1, signature, key)
