"""A replica's Ed25519 keys for checkpoints of the score log, made from its identity.

Whoever has the identity has them: a standby of the same identity signs with the same keys, and no
backup has to know of them.  Source: RFC 5869 (HKDF).
Pure.
"""

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from bft.crypto.identity import PrivateKey
from chain.tlog.checkpoint import log_origin
from chain.tlog.keys import LogKeys, cosigner_name, seal_keys
from chain.tlog.note import COSIGNATURE_V1, ED25519, Signer

_SECRET_BYTES = 32


class LogSigners:
    """What a replica signs checkpoints with."""

    def __init__(self, chain_id: bytes, identity: PrivateKey) -> None:
        name = cosigner_name(chain_id, identity.public_key)
        self.publisher = Signer(log_origin(chain_id), ED25519, _secret(chain_id, identity, b"log"))
        self.cosigner = Signer(name, COSIGNATURE_V1, _secret(chain_id, identity, b"cosigner"))
        self.keys = LogKeys(
            chain_id=chain_id,
            replica=identity.public_key,
            log_key=self.publisher.verifier.key,
            cosigner_key=self.cosigner.verifier.key,
        )
        self.statement = seal_keys(self.keys, identity.sign)


def _secret(chain_id: bytes, identity: PrivateKey, role: bytes) -> bytes:
    info = b"gristmill.tlog/1 " + role
    return HKDF(SHA256(), _SECRET_BYTES, salt=chain_id, info=info).derive(identity.secret)
