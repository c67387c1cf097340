"""Whose Ed25519 keys stand under checkpoints: each replica's word, signed by its identity key.

Genesis record and epochs name replicas by their ECDSA identities; tools for logs know Ed25519.  So
a replica states its two keys once, and whoever knows the members can check the statement and write
down the policy that such tools want.  Source: C2SP tlog-policy.
Pure.
"""

from collections.abc import Iterable, Mapping

from bft.codec.canonical import Record
from bft.codec.envelope import Sign, open_as, seal
from bft.codec.types import Bytes32, IdentityKey
from bft.errors import DecodeError
from bft.membership import Membership
from chain.tlog.checkpoint import log_origin
from chain.tlog.note import COSIGNATURE_V1, ED25519, Verifier

STATEMENT_BYTES_MAX = 1024


class LogKeys(Record):
    """`replica` says: these keys are mine, for checkpoints of this chain's log."""

    TAG = "gristmill.log-keys/1"

    chain_id: Bytes32
    replica: IdentityKey
    log_key: Bytes32  # Ed25519, under checkpoints that this replica publishes
    cosigner_key: Bytes32  # Ed25519, under checkpoints that it holds

    @property
    def publisher(self) -> Verifier:
        """The log key by its name."""
        return Verifier(log_origin(self.chain_id), ED25519, self.log_key)

    @property
    def cosigner(self) -> Verifier:
        """The cosigner's key by its name."""
        return Verifier(
            cosigner_name(self.chain_id, self.replica), COSIGNATURE_V1, self.cosigner_key
        )


def cosigner_name(chain_id: bytes, replica: bytes) -> str:
    """What a replica is called under checkpoints."""
    return f"{log_origin(chain_id)}/{replica.hex()}"


def seal_keys(keys: LogKeys, sign: Sign) -> bytes:
    """The encoded, signed statement."""
    return seal(keys, keys.replica, sign)


def open_keys(data: bytes, chain_id: bytes, replica: bytes) -> LogKeys:
    """The statement of one replica.

    Raises:
        DecodeError: malformed, for another chain, of another replica.
        BadSignature: not signed by its identity key.
    """
    signer, keys = open_as(LogKeys, data, bytes_max=STATEMENT_BYTES_MAX)
    if (signer, keys.replica, keys.chain_id) != (replica, replica, chain_id):
        raise DecodeError(f"these are not the log keys of {replica.hex()[:16]} for this chain")
    return keys


def policy(membership: Membership, stated: Mapping[bytes, LogKeys]) -> str:
    """The tlog-policy of an epoch: any member's log key, and a strong quorum of cosigners.

    Args:
        stated: by identity key; members without a statement are left out.

    Raises:
        DecodeError: fewer members than a strong quorum have stated their keys.
    """
    known = [(index, stated[key]) for index, key in enumerate(membership.keys) if key in stated]
    if len(known) < membership.strong:
        raise DecodeError(
            f"{len(known)} of {membership.n} members have stated their log keys; a policy needs "
            f"{membership.strong}"
        )
    names = [f"replica-{index}" for index, _ in known]
    lines = [f"log {keys.publisher.vkey}" for _, keys in known]
    lines += [
        f"witness {name} {keys.cosigner.vkey}" for name, (_, keys) in zip(names, known, strict=True)
    ]
    lines.append(f"group federation {membership.strong} {' '.join(names)}")
    lines.append("quorum federation")
    return "\n".join(lines) + "\n"


def vkeys(stated: Iterable[LogKeys]) -> tuple[str, ...]:
    """The verifier keys of cosigners, as text."""
    return tuple(keys.cosigner.vkey for keys in stated)
