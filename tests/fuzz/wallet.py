"""Readers of the wallet and of light clients: PSBTs, keys, words, files, proofs, saved state."""

import atexit
import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from chain.bitcoin import signet
from chain.bitcoin.merkle_block import decode_merkle_block, encode_merkle_block
from chain.light.follow import begin, finalise, follow
from chain.light.state import decode_state, encode_state
from chain.records.transaction import bitcoin_merkle_root
from chain.wallet import home
from chain.wallet.account import Account, descriptor_of
from chain.wallet.book import Book
from chain.wallet.descriptor import decode_descriptor
from chain.wallet.hdkey import decode_key, master_key, parse_path
from chain.wallet.home import Settings
from chain.wallet.psbt import decode_psbt, decode_text
from chain.wallet.sealed import Cost, Secrets, seal_secrets
from chain.wallet.sign import extract, finalize, sign
from chain.wallet.words import check_words, words_of
from tests.chain.bitcoin.core_vectors import VECTORS
from tests.chain.federation_fixture import FEDERATION_KEY, GENESIS, finality_of, make_chain
from tests.fuzz.target import Target

ACCOUNT = Account(descriptor=descriptor_of(bytes(16)))
PLAIN = seal_secrets(Secrets(words="abandon"), "x", Cost(n_log2=1))
BEGUN = begin(GENESIS, FEDERATION_KEY)


@cache
def _folder() -> Path:
    made = TemporaryDirectory(prefix="fuzz-wallet-")
    atexit.register(made.cleanup)
    return Path(made.name)


def _psbt(data: bytes) -> bytes:
    """Read, and taken through every role that needs no network."""
    found = decode_psbt(data)
    signed, _ = sign(found, lambda public, fingerprint, path: None)
    made, done = finalize(signed)
    if done:
        extract(made)
    return found.encode()


def _text(read: Callable[[str], object]) -> Callable[[bytes], None]:
    def of_bytes(data: bytes) -> None:
        read(data.decode("latin-1"))

    return of_bytes


def _file(name: str) -> Callable[[bytes], None]:
    loads: dict[str, Callable[[Path], object]] = {
        home.WALLET: home.load_settings,
        home.SECRETS: home.load_sealed,
        home.BOOK: lambda path: home.load_book(path, ACCOUNT, 0),
    }

    def read(data: bytes) -> None:
        place: Path = _folder() / "wallet"
        place.mkdir(exist_ok=True)
        (place / name).write_bytes(data)
        loads[name](place)

    return read


def _samples() -> dict[str, bytes]:
    """Of the wallet's files."""
    place = _folder() / "wallet-samples"
    place.mkdir(exist_ok=True)
    home.save_settings(place, Settings(descriptor=ACCOUNT.descriptor.encode()))
    home.save_sealed(place, PLAIN)
    home.save_book(place, Book(script_at=ACCOUNT.script))
    return {name: (place / name).read_bytes() for name in (home.WALLET, home.SECRETS, home.BOOK)}


def _proof() -> bytes:
    ids = [bytes([at]) * 32 for at in range(5)]
    header = bytearray(make_chain(1)[0].header.encode())
    header[36:68] = bitcoin_merkle_root(ids)
    return encode_merkle_block(bytes(header), ids, {ids[3]})


def _merkle_block(data: bytes) -> None:
    decode_merkle_block(data)


def _solution(data: bytes) -> None:
    signet.read_solution(data)


def targets() -> list[Target]:
    """All of them."""
    chain = follow(BEGUN, [block.certified_header.encode() for block in make_chain(2)])
    done = finalise(chain, finality_of(make_chain(2)[-1]))
    texts = json.loads((VECTORS / "rpc_psbt.json").read_text())["valid"]
    psbts = tuple(decode_text(text).encode() for text in texts[:5:2])
    root = master_key(bytes(16))
    files = _samples()
    return [
        Target(name="psbt", read=_psbt, samples=psbts, covers=("chain.wallet.psbt:decode_psbt",)),
        Target(name="extended-key", read=_text(decode_key), samples=(root.encode().encode(),)),
        Target(name="key-path", read=_text(parse_path), samples=(b"m/84h/0h/0h", b"m")),
        Target(
            name="descriptor",
            read=_text(decode_descriptor),
            samples=(ACCOUNT.descriptor.encode().encode(),),
        ),
        Target(name="words", read=_text(check_words), samples=(words_of(bytes(16)).encode(),)),
        *(
            Target(
                name=f"wallet-{name}",
                read=_file(name),
                samples=(data,),
                covers=(f"chain.wallet.home:{load_name}",),
            )
            for (name, data), load_name in zip(
                files.items(), ("load_settings", "load_sealed", "load_book"), strict=True
            )
        ),
        Target(
            name="merkle-block",
            read=_merkle_block,
            samples=(_proof(),),
            covers=("chain.bitcoin.merkle_block:decode_merkle_block",),
        ),
        Target(
            name="light-state",
            read=lambda data: encode_state(decode_state(data, BEGUN, "state")),
            samples=(encode_state(BEGUN), encode_state(chain), encode_state(done)),
            covers=("chain.light.state:decode_state",),
        ),
        Target(name="signet-solution", read=_solution, samples=(b"\x01\x51\x00", b"\x00\x01\x00")),
    ]
