"""SHA-256 in its three shapes."""

from bft.crypto.hashing import double_sha256, sha256, tagged_hash


def test_sha256_of_abc_is_that_of_fips_180_4() -> None:
    assert sha256(b"abc").hex() == (
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    )


def test_double_sha256_of_hello_is_bitcoins() -> None:
    assert double_sha256(b"hello").hex() == (
        "9595c9df90075148eb06860365df33584b75bff782a510c6cd4883a419833d50"
    )


def test_a_tagged_hash_is_that_of_bip_340() -> None:
    """BIP 340: SHA256(SHA256(tag) || SHA256(tag) || x)."""
    prefix = sha256(b"BIP0340/challenge")
    assert tagged_hash("BIP0340/challenge", b"x") == sha256(prefix + prefix + b"x")


def test_a_hash_under_one_tag_is_not_a_hash_under_another() -> None:
    assert len({tagged_hash("a", b"x"), tagged_hash("b", b"x"), sha256(b"x")}) == 3
