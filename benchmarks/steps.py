"""What single steps of a node, a replica and a signet's winner cost, beside the bare library calls.

`python -m benchmarks.steps`, one JSON object; CPU seconds of one process, best of RUNS.

* nonces: double SHA-256 of headers for a signet's work (chain/signet/grind.py), beside two hashlib
  calls a nonce on ready bytes.
* coins: elements of the digest of all coins (MuHash3072), beside ChaCha20 and one multiplication.
* evidence: judging a winner's two blocks (chain/barring.py), beside one BLS and two ECDSA checks.
* book: bytes of an address book that an attacker has filled as far as it goes.
"""

import hashlib
import json
import sys
import time
from collections.abc import Callable
from random import Random
from typing import Any

import pyblst
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import ChaCha20

from benchmarks.certificates import raw_check
from bft.codec.canonical import encode
from bft.crypto import identity
from bft.crypto.hashing import sha256
from chain.barring import judge
from chain.params import MINIMAL
from chain.peers.book import SECRET_BYTES, AddressBook
from chain.peers.kept import encode_book
from chain.records.certificate import decode_certificate
from chain.records.conviction import shown
from chain.records.evidence import equivocation
from chain.records.peer_address import Announced, PeerAddress, parse_address
from chain.records.peer_message import SERVICES
from chain.signet.grind import search
from chain.snapshot.muhash import MODULUS, digest_of
from tests.chain import federation_fixture as chain

RUNS, NONCES, COINS, JUDGED = 5, 400_000, 2_000, 100
ADDRESSES, PER_MESSAGE = 300_000, 1_000
COIN_BYTES = 80  # of one element: an outpoint, a height, a value, a script
SIGNET_HASHES = 2**256 / (0x0377AE << 8 * (0x1E - 3))  # BIP 325's least work, expected


def cpu(step: Callable[[], object]) -> float:
    """Seconds, the best of RUNS."""
    best = float("inf")
    for _ in range(RUNS):
        began = time.process_time()
        step()
        best = min(best, time.process_time() - began)
    return best


def nonces() -> dict[str, Any]:
    header = bytes(range(80))
    tail, inner = header[64:], bytes(32)

    def bare() -> None:
        for _ in range(NONCES):
            hashlib.sha256(tail).digest()
            hashlib.sha256(inner).digest()

    ours = cpu(lambda: search(header, 0, 0, NONCES))
    return {
        "million_hashes_per_core_s": round(NONCES / ours / 1e6, 2),
        "signet_block_core_s": round(SIGNET_HASHES * ours / NONCES, 1),
        "over_bare": round(ours / cpu(bare), 2),
    }


def coins() -> dict[str, Any]:
    elements = [Random(at).randbytes(COIN_BYTES) for at in range(COINS)]

    def bare() -> None:
        product = 1
        for element in elements:
            stream = Cipher(ChaCha20(sha256(element), bytes(16)), mode=None).encryptor()
            number = int.from_bytes(stream.update(bytes(384)), "little")
            product = product * number % MODULUS

    ours = cpu(lambda: digest_of(elements))
    return {"us_a_coin": round(ours / COINS * 1e6, 1), "over_bare": round(ours / cpu(bare), 2)}


def evidence() -> dict[str, Any]:
    first = chain.make_chain(1)[0].certified_header
    second = chain.block_on(chain.START, time=chain.START.time + 11).certified_header
    found = equivocation(first, second)
    told = shown(found)
    certificate, signature = decode_certificate(told.certificate)
    key = pyblst.BlstP2Element.uncompress(chain.FEDERATION_KEY)

    def ours() -> None:
        for _ in range(JUDGED):
            judge(
                told,
                federation_key=chain.FEDERATION_KEY,
                chain_id=chain.CHAIN_ID,
                cycle=certificate.cycle,
                standings={},
                params=MINIMAL,
            )

    def bare() -> None:
        for _ in range(JUDGED):
            raw_check(key, signature, certificate.message())
            for each in (first, second):
                signed = each.coinbase.signature
                identity.verify(certificate.winner, signed, each.winner_message())

    mine = cpu(ours)
    return {
        "ms": round(mine / JUDGED * 1000, 2),
        "bytes": len(encode(told)),
        "over_bare": round(mine / cpu(bare), 2),
    }


def book() -> dict[str, Any]:
    filled, random = AddressBook(bytes(SECRET_BYTES)), Random(1)
    now_s = chain.CREATED_S
    for _ in range(ADDRESSES // PER_MESSAGE):
        source = public(random)
        told = [
            Announced(time=now_s, services=SERVICES, address=public(random))
            for _ in range(PER_MESSAGE)
        ]
        filled.add(told, source, now_s)
    return {"told": ADDRESSES, "bytes": len(encode_book(filled, []))}


def public(random: Random) -> PeerAddress:
    """An address of a netgroup that is nobody's in particular."""
    first, second, third = random.randrange(11, 100), random.randrange(256), random.randrange(256)
    made = parse_address(f"{first}.{second}.{third}.1:7500")
    assert made is not None
    return made


def main() -> int:
    """Print them."""
    told = {"nonces": nonces(), "coins": coins(), "evidence": evidence(), "book": book()}
    json.dump(told, sys.stdout, indent=2)
    print()
    return 0


if __name__ == "__main__":
    sys.exit(main())
