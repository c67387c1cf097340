"""ECDSA identities: RFC 6979 nonces, low s only, one encoding of each key and signature."""

import json
from pathlib import Path

import pytest

from bft.crypto.identity import PrivateKey, verify
from bft.errors import BadSignature, ConfigError

RFC_6979 = Path(__file__).parents[2] / "vectors/rfc6979"
VECTORS = json.loads((RFC_6979 / "ecdsa.json").read_text(encoding="utf-8"))
NONCES = json.loads((RFC_6979 / "nonces.json").read_text(encoding="utf-8"))
ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
KEY = PrivateKey(bytes([7] * 32))
SIGNATURE = KEY.sign(b"message")


def test_there_are_rfc_6979_vectors() -> None:
    assert len(VECTORS) == 14


@pytest.mark.parametrize("vector", NONCES)
def test_nonces_are_rfc_6979s(vector: dict[str, str]) -> None:
    """r is the nonce's public point's x; `k0` is the first candidate, and none here is refused."""
    signature = PrivateKey(bytes.fromhex(vector["d"])).sign(vector["message"].encode())
    assert signature[:32] == PrivateKey(bytes.fromhex(vector["k0"])).public_key[1:]


@pytest.mark.parametrize("vector", VECTORS)
def test_signing_is_rfc_6979_with_low_s(vector: dict[str, str]) -> None:
    key, message = PrivateKey(bytes.fromhex(vector["d"])), vector["description"].encode()
    signature = key.sign(message)
    assert signature.hex() == vector["signature"]
    verify(key.public_key, signature, message)


def test_the_high_s_twin_is_refused() -> None:
    r, s = SIGNATURE[:32], int.from_bytes(SIGNATURE[32:], "big")
    assert s <= ORDER // 2
    with pytest.raises(BadSignature):
        verify(KEY.public_key, r + (ORDER - s).to_bytes(32, "big"), b"message")


def test_another_message_or_key_is_refused() -> None:
    verify(KEY.public_key, SIGNATURE, b"message")
    with pytest.raises(BadSignature):
        verify(KEY.public_key, SIGNATURE, b"massage")
    with pytest.raises(BadSignature):
        verify(PrivateKey(bytes([8] * 32)).public_key, SIGNATURE, b"message")


@pytest.mark.parametrize(
    "signature",
    [b"", SIGNATURE[:-1], SIGNATURE + b"\x00", bytes(64), b"\xff" * 64, SIGNATURE[:32] + bytes(32)],
)
def test_what_is_no_signature_is_refused(signature: bytes) -> None:
    with pytest.raises(BadSignature):
        verify(KEY.public_key, signature, b"message")


@pytest.mark.parametrize("prefix", [0, 4, 5, 6, 7])
def test_a_key_is_compressed_or_refused(prefix: int) -> None:
    with pytest.raises(BadSignature):
        verify(bytes([prefix]) + KEY.public_key[1:], SIGNATURE, b"message")


def test_a_key_off_the_curve_or_of_another_length_is_refused() -> None:
    for key in (b"", KEY.public_key[:-1], KEY.public_key + b"\x00", b"\x02" + b"\xff" * 32):
        with pytest.raises(BadSignature):
            verify(key, SIGNATURE, b"message")


@pytest.mark.parametrize(
    "secret", [b"", bytes(31), bytes(32), bytes(33), ORDER.to_bytes(32, "big")]
)
def test_a_secret_is_a_scalar_or_a_config_error(secret: bytes) -> None:
    with pytest.raises(ConfigError):
        PrivateKey(secret)


def test_repr_hides_the_secret() -> None:
    assert KEY.secret.hex() not in repr(KEY) and KEY.public_key.hex() in repr(KEY)


def test_a_key_that_was_parsed_before_is_still_bound_to_its_own_signatures() -> None:
    """Parsed keys are remembered; what was remembered must not vouch for anybody else."""
    one, other = PrivateKey(bytes(31) + b"\x01"), PrivateKey(bytes(31) + b"\x02")
    for _ in range(2):
        verify(one.public_key, one.sign(b"grain"), b"grain")
        verify(other.public_key, other.sign(b"grain"), b"grain")
        with pytest.raises(BadSignature):
            verify(one.public_key, other.sign(b"grain"), b"grain")
