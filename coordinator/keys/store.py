"""Every secret of a home, and the only module that reads or writes one.

A home's secrets are files NAME.key, mode 0600, each written whole: beside, synced, renamed.  In an
encrypted home each is sealed under a random master key, and the master key stands in keystore.json,
sealed under the passphrase: so a new passphrase is one file replaced, and the price of guessing
passphrases is paid once a start.  A home without keystore.json keeps its secrets plain, which is an
operator's explicit choice.

    passphrase --scrypt (RFC 7914)--> wrapping key --ChaCha20-Poly1305 (RFC 8439)--> master key
    master key --ChaCha20-Poly1305, the file's name authenticated--> secret

Changing the passphrase does not help against somebody who has an old keystore.json and knows the
old passphrase: then the keys themselves have to be replaced.
"""

import re
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, TypeVar

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
from msgspec import Meta

from bft.errors import ConfigError
from chain.durable import sync_directory, write_whole
from coordinator.keys.files import read_private

KEYSTORE_FILE = "keystore.json"
SUFFIX = ".key"
SECRET_BYTES_MAX = 16 * 1024
NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")

MASTER_KEY_BYTES = 32
SALT_BYTES = 16
NONCE_BYTES = (
    12  # random: a home writes a few thousand secrets in its life, 2**32 would be too many
)
TAG_BYTES = 16

F = TypeVar("F", bound=msgspec.Struct)


class Cost(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one guess of a passphrase costs: 128 * r * 2**n_log2 bytes of memory.

    Here 128 MiB and about 0.3 s (OWASP's first choice for scrypt).  The bounds keep a damaged file
    from taking all memory.
    """

    n_log2: Annotated[int, Meta(ge=1, le=19)] = 17
    r: Literal[8] = 8
    p: Literal[1] = 1


COST = Cost()


class _SealedMaster(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """keystore.json.  Bytes are base64."""

    format: Literal["gristmill/keystore/v1"]
    kdf: Literal["scrypt"]
    cost: Cost
    salt: Annotated[bytes, Meta(min_length=SALT_BYTES, max_length=SALT_BYTES)]
    cipher: Literal["chacha20-poly1305"]
    nonce: Annotated[bytes, Meta(min_length=NONCE_BYTES, max_length=NONCE_BYTES)]
    sealed: Annotated[
        bytes,
        Meta(min_length=MASTER_KEY_BYTES + TAG_BYTES, max_length=MASTER_KEY_BYTES + TAG_BYTES),
    ]


class _SealedSecret(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """NAME.key in an encrypted home.  Bytes are base64."""

    format: Literal["gristmill/secret/v1"]
    name: str
    nonce: Annotated[bytes, Meta(min_length=NONCE_BYTES, max_length=NONCE_BYTES)]
    sealed: Annotated[bytes, Meta(min_length=TAG_BYTES)]


@dataclass(frozen=True, slots=True)
class Keystore:
    """The secrets of one home.  Make one with `create_keystore` or `open_keystore`.

    Methods raise OSError where the file system refuses.
    """

    home: Path
    _master: bytes | None  # None: plain

    def __repr__(self) -> str:
        return f"Keystore({self.home}, {'encrypted' if self.encrypted else 'plain'})"

    @property
    def encrypted(self) -> bool:
        """False where the operator chose plain files."""
        return self._master is not None

    def path(self, name: str) -> Path:
        """Where the secret `name` stands.  Names are a-z, 0-9 and "-"."""
        assert NAME.fullmatch(name), name
        return self.home / (name + SUFFIX)

    def names(self) -> tuple[str, ...]:
        """The secrets that are here, sorted."""
        return secret_names(self.home)

    def read(self, name: str) -> bytes:
        """The secret as it was written.

        Raises:
            ConfigError: missing, readable by others, too long, damaged, another file's content, or
                plain in an encrypted home and the other way about.  The secret is never shown.
        """
        path = self.path(name)
        data = read_private(path)
        if self._master is None:
            if _is_sealed(data):
                raise ConfigError(
                    f"{path} is encrypted, but {KEYSTORE_FILE} is missing from {self.home}: "
                    "put it back from the backup"
                )
            return data
        if not _is_sealed(data):
            raise ConfigError(
                f"{path} is not encrypted, but {self.home / KEYSTORE_FILE} is there; "
                "`gristmill operator keys encrypt` encrypts what is left"
            )
        sealed = _parse(_SealedSecret, data, path)
        if sealed.name != name:
            raise ConfigError(f"{path} holds the secret {sealed.name[:80]!r}; {name!r} expected")
        try:
            return ChaCha20Poly1305(self._master).decrypt(
                sealed.nonce, sealed.sealed, _authenticated(name)
            )
        except InvalidTag:
            raise ConfigError(
                f"{path} is damaged, or was encrypted in another home than {KEYSTORE_FILE}"
            ) from None

    def write(self, name: str, secret: bytes) -> None:
        """Make `secret` durable under `name`, in place of what stood there.

        It is on the disk when this returns: announce what depends on it only then.
        """
        if len(secret) > SECRET_BYTES_MAX:
            raise ValueError(f"{len(secret)} bytes of a secret; at most {SECRET_BYTES_MAX}")
        write_whole(self.path(name), self._seal(name, secret), 0o600)

    def delete(self, name: str) -> None:
        """Remove the secret, if it is there; durable on return.

        The disk may keep its old sectors.  In an encrypted home they hold ciphertext only.
        """
        self.path(name).unlink(missing_ok=True)
        sync_directory(self.home)

    def _seal(self, name: str, secret: bytes) -> bytes:
        if self._master is None:
            return secret
        nonce = secrets.token_bytes(NONCE_BYTES)
        sealed = ChaCha20Poly1305(self._master).encrypt(nonce, secret, _authenticated(name))
        return _format(
            _SealedSecret(format="gristmill/secret/v1", name=name, nonce=nonce, sealed=sealed)
        )

    def change_passphrase(self, passphrase: bytes, cost: Cost = COST) -> None:
        """Seal the same master key under another passphrase.  The secrets' files stay.

        Raises:
            ConfigError: this home is plain, or the passphrase is empty.
        """
        if self._master is None:
            raise ConfigError(f"the keys in {self.home} are plain; encrypt them first")
        _write_master(self.home, self._master, passphrase, cost)


def secret_names(home: Path) -> tuple[str, ...]:
    """The secrets that are in a home, sorted; none is read."""
    return tuple(path.name.removesuffix(SUFFIX) for path in _secret_files(home))


def is_encrypted(home: Path) -> bool:
    """Whether opening this home takes a passphrase."""
    return (home / KEYSTORE_FILE).exists()


def create_keystore(home: Path, passphrase: bytes | None, cost: Cost = COST) -> Keystore:
    """A keystore for a home without secrets.  None for the passphrase: plain files, by choice.

    Raises:
        ConfigError: there are secrets already, or the passphrase is empty.
    """
    found = [*_secret_files(home), *(path for path in (home / KEYSTORE_FILE,) if path.exists())]
    if found:
        raise ConfigError(f"{found[0]} exists; keys are never overwritten")
    if passphrase is None:
        return Keystore(home, None)
    master = secrets.token_bytes(MASTER_KEY_BYTES)
    _write_master(home, master, passphrase, cost)
    return Keystore(home, master)


def open_keystore(home: Path, passphrase: bytes | None) -> Keystore:
    """The keystore of a home.  None for the passphrase fits a plain home only.

    Raises:
        ConfigError: the passphrase is wrong or missing, or keystore.json is damaged or readable by
            others.
    """
    path = home / KEYSTORE_FILE
    if not path.exists():
        return Keystore(home, None)
    if passphrase is None:
        raise ConfigError(f"the keys in {home} are encrypted; a passphrase is needed")
    sealed = _parse(_SealedMaster, read_private(path), path)
    wrapping = _derive(passphrase, sealed.salt, sealed.cost)
    try:
        master = ChaCha20Poly1305(wrapping).decrypt(
            sealed.nonce, sealed.sealed, sealed.format.encode()
        )
    except InvalidTag:
        raise ConfigError(f"the passphrase does not open {path}, or the file is damaged") from None
    return Keystore(home, master)


def encrypt_home(home: Path, passphrase: bytes, cost: Cost = COST) -> tuple[str, ...]:
    """Seal every plain secret of a home; the names of those that were plain.

    May be repeated after a crash, with the same passphrase.  The process that uses the home must
    not run.  The disk may keep the plain bytes in old sectors.

    Raises:
        ConfigError: the home was encrypted under another passphrase, or a file is damaged.
    """
    if is_encrypted(home):
        keystore = open_keystore(home, passphrase)
    else:
        master = secrets.token_bytes(MASTER_KEY_BYTES)
        _write_master(home, master, passphrase, cost)
        keystore = Keystore(home, master)
    done: list[str] = []
    for path in _secret_files(home):
        data = read_private(path)
        if not _is_sealed(data):
            name = path.name.removesuffix(SUFFIX)
            keystore.write(name, data)
            done.append(name)
    return tuple(done)


def _secret_files(home: Path) -> Iterator[Path]:
    found = home.glob("*" + SUFFIX) if home.is_dir() else ()
    return iter(sorted(path for path in found if NAME.fullmatch(path.name.removesuffix(SUFFIX))))


def _write_master(home: Path, master: bytes, passphrase: bytes, cost: Cost) -> None:
    if not passphrase:
        raise ConfigError("the passphrase is empty")
    salt, nonce = secrets.token_bytes(SALT_BYTES), secrets.token_bytes(NONCE_BYTES)
    kind: Literal["gristmill/keystore/v1"] = "gristmill/keystore/v1"
    sealed = ChaCha20Poly1305(_derive(passphrase, salt, cost)).encrypt(nonce, master, kind.encode())
    record = _SealedMaster(
        format=kind,
        kdf="scrypt",
        cost=cost,
        salt=salt,
        cipher="chacha20-poly1305",
        nonce=nonce,
        sealed=sealed,
    )
    write_whole(home / KEYSTORE_FILE, _format(record), 0o600)


def _derive(passphrase: bytes, salt: bytes, cost: Cost) -> bytes:
    kdf = Scrypt(salt=salt, length=MASTER_KEY_BYTES, n=1 << cost.n_log2, r=cost.r, p=cost.p)
    try:
        return kdf.derive(passphrase)
    except MemoryError:
        raise ConfigError(
            f"scrypt needs {128 * cost.r << cost.n_log2} bytes of memory, which are not there"
        ) from None


def _authenticated(name: str) -> bytes:
    """So that nobody passes off one secret's file as another's."""
    return b"gristmill/secret/v1\x00" + name.encode()


def _is_sealed(data: bytes) -> bool:
    return data.startswith(b"{")  # neither hex nor PEM does


def _format(record: msgspec.Struct) -> bytes:
    return msgspec.json.format(msgspec.json.encode(record), indent=1) + b"\n"


def _parse(kind: type[F], data: bytes, path: Path) -> F:
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: {error}") from None
    except RecursionError:
        raise ConfigError(f"{path}: nested too deeply") from None
