"""The words that a wallet is restored from, and the seed behind them.

Source: BIP 39; the word list and the arithmetic are SatoshiLabs' `mnemonic`.  English only, as most
wallets recommend.  Pure: entropy comes from outside.
"""

from functools import cache

from mnemonic import Mnemonic

from bft.errors import DecodeError

ENTROPY_BYTES = (16, 20, 24, 28, 32)  # 12, 15, 18, 21 or 24 words
WORDS_CHARS_MAX = 24 * 8 + 23


@cache
def _list() -> Mnemonic:
    return Mnemonic("english")


def words_of(entropy: bytes) -> str:
    """12 to 24 words with a space between two."""
    assert len(entropy) in ENTROPY_BYTES
    return _list().to_mnemonic(entropy)


def check_words(text: str) -> str:
    """The words in their one form: small letters, one space between two.

    Raises:
        DecodeError: an unknown word, another count than there can be, or a checksum that fails.
    """
    words = text.lower().split()
    joined = " ".join(words)
    if len(joined) > WORDS_CHARS_MAX or len(words) not in (12, 15, 18, 21, 24):
        raise DecodeError(f"{len(words)} words came; 12, 15, 18, 21 or 24 are expected")
    known = set(_list().wordlist)
    for place, word in enumerate(words, start=1):
        if word not in known:
            raise DecodeError(f"word {place} is none of BIP 39's English list")
    if not _list().check(joined):
        raise DecodeError("the words' checksum fails: one is wrong, or two are exchanged")
    return joined


def seed_of(words: str, passphrase: str = "") -> bytes:
    """64 bytes; every passphrase gives another wallet."""
    return Mnemonic.to_seed(check_words(words), passphrase)
