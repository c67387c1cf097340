"""The chain of epochs: who the members are, for whoever knows the genesis record and the one key.

An epoch's certificate (`FederationKey`) names its members and is signed under the federation key,
which no change of members changes.  An epoch has one certificate: at least a strong quorum of the
members before signed it, each for one list only.
Source: docs/PROTOCOL.md, section 7, "Members"; docs/adr/0010-epochs.md for what it rests on.
Pure.
"""

from collections.abc import Iterable

from bft import quorum
from bft.crypto import bls
from bft.errors import ConfigError, Refused
from chain.records.federation import FederationKey, Genesis
from chain.rules.membership import check_members, check_next_members


def verify_epoch(certificate: FederationKey, federation_key: bytes, chain_id: bytes) -> None:
    """Returns if this is the certificate of an epoch of this chain.

    Raises:
        Refused: "wrong-chain", "other-key", "wrong-threshold" (not one commitment for each share
            that a signature takes), "no-members" (the list cannot be an epoch's).
        BadSignature: the federation has not signed it.
    """
    if certificate.chain_id != chain_id:
        raise Refused(
            "wrong-chain",
            f"chain {certificate.chain_id.hex()[:16]} came; this is {chain_id.hex()[:16]}",
        )
    if certificate.key != federation_key:
        raise Refused(
            "other-key",
            f"federation key {certificate.key.hex()[:16]} came; it is {federation_key.hex()[:16]}",
        )
    strong = quorum.strong(len(certificate.members))
    if len(certificate.commitments) != strong:
        raise Refused(
            "wrong-threshold", f"{len(certificate.commitments)} commitments came; {strong} expected"
        )
    try:
        (check_next_members if certificate.epoch else check_members)(certificate.members)
    except ConfigError as error:
        raise Refused("no-members", str(error)) from None
    bls.verify(federation_key, certificate.activation, certificate.message)


def follow_epochs(
    genesis: Genesis,
    federation_key: bytes,
    certificates: Iterable[FederationKey],
    known: tuple[FederationKey, ...] = (),
) -> tuple[FederationKey, ...]:
    """The certificates of all epochs, from epoch 0 on, each one verified.

    Args:
        federation_key: 96 bytes, pinned or derived from the log (chain/audit/anchor.py).
        certificates: as a replica served them, from any epoch up to the next unknown one on.
        known: what an earlier call gave.

    Raises:
        Refused: as `verify_epoch`; "gap" (an epoch is left out), "other-members" (epoch 0 has not
            the genesis record's), "two-certificates" (another one than the known one: more than f
            members of the epoch before have broken their word, or their key shares were stolen).
        BadSignature: the federation has not signed one of them.
    """
    chain = list(known)
    for certificate in certificates:
        if certificate.epoch < len(chain):
            if certificate != chain[certificate.epoch]:
                raise Refused(
                    "two-certificates", f"epoch {certificate.epoch} has another certificate here"
                )
            continue
        if certificate.epoch != len(chain):
            raise Refused("gap", f"epoch {certificate.epoch} came; epoch {len(chain)} is next")
        verify_epoch(certificate, federation_key, genesis.chain_id)
        if certificate.epoch == 0 and certificate.members != genesis.members:
            raise Refused("other-members", "epoch 0 has the members of the genesis record")
        chain.append(certificate)
    return tuple(chain)
