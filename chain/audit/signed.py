"""The federation's own signatures in derived leaves, by the functions that nodes call.

Pure.
"""

from bft.codec.canonical import Record
from chain.epochs import verify_epoch
from chain.records.block import block_hash
from chain.records.certificate import BlockCertificate
from chain.records.score_log import BeaconRound, BlockFinal, Certified, KeyActivated
from chain.rules.beacon import verify_round
from chain.validation import verify_certificate, verify_finality


def verify_derived(record: Record, key: bytes, chain_id: bytes) -> BlockCertificate | None:
    """The certificate, if `record` holds one; whatever the federation signed in it verifies.

    Args:
        key: 96 bytes, the one federation key.

    Raises:
        DecodeError, Refused: malformed, or not the federation's.
    """
    match record:
        case KeyActivated(federation_key=made):
            verify_epoch(made, key, chain_id)
        case BeaconRound():
            verify_round(key, record.round, record.signature)
        case Certified():
            return verify_certificate(record.certificate, key, chain_id)
        case BlockFinal():
            hashed = block_hash(record.header)
            verify_finality(key, chain_id, record.height, hashed, record.signature)
    return None
