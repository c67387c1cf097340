"""Who signed two blocks under one certificate is barred from the lottery for a while.

The bar counts from the certificate's cycle, so that it ends when it ends, however often and by
whomever the evidence is shown; and it stands in the miner's standing, beside that of a failed
audit, so that nothing else has to be remembered.
Source: docs/PROTOCOL.md, section 7, "Evidence"; docs/adr/0023-barred-winners.md.
Pure.
"""

from collections.abc import Mapping

from bft.crypto import identity
from bft.errors import BadSignature, DecodeError, Refused
from chain.params import Params
from chain.records.block import BlockHeader, CertifiedHeader
from chain.records.certificate import BlockCertificate, decode_certificate
from chain.records.coinbase import Coinbase
from chain.records.contribution import Standing
from chain.records.conviction import ShowEvidence, SignedContents
from chain.records.score_log import EvidenceShown
from chain.validation import verify_certificate


def judge(
    shown: ShowEvidence,
    *,
    federation_key: bytes,
    chain_id: bytes,
    cycle: int,
    standings: Mapping[bytes, Standing],
    params: Params,
) -> EvidenceShown:
    """Whom the evidence bars, and until when; the signatures are checked last.

    Args:
        federation_key: 96 bytes.
        cycle: the one that runs.
        standings: in force, by identity key.

    Raises:
        DecodeError: the certificate is malformed.
        Refused: "other-chain", "wrong-cycle" (of a later one), "too-old" (the bar would be over),
            "twice" (the key is barred as long already), "one-block" (both contents are the same),
            "bad-signature" (not the winner's), "bad-certificate" (not the federation's).
    """
    certificate, _ = decode_certificate(shown.certificate)
    if certificate.chain_id != chain_id:
        raise Refused("other-chain", f"evidence of chain {certificate.chain_id.hex()[:16]}")
    until = _check_age(certificate, cycle, standings, params)
    messages = [_winner_message(shown.certificate, each) for each in (shown.first, shown.second)]
    if messages[0] == messages[1]:
        raise Refused("one-block", "both signatures are over the same contents")
    for message, contents in zip(messages, (shown.first, shown.second), strict=True):
        _check_winner(certificate, contents, message)
    try:
        verify_certificate(shown.certificate, federation_key, chain_id)
    except (DecodeError, Refused) as error:
        raise Refused("bad-certificate", f"the federation did not sign that: {error}") from None
    return EvidenceShown(
        cycle=certificate.cycle,
        height=certificate.height,
        rank=certificate.rank,
        miner=certificate.winner,
        barred_until=until,
    )


def barred(standings: Mapping[bytes, Standing], shown: EvidenceShown) -> dict[bytes, Standing]:
    """Everybody's standing after it: the miner's proves nothing any more."""
    bar = Standing(units=0, segment=0, cycle=shown.cycle, barred_until=shown.barred_until)
    return {**standings, shown.miner: bar}


def _check_age(
    certificate: BlockCertificate, cycle: int, standings: Mapping[bytes, Standing], params: Params
) -> int:
    """The first cycle in which the winner may have work again."""
    if certificate.cycle > cycle:
        raise Refused("wrong-cycle", f"evidence of cycle {certificate.cycle}; {cycle} runs")
    until = certificate.cycle + 1 + params.barred_cycles
    if until <= cycle + 1:
        raise Refused(
            "too-old",
            f"evidence of cycle {certificate.cycle} bars up to cycle {until - 1}; {cycle} runs",
        )
    standing = standings.get(certificate.winner)
    if standing is not None and standing.barred_until >= until:
        raise Refused("twice", f"this key is barred up to cycle {standing.barred_until - 1}")
    return until


def _check_winner(certificate: BlockCertificate, contents: SignedContents, message: bytes) -> None:
    try:
        identity.verify(certificate.winner, contents.signature, message)
    except BadSignature as error:
        raise Refused("bad-signature", f"the winner did not sign that: {error}") from None


def _winner_message(certificate: bytes, contents: SignedContents) -> bytes:
    """32 bytes that the winner of the certificate signed if it made this block."""
    decoded, _ = decode_certificate(certificate)
    coinbase = Coinbase(
        height=decoded.height,
        reward=contents.reward,
        payee=contents.payee,
        certificate=certificate,
        signature=b"",
        commitment=contents.commitment,
        evidence=contents.evidence,
        solution=b"" if contents.slot else None,
    )
    header = BlockHeader(
        version=contents.version,
        previous=decoded.parent,
        merkle_root=bytes(32),  # with the signature in it; the message has the one without
        time=contents.time,
        bits=0,
        nonce=0,
    )
    block = CertifiedHeader(
        header=header, coinbase=coinbase, certificate=decoded, branch=contents.branch
    )
    return block.winner_message()
