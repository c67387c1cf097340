"""The curve library under our seam, by everybody's vectors.

Ethereum signs with keys in G1 and signatures in G2, the other way round than we do; the points, the
maps and the pairing are the same, so the suites tell whether the library can be trusted.
"""

import hashlib
import json
from functools import cache, reduce
from pathlib import Path
from typing import Any

import pytest
from py_ecc.bls.hash import expand_message_xmd
from py_ecc.bls.point_compression import compress_G2
from py_ecc.fields import optimized_bls12_381_FQ as FQ
from py_ecc.fields import optimized_bls12_381_FQ2 as FQ2
from pyblst import BlstP1Element, BlstP2Element, final_verify, miller_loop

VECTORS = Path(__file__).parents[2] / "vectors"
POP = b"BLS_SIG_BLS12381G2_XMD:SHA-256_SSWU_RO_POP_"
INFINITY_KEY = bytes([0xC0]) + bytes(47)
GENERATOR = bytes.fromhex(
    "97f1d3a73197d7942695638c4fa9ac0fc3688c4f9774b905a14e3a3f171bac586c55e83ff97a1aeffb3af00adb22c6bb"
)


@cache
def read(name: str) -> Any:
    return json.loads((VECTORS / name).read_text(encoding="utf-8"))


def cases(name: str) -> list[Any]:
    suite = read(f"bls12-381-tests/{name}.json")
    return [pytest.param(suite[case], id=case) for case in sorted(suite)]


def raw(text: str) -> bytes:
    return bytes.fromhex(text.removeprefix("0x"))


def key_of(text: str) -> BlstP1Element:
    """Raises ValueError: not in the group, or the identity, which is nobody's key."""
    data = raw(text)
    if data == INFINITY_KEY:
        raise ValueError("the identity is no public key")
    return BlstP1Element.uncompress(data)


def pairs_agree(keys: list[str], messages: list[str], signature: str) -> bool:
    """e(g1, signature) == product of e(key, H(message))."""
    if not keys or len(keys) != len(messages):
        return False
    try:
        points = [key_of(key) for key in keys]
        signed = BlstP2Element.uncompress(raw(signature))
    except ValueError:
        return False
    hashed = [BlstP2Element.hash_to_group(raw(message), POP) for message in messages]
    right = reduce(
        lambda a, b: a * b, [miller_loop(p, h) for p, h in zip(points, hashed, strict=True)]
    )
    return bool(final_verify(miller_loop(BlstP1Element.uncompress(GENERATOR), signed), right))


@pytest.mark.parametrize("vector", cases("sign"))
def test_signatures(vector: Any) -> None:
    secret = int(vector["input"]["privkey"], 16)
    if vector["output"] is None:
        assert secret == 0
        return
    hashed = BlstP2Element.hash_to_group(raw(vector["input"]["message"]), POP)
    assert hashed.scalar_mul(secret).compress() == raw(vector["output"])


@pytest.mark.parametrize("vector", cases("verify"))
def test_verification(vector: Any) -> None:
    given = vector["input"]
    assert (
        pairs_agree([given["pubkey"]], [given["message"]], given["signature"]) is vector["output"]
    )


@pytest.mark.parametrize("vector", cases("aggregate_verify"))
def test_verification_of_many_messages(vector: Any) -> None:
    given = vector["input"]
    assert pairs_agree(given["pubkeys"], given["messages"], given["signature"]) is vector["output"]


@pytest.mark.parametrize("vector", cases("fast_aggregate_verify"))
def test_verification_of_one_message(vector: Any) -> None:
    given = vector["input"]
    messages = [given["message"]] * len(given["pubkeys"])
    assert pairs_agree(given["pubkeys"], messages, given["signature"]) is vector["output"]


@pytest.mark.parametrize("vector", cases("batch_verify"))
def test_verification_of_a_batch(vector: Any) -> None:
    given = vector["input"]
    each = zip(given["pubkeys"], given["messages"], given["signatures"], strict=True)
    assert all(pairs_agree([k], [m], s) for k, m, s in each) is vector["output"]


@pytest.mark.parametrize("vector", cases("aggregate"))
def test_sums(vector: Any) -> None:
    if vector["output"] is None:
        assert vector["input"] == []
        return
    points = [BlstP2Element.uncompress(raw(text)) for text in vector["input"]]
    assert reduce(lambda a, b: a + b, points).compress() == raw(vector["output"])


def _compressed(x: str, y: str) -> bytes:
    """RFC 9380 writes both coordinates, each as two numbers."""
    points = [FQ2([FQ(int(part, 16)) for part in text.split(",")]) for text in (x, y)]
    high, low = compress_G2((points[0], points[1], FQ2.one()))
    return int(high).to_bytes(48, "big") + int(low).to_bytes(48, "big")


@pytest.mark.parametrize("vector", cases("hash_to_G2"))
def test_hashing_to_the_other_group(vector: Any) -> None:
    dst = b"QUUX-V01-CS02-with-BLS12381G2_XMD:SHA-256_SSWU_RO_"
    hashed = BlstP2Element.hash_to_group(vector["input"]["msg"].encode(), dst)
    assert hashed.compress() == _compressed(vector["output"]["x"], vector["output"]["y"])


def test_hashing_to_the_other_group_by_rfc_9380() -> None:
    suite = read("rfc9380/BLS12381G2_XMD_SHA-256_SSWU_RO_.json")
    for vector in suite["vectors"]:
        hashed = BlstP2Element.hash_to_group(vector["msg"].encode(), suite["dst"].encode())
        assert hashed.compress() == _compressed(vector["P"]["x"], vector["P"]["y"])


@pytest.mark.parametrize("size", ["38", "256"])
def test_expansion_by_rfc_9380(size: str) -> None:
    """What py_ecc, our oracle in other tests, makes of a message."""
    suite = read(f"rfc9380/expand_message_xmd_SHA256_{size}.json")
    dst = suite["DST"].encode()
    if len(dst) > 255:  # RFC 9380 section 5.3.3
        dst = hashlib.sha256(b"H2C-OVERSIZE-DST-" + dst).digest()
    for vector in suite["tests"]:
        length = int(vector["len_in_bytes"], 16)
        made = expand_message_xmd(vector["msg"].encode(), dst, length, hashlib.sha256)
        assert made.hex() == vector["uniform_bytes"]
