"""A wallet's secrets under a passphrase: what stands in `secrets.sealed` and in a backup.

passphrase --scrypt (RFC 7914)--> key --ChaCha20-Poly1305 (RFC 8439)--> words, single keys
"""

import secrets
from typing import Annotated, Literal

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
from msgspec import Meta

from bft.errors import ConfigError

SALT_BYTES, NONCE_BYTES, KEY_BYTES = 16, 12, 32
SEALED_BYTES_MAX = 64 * 1024
KEYS_MAX = 100
Single = Annotated[bytes, Meta(min_length=32, max_length=32)]
FORMAT = b"gristmill/wallet-secrets/v1"


class Secrets(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All that a thief wants."""

    words: str  # BIP 39; empty: none, only single keys
    extension: str = ""  # BIP 39's passphrase
    keys: Annotated[list[Single], Meta(max_length=KEYS_MAX)] = []

    def __repr__(self) -> str:
        return f"Secrets({len(self.keys)} single keys)"


class Cost(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one guess costs: 128 * r * 2**n_log2 bytes of memory; 128 MiB here."""

    n_log2: Annotated[int, Meta(ge=1, le=19)] = 17
    r: Literal[8] = 8
    p: Literal[1] = 1


COST = Cost()


class Sealed(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """As it stands in a file; bytes are base64."""

    format: Literal["gristmill/wallet-secrets/v1"]
    kdf: Literal["scrypt"]
    cost: Cost
    salt: Annotated[bytes, Meta(min_length=SALT_BYTES, max_length=SALT_BYTES)]
    nonce: Annotated[bytes, Meta(min_length=NONCE_BYTES, max_length=NONCE_BYTES)]
    box: Annotated[bytes, Meta(max_length=SEALED_BYTES_MAX)]


def seal_secrets(plain: Secrets, passphrase: str, cost: Cost = COST) -> Sealed:
    """Under fresh salt and nonce.  Raises ConfigError: the passphrase is empty."""
    salt, nonce = secrets.token_bytes(SALT_BYTES), secrets.token_bytes(NONCE_BYTES)
    cipher = ChaCha20Poly1305(_derive(passphrase, salt, cost))
    return Sealed(
        format="gristmill/wallet-secrets/v1",
        kdf="scrypt",
        cost=cost,
        salt=salt,
        nonce=nonce,
        box=cipher.encrypt(nonce, msgspec.json.encode(plain), FORMAT),
    )


def open_secrets(sealed: Sealed, passphrase: str) -> Secrets:
    """Raises ConfigError: another passphrase, or a damaged file."""
    cipher = ChaCha20Poly1305(_derive(passphrase, sealed.salt, sealed.cost))
    try:
        return msgspec.json.decode(cipher.decrypt(sealed.nonce, sealed.box, FORMAT), type=Secrets)
    except (InvalidTag, msgspec.MsgspecError):
        raise ConfigError("the passphrase is another one, or the file is damaged") from None


def _derive(passphrase: str, salt: bytes, cost: Cost) -> bytes:
    if not passphrase:
        raise ConfigError("the passphrase is empty")
    kdf = Scrypt(salt=salt, length=KEY_BYTES, n=1 << cost.n_log2, r=cost.r, p=cost.p)
    try:
        return kdf.derive(passphrase.encode())
    except MemoryError:
        raise ConfigError(
            f"scrypt needs {128 * cost.r << cost.n_log2} bytes of memory, which are not there"
        ) from None
