"""A wallet's directory: what it is, what it knows, what it must hide.

    wallet.json      public: descriptor, single public keys                 mode 0600, keep it
    secrets.sealed   words and single keys under a passphrase; absent: watch-only
    book.json        what was found on the chain; can be made again from blocks

Each file is replaced as a whole, so that a crash leaves the old or the new one.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal, TypeVar

import msgspec
from msgspec import Meta

from bft.errors import Busy, ConfigError, DecodeError
from chain.durable import write_whole
from chain.node.config import parse_key
from chain.records.federation import GENESIS_BYTES_MAX
from chain.records.transaction import TxOut, decode_transaction
from chain.rules.founding import open_genesis
from chain.wallet.account import Account
from chain.wallet.book import Book, Entry, Owned
from chain.wallet.descriptor import decode_descriptor
from chain.wallet.sealed import KEYS_MAX, SEALED_BYTES_MAX, Sealed
from chain.wallet.sync import Pinned

WALLET, SECRETS, BOOK, LOCK = "wallet.json", "secrets.sealed", "book.json", "lock"
BOOK_BYTES_MAX = 256 * 1024 * 1024
BACKUP_BYTES_MAX = 2 * (SEALED_BYTES_MAX + GENESIS_BYTES_MAX)
Key = Annotated[bytes, Meta(min_length=33, max_length=33)]
Id = Annotated[bytes, Meta(min_length=32, max_length=32)]
_R = TypeVar("_R", bound=msgspec.Struct)


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """wallet.json.  Bytes are base64, here and in the other files."""

    format: Literal["gristmill/wallet/v1"] = "gristmill/wallet/v1"
    descriptor: str
    keys: Annotated[list[Key], Meta(max_length=KEYS_MAX)] = []
    birthday: Annotated[int, Meta(ge=0)] = 0  # height below which nothing was paid to it
    genesis: Annotated[bytes, Meta(max_length=GENESIS_BYTES_MAX)] = b""  # the record; empty: none
    federation_key: Annotated[bytes, Meta(max_length=96)] = b""


class Backup(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything but what blocks tell again."""

    format: Literal["gristmill/wallet-backup/v1"] = "gristmill/wallet-backup/v1"
    settings: Settings
    secrets: Sealed | None


class _Coin(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    txid: Id
    index: int
    value: int
    script: bytes
    branch: int
    number: int
    height: int
    coinbase: bool


class _Event(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    txid: Id
    height: int
    time: int
    received: int
    spent: int
    fee: int | None
    coinbase: bool


class _Book(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    format: Literal["gristmill/wallet-book/v1"] = "gristmill/wallet-book/v1"
    height: int
    block: bytes
    used: list[int]
    given: list[int]
    coins: list[_Coin]
    history: list[_Event]
    pending: list[bytes]


def account_of(settings: Settings) -> Account:
    """Raises DecodeError: wallet.json holds no descriptor."""
    return Account(descriptor=decode_descriptor(settings.descriptor), keys=tuple(settings.keys))


def pinned_of(settings: Settings) -> Pinned | None:
    """What the wallet checks servers with; None: it believes them.  Raises ConfigError: damaged."""
    if not settings.genesis:
        return None
    genesis = open_genesis(settings.genesis, WALLET)
    return Pinned(genesis=genesis, federation_key=parse_key(settings.federation_key.hex(), WALLET))


def create_home(home: Path, settings: Settings, sealed: Sealed | None) -> None:
    """Raises ConfigError: there is a wallet already."""
    if (home / WALLET).exists():
        raise ConfigError(f"{home} holds a wallet already")
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    if sealed is not None:
        save_sealed(home, sealed)
    save_settings(home, settings)


@contextmanager
def alone(home: Path) -> Iterator[None]:
    """One command at a time: two would give out one address twice, or forget a payment.

    Raises:
        Busy: another one is at work in this home.
    """
    handle = os.open(home / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise Busy(f"another command is at work in {home}") from None
        yield
    finally:
        os.close(handle)  # the kernel gives the lock up, also when the process dies


def load_settings(home: Path) -> Settings:
    """Raises ConfigError: no wallet is there, or it is damaged."""
    return _load(home / WALLET, Settings, BACKUP_BYTES_MAX)


def save_settings(home: Path, settings: Settings) -> None:
    """On disk when this returns."""
    write_whole(home / WALLET, _format(settings))


def load_sealed(home: Path) -> Sealed:
    """Raises ConfigError: the wallet is watch-only, or damaged."""
    if not (home / SECRETS).exists():
        raise ConfigError(f"{home} is watch-only: there are no secrets in it")
    return _load(home / SECRETS, Sealed, BACKUP_BYTES_MAX)


def save_sealed(home: Path, sealed: Sealed) -> None:
    """On disk when this returns."""
    write_whole(home / SECRETS, _format(sealed))


def load_book(home: Path, account: Account, birthday: int) -> Book:
    """What was found so far, or a new book.  Raises ConfigError: damaged; remove it."""
    path = home / BOOK
    if not path.exists():
        return Book(script_at=account.script, height=birthday)
    kept = _load(path, _Book, BOOK_BYTES_MAX)
    coins = [
        Owned(
            outpoint=(coin.txid, coin.index),
            output=TxOut(value=coin.value, script=coin.script),
            branch=coin.branch,
            number=coin.number,
            height=coin.height,
            coinbase=coin.coinbase,
        )
        for coin in kept.coins
    ]
    try:
        pending = [decode_transaction(data) for data in kept.pending]
    except DecodeError as error:
        raise ConfigError(f"{path}: {error}; remove it, blocks tell it again") from None
    return Book(
        script_at=account.script,
        height=kept.height,
        block=kept.block,
        used=kept.used,
        given=kept.given,
        coins={coin.outpoint: coin for coin in coins},
        history=[Entry(**msgspec.structs.asdict(event)) for event in kept.history],
        pending={each.txid: each for each in pending},
    )


def save_book(home: Path, book: Book) -> None:
    """On disk when this returns."""
    kept = _Book(
        height=book.height,
        block=book.block,
        used=book.used,
        given=book.given,
        coins=[
            _Coin(
                txid=coin.outpoint[0],
                index=coin.outpoint[1],
                value=coin.output.value,
                script=coin.output.script,
                branch=coin.branch,
                number=coin.number,
                height=coin.height,
                coinbase=coin.coinbase,
            )
            for coin in book.coins.values()
        ],
        history=[
            _Event(
                txid=entry.txid,
                height=entry.height,
                time=entry.time,
                received=entry.received,
                spent=entry.spent,
                fee=entry.fee,
                coinbase=entry.coinbase,
            )
            for entry in book.history
        ],
        pending=[each.encode() for each in book.pending.values()],
    )
    write_whole(home / BOOK, msgspec.json.encode(kept))


def forget_book(home: Path, from_height: int) -> None:
    """The next look at the chain begins again, at a height."""
    (home / BOOK).unlink(missing_ok=True)
    settings = load_settings(home)
    save_settings(home, msgspec.structs.replace(settings, birthday=from_height))


def write_backup(home: Path, path: Path) -> None:
    """Raises ConfigError: `path` exists, or the wallet is damaged."""
    sealed = load_sealed(home) if (home / SECRETS).exists() else None
    if path.exists():
        raise ConfigError(f"{path} exists already; a backup overwrites nothing")
    write_whole(path, _format(Backup(settings=load_settings(home), secrets=sealed)))


def read_backup(path: Path) -> Backup:
    """Raises ConfigError: unreadable, or no backup."""
    return _load(path, Backup, BACKUP_BYTES_MAX)


def _format(record: msgspec.Struct) -> bytes:
    return msgspec.json.format(msgspec.json.encode(record), indent=2) + b"\n"


def _load(path: Path, kind: type[_R], bytes_max: int) -> _R:
    try:
        with path.open("rb") as opened:
            size = os.fstat(opened.fileno()).st_size  # no more is allocated than is there
            data = opened.read(min(size, bytes_max) + 1)
    except FileNotFoundError:
        raise ConfigError(f"{path} is not there; `gristmill wallet init` makes a wallet") from None
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from None
    if len(data) > bytes_max:
        raise ConfigError(f"{path}: more than {bytes_max} bytes")
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: {error}") from None
