"""Following the chain from certified headers alone, with the genesis record and the one key.

A block's certificate names its parent, so the certificate at height N + 1 proves block N: the
federation signs it for the block that it finalised.  The newest header is proven by nothing but
its own certificate, which says who may make a block and not which one: it is a tip until the next
certificate, or the federation's word of finality, settles it.
Source: docs/PROTOCOL.md, "Blocks"; docs/INTEROP.md, "Light clients".
Pure: the caller brings the time.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from bft.errors import DecodeError, Refused
from chain.bitcoin.merkle_block import decode_merkle_block
from chain.network import network_of
from chain.params import Params
from chain.records.block import CertifiedHeader, decode_certified_header
from chain.records.evidence import Finality
from chain.records.federation import FederationKey, Genesis
from chain.records.profile import Profile
from chain.validation import (
    ParentView,
    check_alone,
    check_header,
    genesis_view,
    verify_certificate,
    verify_certificates,
    verify_finality,
)

STALE_CYCLES = 2
"""Without a certificate for so many cycles, what is known may be what somebody wants one to see."""
FUTURE_S_MAX = 2 * 3600  # how far a block's time may be ahead of this clock; Bitcoin Core's rule


@dataclass(frozen=True, kw_only=True, slots=True)
class LightChain:
    """What somebody knows who has seen certified headers only."""

    chain_id: bytes  # 32
    federation_key: bytes  # 96
    profile: Profile  # of the headers
    proven: ParentView  # the newest block that the federation's signature names
    levels: int  # of the proven block's Merkle tree
    tip: CertifiedHeader | None  # on `proven`; certified, not proven
    epoch: int  # of the newest certificate
    federation: bytes  # 32, digest of the newest epoch's certificate that it names; or empty
    certified_s: int  # Unix seconds at which the newest certificate was made

    @property
    def height(self) -> int:
        """Of the newest header."""
        return self.proven.height + (self.tip is not None)


def begin(genesis: Genesis, federation_key: bytes) -> LightChain:
    """Before anything was seen."""
    start = genesis_view(genesis)
    return LightChain(
        chain_id=genesis.chain_id,
        federation_key=federation_key,
        profile=network_of(genesis),
        proven=start,
        levels=0,
        tip=None,
        epoch=0,
        federation=b"",
        certified_s=start.time,
    )


def view_of(certified: CertifiedHeader) -> ParentView:
    """A header as the next one's parent."""
    return ParentView(
        hash=certified.hash, height=certified.certificate.height, time=certified.header.time
    )


def follow(chain: LightChain, headers: Sequence[bytes]) -> LightChain:
    """The chain with `headers` (encoded certified headers, ascending) on it.

    All certificates are verified together, then each header on the one before.  A header in place
    of the tip is taken if its certificate has a higher rank: the federation has voided the lower.

    Raises:
        DecodeError, BadSignature, Refused: as `chain.validation.validate_header`; nothing of
            `headers` is believed then.
        Refused: "second-block" (two blocks for one place under one certificate, or a lower rank),
            "epoch-goes-back".
    """
    decoded = [decode_certified_header(data) for data in headers]
    certificates = [each.coinbase.certificate for each in decoded]
    verify_certificates(certificates, chain.federation_key, chain.chain_id)
    for certified in decoded:
        chain = _follow_one(chain, certified)
    return chain


def _follow_one(chain: LightChain, certified: CertifiedHeader) -> LightChain:
    certificate, tip = certified.certificate, chain.tip
    if certificate.epoch < chain.epoch:
        raise Refused(
            "epoch-goes-back", f"epoch {certificate.epoch} came after epoch {chain.epoch}"
        )
    if tip is not None and certificate.height == tip.certificate.height:
        if certified.hash == tip.hash:
            return chain
        if certificate.rank <= tip.certificate.rank:
            raise Refused(
                "second-block",
                f"another block of rank {certificate.rank} at height {certificate.height}; "
                f"one of rank {tip.certificate.rank} is here",
            )
        tip = None
    if tip is not None:
        check_header(certified, view_of(tip), chain.profile)
        chain = replace(chain, proven=view_of(tip), levels=len(tip.branch))
    else:
        check_header(certified, chain.proven, chain.profile)
    return replace(
        chain,
        tip=certified,
        epoch=certificate.epoch,
        federation=certificate.next_federation,
        certified_s=certificate.not_before,
    )


def finalise(chain: LightChain, finality: Finality) -> LightChain:
    """The chain with its tip proven by the federation's word.

    Raises:
        BadSignature: it is not the federation's.
        Refused: "not-the-tip": it speaks of another height; "other-block": of a block that is not
            here, so that this one will never be final.
    """
    verify_finality(
        chain.federation_key, chain.chain_id, finality.height, finality.block, finality.signature
    )
    here = chain.proven if chain.tip is None else view_of(chain.tip)
    if finality.height != here.height:
        raise Refused("not-the-tip", f"height {finality.height} came; the tip is at {here.height}")
    if finality.block != here.hash:
        raise Refused(
            "other-block", f"another block is final at height {finality.height} than the one here"
        )
    if chain.tip is None:
        return chain
    return replace(chain, proven=here, levels=len(chain.tip.branch), tip=None)


def cycle_s(params: Params) -> int:
    """The longest that a cycle takes by its phases, whole seconds, all ranks failing."""
    phases_ms = (
        params.registration_ms
        + params.training_ms
        + params.reveal_ms
        + params.evaluation_ms
        + params.snapshot_ms
        + params.block_ms * params.ranks_max
    )
    return -(-phases_ms // 1000)


def check_fresh(chain: LightChain, params: Params, now_s: int) -> None:
    """Returns if the newest certificate is young enough that nothing newer need be hidden.

    Raises:
        Refused: "stale", or "from-the-future": one of the two clocks is wrong.
    """
    age_s, limit_s = now_s - chain.certified_s, STALE_CYCLES * cycle_s(params)
    if age_s > limit_s:
        raise Refused(
            "stale",
            f"the newest certificate is {age_s} s old; after {limit_s} s ({STALE_CYCLES} cycles) "
            "what a server shows may be an old part of the chain",
        )
    if age_s < -FUTURE_S_MAX:
        raise Refused("from-the-future", f"the newest certificate is {-age_s} s ahead of here")


def check_epoch(chain: LightChain, epochs: Sequence[FederationKey]) -> FederationKey | None:
    """The certificate of the epoch that the newest block certificate names, among verified ones.

    None while nothing is certified.

    Raises:
        Refused: "unknown-epoch": it is not among `epochs`.
    """
    if not chain.federation:
        return None
    for found in epochs:
        if found.digest == chain.federation and found.epoch >= chain.epoch:
            return found
    raise Refused(
        "unknown-epoch",
        f"the newest certificate names the members of {chain.federation.hex()[:16]}; "
        f"they are none of the {len(epochs)} epochs known here",
    )


def prove_block(
    chain: LightChain, header: bytes, proof: bytes | Finality
) -> tuple[ParentView, int]:
    """(the block of an encoded certified header, levels of its Merkle tree), proven by itself.

    Args:
        chain: whose key; how far it has come does not matter.
        proof: the certified header of the next block, whose certificate names this one, or the
            federation's word.

    Raises:
        DecodeError, BadSignature, Refused: malformed, not the federation's, or a rule is broken.
        Refused: "wrong-parent", "other-block": the proof is for another block.
    """
    known = chain.federation_key, chain.chain_id
    certified = decode_certified_header(header)
    verify_certificate(certified.coinbase.certificate, *known)
    check_alone(certified, chain.profile)
    block = view_of(certified)
    if isinstance(proof, Finality):
        verify_finality(*known, proof.height, proof.block, proof.signature)
        if (proof.height, proof.block) != (block.height, block.hash):
            raise Refused("other-block", f"the federation's word is on height {proof.height}")
    else:
        above = decode_certified_header(proof)
        verify_certificate(above.coinbase.certificate, *known)
        check_header(above, block, chain.profile)
    return block, len(certified.branch)


def verify_transaction(proof: bytes, txid: bytes, block: ParentView, levels: int) -> int:
    """The place of a transaction (id in internal byte order) in a block that is proven.

    Args:
        proof: a merkle block (chain.bitcoin.merkle_block).
        block: proven by a `LightChain`.
        levels: of its Merkle tree, as its certified header shows them.

    Raises:
        DecodeError: malformed, for another block, or not of this transaction.
    """
    found = decode_merkle_block(proof)
    if found.header.hash != block.hash:
        raise DecodeError(
            f"the proof is for block {found.header.hash[::-1].hex()[:16]}; "
            f"{block.hash[::-1].hex()[:16]} stands at height {block.height}"
        )
    if found.levels != levels:
        raise DecodeError(f"a tree of {found.levels} levels came; the block's has {levels}")
    for place, matched in found.matched:
        if matched == txid:
            return place
    raise DecodeError(f"the proof says nothing of transaction {txid[::-1].hex()}")
