"""Vectors of what the federation signs: key, beacon, certificate, contribution, finality."""

from dataclasses import asdict, replace
from typing import Any

from bft.codec.canonical import encode
from bft.crypto import bls, threshold
from bft.crypto.hashing import sha256
from bft.crypto.merkle import inclusion_proof, merkle_root
from chain.records.certificate import BlockCertificate, finality_message
from chain.records.evaluation import ScoreRow
from chain.records.federation import members_digest
from chain.rules.beacon import chain_info, randomness, round_message
from tests.vectors.cast import (
    CHAIN_ID,
    FEDERATION_KEY,
    GENESIS,
    KEY_RECORD,
    MEMBERS,
    MINERS,
    OTHER_POINT,
    POLYNOMIAL,
    PUBLIC,
    SHARES,
    sign,
)

IDENTITY_G1 = b"\xc0" + bytes(47)
IDENTITY_G2 = b"\xc0" + bytes(95)
NOT_IN_G1 = bytes.fromhex(
    "8123456789abcdef0123456789abcdef0123456789abcdef"
    "0123456789abcdef0123456789abcdef0123456789abcdef"
)
"""On the curve, not in the subgroup.  Source: ethereum/bls12-381-tests."""
ROUNDS = (0, 1, 2, 3, 2**32, 2**63 - 1)
ROWS = tuple(
    ScoreRow(
        cycle=7,
        unit=unit,
        miner=MINERS[unit].public_key,
        segment=unit % 2,
        parameters=1_210,
        samples=320,
        valid=1,
        gain=-5 if unit == 4 else 350_000 + unit,
        advantage=45_000,
        volume=387_200,
        coverage=32_768,
        quality=32_768,
        tickets=0 if unit == 4 else 96_800 + unit,
    )
    for unit in range(5)
)
CERTIFICATE = BlockCertificate(
    chain_id=CHAIN_ID,
    epoch=1,
    cycle=7,
    height=5,
    rank=2,
    parent=sha256(b"parent"),
    not_before=1_800_000_100,
    not_after=1_800_000_124,
    nonce=randomness(sign(round_message(15))),
    winner=MINERS[3].public_key,
    parameters=1_210,
    loss_reduction=350_003,
    tickets=96_803,
    tickets_total=387_206,
    contributions_root=merkle_root([encode(row) for row in ROWS]),
    log_root=sha256(b"log"),
    log_size=321,
    model_snapshot=sha256(b"snapshot"),
    next_federation=KEY_RECORD.digest,
)
LIMITS = replace(
    CERTIFICATE,
    epoch=2**32 - 1,
    cycle=2**63 - 1,
    height=2**32 - 1,
    rank=255,
    not_before=0,
    not_after=2**32 - 1,
    parameters=2**63 - 1,
    loss_reduction=-(2**63),
    tickets=2**63 - 1,
    tickets_total=2**63 - 1,
    log_size=2**63 - 1,
)


def key() -> dict[str, Any]:
    """Polynomial, commitments, share keys, activation, the record."""
    message = KEY_RECORD.message
    shares = [threshold.sign_share(share, message) for share in SHARES]
    return {
        "secret_polynomial": [bls.scalar_to_bytes(each) for each in POLYNOMIAL],
        "share_secrets": [bls.scalar_to_bytes(share.secret) for share in SHARES],
        "commitments": PUBLIC.commitments,
        "share_keys": [PUBLIC.share_key(index) for index in range(MEMBERS)],
        "federation_key": FEDERATION_KEY,
        "chain_id": CHAIN_ID,
        "epoch": KEY_RECORD.epoch,
        "members_digest": members_digest(KEY_RECORD.members),
        "activation_message": message,
        "signature_shares": shares,
        "combined": [
            {"replicas": chosen, "signature": sign(message, chosen)}
            for chosen in ((0, 1, 2), (0, 2, 3), (1, 2, 3))
        ],
        "record": KEY_RECORD,
        "encoded": encode(KEY_RECORD),
        "digest": KEY_RECORD.digest,
    }


def verification() -> dict[str, Any]:
    """Signatures that must not be accepted."""
    message = b"message"
    signature = sign(message)
    x_flipped = bytes([signature[0] ^ 0x20]) + signature[1:]
    infinite = bytes([0xC0]) + signature[1:]
    cases = {
        "another message": (FEDERATION_KEY, signature, b"another"),
        "another key": (OTHER_POINT, signature, message),
        "the other y": (FEDERATION_KEY, x_flipped, message),
        "the identity for a signature": (FEDERATION_KEY, IDENTITY_G1, message),
        "the identity for key and signature": (IDENTITY_G2, IDENTITY_G1, message),
        "a second encoding of the identity": (FEDERATION_KEY, infinite, message),
        "a point outside the subgroup": (FEDERATION_KEY, NOT_IN_G1, message),
        "uncompressed form announced": (
            FEDERATION_KEY,
            bytes([signature[0] & 0x7F]) + signature[1:],
            message,
        ),
        "a byte too few": (FEDERATION_KEY, signature[:-1], message),
        "a byte too many": (FEDERATION_KEY, signature + b"\0", message),
    }
    return {
        "accepted": [{"key": FEDERATION_KEY, "signature": signature, "message": message}],
        "refused": [
            {"why": why, "key": case[0], "signature": case[1], "message": case[2]}
            for why, case in cases.items()
        ],
    }


def beacon() -> dict[str, Any]:
    """Rounds, and the chain hash that drand clients pin."""
    info = chain_info(GENESIS, FEDERATION_KEY)
    return {
        "federation_key": FEDERATION_KEY,
        "chain": {
            "period": info.period_s,
            "genesis_time": info.genesis_s,
            "genesis_seed": info.genesis_seed,
            "beacon_id": info.beacon_id.decode(),
            "hash": info.hash,
        },
        "rounds": [
            {
                "round": number,
                "message": round_message(number),
                "signature": sign(round_message(number)),
                "randomness": randomness(sign(round_message(number))),
            }
            for number in ROUNDS
        ],
    }


def certified(certificate: BlockCertificate) -> bytes:
    return certificate.body() + sign(certificate.message())


def certificates() -> dict[str, Any]:
    """Fields -> body -> message -> signature -> the 371 bytes; and what is none."""
    good = certified(CERTIFICATE)
    empty_window = replace(CERTIFICATE, not_before=2, not_after=1)
    refused = {
        "a byte too few": good[:-1],
        "a byte too many": good + b"\0",
        "version 2": b"\x02" + good[1:],
        "one bit of the body": good[:100] + bytes([good[100] ^ 1]) + good[101:],
        "another signature": good[:-48] + sign(b"another"),
        "another chain": certified(replace(CERTIFICATE, chain_id=sha256(b"other"))),
        "a window that ends before it begins": certified(empty_window),
    }
    return {
        "federation_key": FEDERATION_KEY,
        "chain_id": CHAIN_ID,
        "accepted": [
            {
                "fields": asdict(each),
                "body": each.body(),
                "message": each.message(),
                "signature": sign(each.message()),
                "certificate": certified(each),
            }
            for each in (CERTIFICATE, LIMITS)
        ],
        "refused": [{"why": why, "certificate": data} for why, data in refused.items()],
    }


def contributions() -> dict[str, Any]:
    """Score rows under the first certificate's root."""
    leaves = [encode(row) for row in ROWS]
    proof = inclusion_proof(leaves, 3)
    other = merkle_root(leaves[:4])
    cases = {
        "another index": (leaves[3], 2, 5, proof),
        "another size": (leaves[3], 3, 9, proof),
        "another row": (leaves[2], 3, 5, proof),
        "a hash too few": (leaves[3], 3, 5, proof[:-1]),
        "a hash too many": (leaves[3], 3, 5, (*proof, other)),
        "another hash": (leaves[3], 3, 5, (other, *proof[1:])),
    }
    return {
        "certificate": certified(CERTIFICATE),
        "root": CERTIFICATE.contributions_root,
        "accepted": [
            {
                "fields": row,
                "row": leaves[index],
                "index": index,
                "size": len(leaves),
                "proof": inclusion_proof(leaves, index),
            }
            for index, row in enumerate(ROWS)
        ],
        "refused": [
            {"why": why, "row": case[0], "index": case[1], "size": case[2], "proof": case[3]}
            for why, case in cases.items()
        ],
    }


def finality() -> list[dict[str, Any]]:
    """The federation's word that a block stays."""
    found = []
    for height in (1, 2**32 - 1):
        block = sha256(b"block %d" % height)
        message = finality_message(CHAIN_ID, height, block)
        found.append(
            {
                "federation_key": FEDERATION_KEY,
                "chain_id": CHAIN_ID,
                "height": height,
                "block_hash": block,
                "message": message,
                "signature": sign(message),
            }
        )
    return found
