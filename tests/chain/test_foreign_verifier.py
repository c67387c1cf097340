"""What the federation signs is accepted by a library that shares no code with ours."""

from chain.records.block import block_hash
from chain.records.certificate import decode_certificate, finality_message
from chain.records.score_log import BeaconRound, BlockFinal, Certified, KeyActivated, decode_leaf
from chain.rules.beacon import round_message
from tests.bft.crypto.py_ecc_verifier import py_ecc_verifies
from tests.chain.audit.mill import Mill


def test_key_beacon_certificate_and_finality_of_a_cycle_verify_under_py_ecc() -> None:
    mill = Mill().found().cycle()
    key, seen = b"", []
    for entry in mill.entries:
        record = decode_leaf(entry.leaf)
        match record:
            case KeyActivated():
                made = record.federation_key
                key = made.key
                message, signature = made.message, made.activation
            case BeaconRound():
                message, signature = round_message(record.round), record.signature
            case Certified():
                certificate, signature = decode_certificate(record.certificate)
                message = certificate.message()
            case BlockFinal():
                chain_id = mill.genesis.chain_id
                message = finality_message(chain_id, record.height, block_hash(record.header))
                signature = record.signature
            case _:
                continue
        seen.append(type(record).__name__)
        assert py_ecc_verifies(key, signature, message)
        assert not py_ecc_verifies(key, signature, bytes(32))
    assert seen == ["KeyActivated", "BeaconRound", "BeaconRound", "Certified", "BlockFinal"]
