"""`gristmill verify --from URL`: the chain, or one transaction, believing no server.

Source: docs/INTEROP.md, "Light clients".
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from bft.errors import ConfigError, DecodeError, FederationError, Refused, Unavailable
from chain.durable import write_whole
from chain.epochs import follow_epochs
from chain.federation.api import HEADERS_LIMIT_MAX
from chain.light.follow import (
    LightChain,
    begin,
    check_epoch,
    check_fresh,
    finalise,
    follow,
    prove_block,
    verify_transaction,
)
from chain.light.source import Source
from chain.light.state import STATE_BYTES_MAX, decode_state, encode_state
from chain.node.config import load_genesis
from chain.records.federation import FederationKey, Genesis

POLL_S = 5.0  # between two looks of --follow; a cycle is much longer
Show = Callable[[dict[str, Any]], None]


def now_s() -> int:
    """Unix seconds."""
    return int(time.time())


def follow_servers(
    servers: Sequence[str], genesis: Path, key: bytes, state: Path | None, on: bool, show: Show
) -> None:
    """Follow the chain to its newest proven block, and say which it is; for ever if `on`.

    Raises:
        Refused: "stale", "split-view", or what `follow` raises for all servers.
        Unavailable: no server answered.
    """
    record = load_genesis(genesis)
    chain = begin(record, key)
    if state is not None and state.exists():
        chain = decode_state(state.read_bytes()[:STATE_BYTES_MAX], chain, str(state))
    sources = [Source(url) for url in servers]
    epochs: tuple[FederationKey, ...] = ()
    told = -1
    while True:
        try:
            chain, epochs = catch_up(chain, epochs, sources, record)
            check_fresh(chain, record.params, now_s())
            if chain.proven.height != told:
                # Nodes do not serve epochs; a replica that does must know the newest one.
                show(_describe(chain, check_epoch(chain, epochs) if epochs else None))
                told = chain.proven.height
        except Unavailable:
            if not on:
                raise
        if state is not None:
            write_whole(state, encode_state(chain), 0o644)
        if not on:
            return
        time.sleep(POLL_S)


def prove_transaction(
    servers: Sequence[str], genesis: Path, key: bytes, txid: str, height: int, show: Show
) -> None:
    """Prove that a transaction is in the block at a height, and say where.

    Raises:
        DecodeError, BadSignature, Refused: what the servers showed proves nothing.
        FileNotFoundError: no server has the block, or the transaction in it.
    """
    wanted = _txid(txid)
    chain = begin(load_genesis(genesis), key)
    errors: list[Exception] = []
    for source in map(Source, servers):
        try:
            headers = source.headers(height)
            word = source.finality(height)
            proof = headers[1] if len(headers) > 1 else word
            if not headers or proof is None:
                raise FileNotFoundError(2, "no proven block at this height", source.url)
            block, levels = prove_block(chain, headers[0], proof)
            if block.height != height:
                raise DecodeError(f"block {block.height} came; {height} was asked for")
            place = verify_transaction(source.proof(height, txid), wanted, block, levels)
        except (FederationError, FileNotFoundError) as error:
            errors.append(error)
            continue
        shown = {"height": height, "block": block.hash[::-1].hex(), "time": block.time}
        show({"proven": True, "transaction": txid, "place": place, **shown})
        return
    raise errors[0]


def _txid(text: str) -> bytes:
    try:
        found = bytes.fromhex(text)[::-1]
    except ValueError:
        found = b""
    if len(found) != 32 or text != text.lower():
        raise ConfigError(f"{text[:80]!r} came; a transaction's id is 64 lower-case hex digits")
    return found


def catch_up(
    chain: LightChain,
    epochs: tuple[FederationKey, ...],
    sources: Sequence[Source],
    genesis: Genesis,
) -> tuple[LightChain, tuple[FederationKey, ...]]:
    """The best of what the servers can prove, and the epochs.

    Two servers that prove two blocks for one height end it: the federation has contradicted itself.
    """
    found: list[LightChain] = []
    errors: list[FederationError] = []
    for source in sources:
        try:
            found.append(follow_source(chain, source))
        except FederationError as error:
            errors.append(error)
            continue
        wanted = found[-1].federation
        while wanted and wanted not in {each.digest for each in epochs}:
            more = follow_epochs(genesis, chain.federation_key, source.epochs(len(epochs)), epochs)
            if len(more) == len(epochs):
                break  # it has no others
            epochs = more
    if not found:
        raise errors[0]
    best = max(found, key=lambda each: (each.proven.height, each.height))
    for other in found:
        same = other.proven.height == best.proven.height
        if same and other.proven.hash != best.proven.hash:
            raise Refused(
                "split-view",
                f"two blocks are proven at height {best.proven.height}: a fault of "
                "the federation; keep both, and tell its operators",
            )
    return best, epochs


def follow_source(chain: LightChain, source: Source) -> LightChain:
    """`chain` with all that one server can prove on top of it.

    Raises:
        Unavailable: no answer; DecodeError, BadSignature, Refused: it shows what is false.
    """
    chain = replace(chain, tip=None)  # what was not proven may have been another block
    headers: tuple[bytes, ...] = (b"",) * HEADERS_LIMIT_MAX
    while len(headers) == HEADERS_LIMIT_MAX:
        headers = source.headers(chain.height + 1)
        chain = follow(chain, headers)
    word = source.finality(chain.height) if chain.tip is not None else None
    return chain if word is None else finalise(chain, word)


def _describe(chain: LightChain, epoch: FederationKey | None) -> dict[str, Any]:
    tip = chain.tip
    return {
        "proven": True,
        "height": chain.proven.height,
        "block": chain.proven.hash[::-1].hex(),
        "time": chain.proven.time,
        "age_s": now_s() - chain.certified_s,
        "unproven_tip": None if tip is None else tip.hash[::-1].hex(),
        "epoch": chain.epoch,
        "members": [] if epoch is None else [_plain(each.operator) for each in epoch.members],
    }


def _plain(text: bytes) -> str:
    return text.decode("utf-8", "replace")
