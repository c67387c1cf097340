"""`gristmill node snapshot`: begin from the coins of a block, instead of from block 0."""

from pathlib import Path
from typing import Any

import click

from bft.errors import ConfigError
from chain.command_group import InOrder
from chain.homes import home_option
from chain.output import JSON, show_text

HOME = home_option("node", "The node's directory, with its node.yaml.")
DIGEST_DIGITS = 64


@click.group(cls=InOrder)
def snapshot() -> None:
    """Begin from the coins after a block, instead of from block 0."""


@snapshot.command()
@HOME
@JSON
def digest(home: Path, as_json: bool) -> None:
    """Show the digest of the newest coins.

    Those after the newest final block; the node may be running.

    The same as `muhash` of the JSON-RPC call gettxoutsetinfo.

    \b
    gristmill node snapshot digest --home node
    """
    from chain.snapshot.export import head_of

    store, genesis = _open(home)
    try:
        with store.reading():
            head, _ = head_of(store, genesis.chain_id)
    finally:
        store.close()
    _show(head, as_json)


@snapshot.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@HOME
@JSON
def export(file: Path, home: Path, as_json: bool) -> None:
    """Write the newest coins to FILE.

    Those after the newest final block; the node may be running.

    Others can begin from FILE, if they trust the digest that is shown.

    \b
    gristmill node snapshot export coins.snapshot --home node
    """
    from chain.snapshot.export import export_snapshot

    store, genesis = _open(home)
    try:
        head = export_snapshot(store, genesis.chain_id, file)
    finally:
        store.close()
    _show(head, as_json)


@snapshot.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@HOME
@click.option(
    "--digest",
    "trusted",
    required=True,
    help="64 hex digits: the coins' digest, from somebody whom you trust.",
)
@JSON
def load(file: Path, home: Path, trusted: str, as_json: bool) -> None:
    """Begin a node from the coins in FILE.

    HOME has its settings, and no node has run in it.
    Headers and certificates in FILE are verified; that the coins are right is what --digest says.
    `gristmill node run` then goes on from there, and counts the coins again from block 0 meanwhile
    where it knows whom to ask for old blocks.

    \b
    gristmill node snapshot load coins.snapshot --home node --digest 64-HEX-DIGITS
    """
    from chain.node.config import load_genesis, pinned_key
    from chain.node.core import take_lock
    from chain.snapshot.load import load_snapshot

    wanted = _digest(trusted)
    config = _settings(home)
    genesis = load_genesis(Path(config.genesis))
    key = pinned_key(config, genesis.chain_id)
    lock = take_lock(Path(config.home))
    try:
        head = load_snapshot(file, config.database, genesis, key, wanted)
    finally:
        lock.close()
    _show(head, as_json)


def _settings(home: Path) -> Any:
    from chain.node.config import CONFIG_NAME, load_config, without_file

    path = home / CONFIG_NAME
    return load_config(path) if path.exists() else without_file(home)


def _open(home: Path) -> tuple[Any, Any]:
    """(store, genesis record) of a node that has run in `home`."""
    from chain.node.config import load_genesis
    from chain.node.store import Store
    from chain.validation import genesis_view

    config = _settings(home)
    if not config.database.exists():
        raise FileNotFoundError(2, "no node has run in this home", str(home))
    genesis = load_genesis(Path(config.genesis))
    view = genesis_view(genesis)
    return Store(config.database, genesis.chain_id, view, indexes=config.indexes), genesis


def _digest(text: str) -> bytes:
    try:
        found = bytes.fromhex(text)
    except ValueError:
        found = b""
    if len(found) * 2 != DIGEST_DIGITS or len(text) != DIGEST_DIGITS:
        raise ConfigError(f"--digest: {DIGEST_DIGITS} hex digits expected; {text[:80]!r} came")
    return found[::-1]


def _show(head: Any, as_json: bool) -> None:
    shown = {
        "height": head.height,
        "block": head.block[::-1].hex(),
        "coins": head.coins,
        "digest": head.digest[::-1].hex(),
    }
    text = "\n".join(f"{name:<8}{value}" for name, value in shown.items())
    show_text(shown, as_json, text)
