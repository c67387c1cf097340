"""What makes a certificate, a header and a block valid: the one definition.

Coordinator, node and auditor call these functions and no others.  Each returns the decoded, checked
thing, or raises: DecodeError or BadSignature for bytes that prove nothing, Refused with a code for
a rule that was broken.
Source: docs/PROTOCOL.md, "Blocks"; Bitcoin Core, validation.cpp, where the rule is Bitcoin's.
Pure: no clock.  What depends on the present (a block from the future) is the node's to decide.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bft.codec.canonical import decode
from bft.crypto import bls, identity
from bft.crypto.merkle import leaf_hash, verify_inclusion
from bft.errors import BadSignature, DecodeError, Refused
from chain.bitcoin import signet
from chain.bitcoin.ledger import Coin, Coins, check_scripts, connect
from chain.params import Params
from chain.records.block import (
    BLOCK_VERSION,
    Block,
    BlockHeader,
    CertifiedHeader,
    decode_block,
    decode_certified_header,
    decode_header,
    genesis_header,
)
from chain.records.certificate import BlockCertificate, decode_certificate, finality_message
from chain.records.coinbase import pay_to_key, witness_commitment
from chain.records.evaluation import ScoreRow
from chain.records.evidence import (
    Equivocation,
    Evidence,
    Finality,
    contradict,
    decode_evidence,
    decode_statement,
    signed_once,
)
from chain.records.federation import Genesis
from chain.records.profile import MAIN, Profile, profile_of
from chain.records.transaction import Transaction, bitcoin_merkle_root, climb
from chain.rules.reward import subsidy

CONTRIBUTION_PROOF_MAX = 64  # hashes; a tree of 2**64 leaves has no longer one
CONTRIBUTION_BYTES_MAX = 512


@dataclass(frozen=True, kw_only=True, slots=True)
class ParentView:
    """What the next block must fit on."""

    hash: bytes  # 32, internal byte order
    height: int
    time: int  # Unix seconds


def genesis_view(genesis: Genesis) -> ParentView:
    """Block 0, which everybody derives from the genesis record."""
    header = decode_header(genesis_header(genesis))
    return ParentView(hash=header.hash, height=0, time=header.time)


def verify_certificate(data: bytes, federation_key: bytes, chain_id: bytes) -> BlockCertificate:
    """The certificate in `data` (371 bytes), signed by the federation, for this chain.

    Raises:
        DecodeError: malformed.
        BadSignature: not signed under `federation_key` (96 bytes).
        Refused: "other-chain", or "certificate-window" when its window is empty.
    """
    certificate, signature = _unverified(data, chain_id)
    bls.verify(federation_key, signature, certificate.message())
    return certificate


def verify_certificates(
    several: Sequence[bytes], federation_key: bytes, chain_id: bytes
) -> tuple[BlockCertificate, ...]:
    """As `verify_certificate` for each; cheaper than one by one.

    Raises:
        As `verify_certificate` for the first that does not stand.
    """
    found = [_unverified(data, chain_id) for data in several]
    try:
        bls.verify_batch([(federation_key, said, each.message()) for each, said in found])
    except BadSignature:
        for each, said in found:
            bls.verify(federation_key, said, each.message())
        raise
    return tuple(each for each, _ in found)


def _unverified(data: bytes, chain_id: bytes) -> tuple[BlockCertificate, bytes]:
    """(certificate, signature), everything checked but the signature."""
    certificate, signature = decode_certificate(data)
    if certificate.chain_id != chain_id:
        raise Refused(
            "other-chain",
            f"the certificate is for chain {certificate.chain_id.hex()[:16]}; "
            f"this is {chain_id.hex()[:16]}",
        )
    if certificate.not_before > certificate.not_after:
        raise Refused("certificate-window", "the certificate's time window ends before it begins")
    return certificate, signature


def verify_contribution(
    row: bytes, index: int, size: int, proof: Sequence[bytes], certificate: BlockCertificate
) -> ScoreRow:
    """The score row that stands at `index` of the `size` rows under a verified `certificate`.

    Together they are a contribution certificate.

    Raises:
        DecodeError: malformed, too long a proof, or not under the certificate's root.
        Refused: "other-cycle": the row speaks of another cycle than the certificate.
    """
    score = decode(ScoreRow, row, bytes_max=CONTRIBUTION_BYTES_MAX)
    if len(proof) > CONTRIBUTION_PROOF_MAX or any(len(sibling) != 32 for sibling in proof):
        raise DecodeError(f"a proof has at most {CONTRIBUTION_PROOF_MAX} hashes of 32 bytes")
    verify_inclusion(leaf_hash(row), index, size, proof, certificate.contributions_root)
    if score.cycle != certificate.cycle:
        raise Refused(
            "other-cycle",
            f"the row is of cycle {score.cycle}, the certificate of {certificate.cycle}",
        )
    return score


def verify_finality(
    federation_key: bytes, chain_id: bytes, height: int, block_hash: bytes, signature: bytes
) -> None:
    """Returns if the federation finalised `block_hash` (32 bytes) at `height`.

    Raises:
        BadSignature: it did not sign that.
    """
    bls.verify(federation_key, signature, finality_message(chain_id, height, block_hash))


def validate_header(
    data: bytes,
    federation_key: bytes,
    chain_id: bytes,
    parent: ParentView,
    profile: Profile = MAIN,
) -> CertifiedHeader:
    """The certified header in `data`, valid on `parent`; rewards and transactions are not seen.

    Raises:
        DecodeError, BadSignature: malformed, or certificate or winner's signature do not stand.
        Refused: a rule is broken; see `_check_place` and `_check_contents`.
    """
    certified = decode_certified_header(data)
    verify_certificate(certified.coinbase.certificate, federation_key, chain_id)
    check_header(certified, parent, profile)
    return certified


def check_header(certified: CertifiedHeader, parent: ParentView, profile: Profile = MAIN) -> None:
    """As `validate_header`, for a header whose certificate is verified already."""
    _check_place(certified.header, certified.certificate, parent)
    _check_contents(certified, profile)


def validate_block(
    data: bytes,
    federation_key: bytes,
    chain_id: bytes,
    params: Params,
    parent: ParentView,
    coins: Coins | None = None,
    profile: Profile | None = None,
) -> Block:
    """The block in `data`, valid on `parent` in every respect that needs no clock.

    `coins`: as `parent` leaves them; None where they are not known, which is enough for a block
    that spends nothing.  `profile`: by chain/network.py; None where `params` say it all, as they
    do but for signet.

    Raises:
        DecodeError: malformed, or a Merkle root or commitment over other contents.
        BadSignature: certificate or winner's signature do not stand.
        Refused: a rule is broken; the code says which.
    """
    block = decode_block(data)
    verify_certificate(block.coinbase.certificate, federation_key, chain_id)
    profile = profile_of(params.profile) if profile is None else profile
    check_authorship(block, parent, profile)
    check_reward(block, params, coins)
    return block


def check_authorship(
    block: Block,
    parent: ParentView,
    profile: Profile = MAIN,
    known: CertifiedHeader | None = None,
) -> None:
    """Whether it is its winner's on `parent`; the transactions are those that the winner signed.

    Its certificate is verified already; its transactions are not judged.

    Args:
        known: the block's header, if it was found valid on `parent` before.

    Raises: as `validate_block`.
    """
    if known is None:
        _check_place(block.header, block.certificate, parent)
        _check_contents(block.certified_header, profile)
    _check_roots(block)


def check_draft(block: Block, parent: ParentView, profile: Profile) -> None:
    """As `check_authorship`, for what replicas sign in a profile that wants solutions.

    Its solution is empty, and nobody has worked on its nonce.

    Raises: as `validate_block`.
    """
    assert profile.signed
    header = block.header
    _check_place(header, block.certificate, parent)
    came = (header.version, header.bits, header.nonce)
    if came != (BLOCK_VERSION, profile.bits, 0):
        raise Refused("header-fields", f"version, bits and nonce of a draft are {came}")
    if block.coinbase.solution != b"":
        raise Refused("solution", "a draft has a slot for its solution, and nothing in it")
    _check_winner(block.certified_header)
    _check_roots(block)


def _check_roots(block: Block) -> None:
    ids = [entry.txid for entry in block.transactions]
    if bitcoin_merkle_root(ids) != block.header.merkle_root:
        raise DecodeError("the header's Merkle root is over other transactions")
    witnesses = bitcoin_merkle_root([entry.wtxid for entry in block.transactions])
    if witness_commitment(witnesses) != block.coinbase.commitment:
        raise DecodeError("the witness commitment is over other witnesses")


def check_reward(
    block: Block,
    params: Params,
    coins: Coins | None,
    verified: Callable[[Transaction], bool] | None = None,
    run: Callable[[Transaction, tuple[Coin, ...]], None] = check_scripts,
) -> None:
    """Whether its transactions are valid on `coins`, and its coinbase pays no more than allowed.

    `verified`, `run`: see `chain.bitcoin.ledger.connect`.

    Raises:
        Refused: see `chain.bitcoin.ledger.connect`; or "coins-unknown", "reward-too-high".
    """
    allowed = subsidy(block.certificate.height, params) + _fees(block, coins, verified, run)
    if block.coinbase.reward > allowed:
        raise Refused(
            "reward-too-high",
            f"the coinbase pays {block.coinbase.reward}; "
            f"at height {block.certificate.height} it may pay {allowed}",
        )


def _fees(
    block: Block,
    coins: Coins | None,
    verified: Callable[[Transaction], bool] | None,
    run: Callable[[Transaction, tuple[Coin, ...]], None],
) -> int:
    """What the block's transactions, valid on `coins`, leave to its winner."""
    if coins is not None:
        return connect(block.transactions, block.certificate.height, coins, verified, run).fees
    if len(block.transactions) > 1 or block.coinbase.evidence:
        raise Refused("coins-unknown", "the coins that this block spends are not known here yet")
    return 0


def _check_place(header: BlockHeader, certificate: BlockCertificate, parent: ParentView) -> None:
    """Parent, height and time.  The order is that of what a reader would ask first."""
    if header.previous != certificate.parent:
        raise Refused(
            "parent-not-certified", "the header names another parent than its certificate"
        )
    if header.previous != parent.hash:
        raise Refused(
            "wrong-parent",
            f"the block is on {header.previous[::-1].hex()[:16]}; "
            f"the parent is {parent.hash[::-1].hex()[:16]}",
        )
    if certificate.height != parent.height + 1:
        raise Refused(
            "wrong-height",
            f"the certificate is for height {certificate.height}; {parent.height + 1} is next",
        )
    if header.time <= parent.time:
        raise Refused(
            "time-not-after-parent", f"block time {header.time}; the parent's is {parent.time}"
        )
    if header.time < certificate.not_before:
        raise Refused(
            "too-early", f"block time {header.time}; allowed from {certificate.not_before} on"
        )
    if header.time > certificate.not_after:
        raise Refused(
            "too-late", f"block time {header.time}; allowed until {certificate.not_after}"
        )


def _check_contents(certified: CertifiedHeader, profile: Profile) -> None:
    """Who is paid, who signed, and that nothing is left open for a third party to alter."""
    check_fields(certified.header, profile)
    _check_solution(certified, profile)
    _check_winner(certified)


def _check_winner(certified: CertifiedHeader) -> None:
    header, coinbase, certificate = certified.header, certified.coinbase, certified.certificate
    if coinbase.height != certificate.height:
        raise Refused(
            "coinbase-height",
            f"the coinbase says height {coinbase.height}, its certificate {certificate.height}",
        )
    if coinbase.payee != pay_to_key(certificate.winner):
        raise Refused("not-the-winners-reward", "the reward goes to another key than the winner's")
    try:
        identity.verify(certificate.winner, coinbase.signature, certified.winner_message())
    except BadSignature as error:
        raise BadSignature(f"the winner did not sign these contents: {error}") from None
    root = climb(coinbase.transaction().txid, certified.branch)
    if root != header.merkle_root:
        raise DecodeError("the coinbase is not under the header's Merkle root")


def check_fields(header: BlockHeader, profile: Profile) -> None:
    """What nobody signs has one value; in signet the work is done.  Raises Refused: it is not."""
    if profile.signed:
        if (header.version, header.bits) != (BLOCK_VERSION, profile.bits):
            raise Refused(
                "header-fields",
                f"version {header.version:#x} and bits {header.bits:#x} came; "
                f"{BLOCK_VERSION:#x} and {profile.bits:#x} are expected",
            )
        if not profile.meets(header.encode()):
            raise Refused("high-hash", f"the hash {header.hash[::-1].hex()} is above the target")
        return
    came = (header.version, header.bits, header.nonce)
    allowed = (BLOCK_VERSION, profile.bits, profile.nonce(header.encode()))
    if came != allowed:
        raise Refused(
            "header-fields",
            f"version {came[0]:#x}, bits {came[1]:#x}, nonce {came[2]} came; "
            f"{allowed[0]:#x}, {allowed[1]:#x}, {allowed[2]} are the only ones allowed",
        )


def _check_solution(certified: CertifiedHeader, profile: Profile) -> None:
    """BIP 325: enough founders signed it, in the one form that `solution_of` gives."""
    solution = certified.coinbase.solution
    if (solution is not None) != profile.signed:
        there = "no" if solution is None else "a"
        raise Refused("solution", f"{there} slot for a solution came; the chain is {profile.name}")
    if solution is None:
        return
    assert profile.challenge, "chain/network.py knows the challenge"
    signet.check_form(solution, profile.challenge)
    transaction = certified.coinbase.transaction()
    signet.verify_solution(certified.header, transaction, certified.branch, profile.challenge)


def check_alone(certified: CertifiedHeader, profile: Profile = MAIN) -> None:
    """Everything that a header with a verified certificate shows by itself, without its parent.

    Raises: as `validate_header`.
    """
    certificate = certified.certificate
    parent = ParentView(hash=certificate.parent, height=certificate.height - 1, time=-1)
    _check_place(certified.header, certificate, parent)
    _check_contents(certified, profile)


def verify_evidence(
    data: bytes, federation_key: bytes, chain_id: bytes, profile: Profile = MAIN
) -> Evidence:
    """The evidence in `data`, every signature under it verified.

    Raises:
        DecodeError, BadSignature: malformed, or a signature does not stand.
        Refused: "no-contradiction", or a rule that one of its parts breaks.
    """
    evidence = decode_evidence(data)
    if isinstance(evidence, Equivocation):
        for certified in (evidence.first, evidence.second):
            verify_certificate(certified.coinbase.certificate, federation_key, chain_id)
            check_alone(certified, profile)
        if evidence.first.coinbase.certificate != evidence.second.coinbase.certificate:
            raise Refused("no-contradiction", "the two blocks have two certificates")
        if signed_once(evidence.first, evidence.second):
            raise Refused("no-contradiction", "the winner signed once; others altered the rest")
        return evidence
    for statement in (evidence.first, evidence.second):
        _verify_statement(statement, federation_key, chain_id)
    if not contradict(decode_statement(evidence.first), decode_statement(evidence.second)):
        raise Refused("no-contradiction", "both statements can be true")
    return evidence


def _verify_statement(data: bytes, federation_key: bytes, chain_id: bytes) -> None:
    statement = decode_statement(data)
    if isinstance(statement, Finality):
        verify_finality(
            federation_key, chain_id, statement.height, statement.block, statement.signature
        )
    else:
        verify_certificate(data, federation_key, chain_id)
