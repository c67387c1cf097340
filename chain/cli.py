"""`gristmill node`.

Results go to stdout, trouble is raised as one of our errors; gristmill/cli.py gives it its exit
status.  What a subcommand needs of the edge it imports itself, so that the others start at once.
"""

import json
from pathlib import Path
from typing import Any

import click

from bft.errors import DecodeError
from chain.command_group import InOrder
from chain.homes import home_option
from chain.output import JSON, dated, show
from chain.snapshot.cli import snapshot

HOME = home_option("node", "The node's directory, with its node.yaml.")
URL = click.option("--url", help="Ask a running node here instead, for example http://host:7501.")
_FLAGS = {"peers": "--peer", "replicas": "--replica"}  # of settings with another name
_TIMES = frozenset({"tip_time", "time", "not_before", "not_after"})
_TIP = ("height", "tip", "tip_time", "final_height", "final")


@click.group(cls=InOrder)
def node() -> None:
    """Follow and check the chain."""


@node.command()
@HOME
@click.option("-v", "--verbose", is_flag=True, help="Say what happens on stderr.")
@click.option("--genesis", type=click.Path(dir_okay=False), help="Instead of node.yaml's.")
@click.option("--key", help="The ONE federation key, 192 hex digits, instead of node.yaml's.")
@click.option("--key-file", type=click.Path(dir_okay=False), help="The same, in a file.")
@click.option("--p2p", help="host:port to listen on for peers.")
@click.option("--http", help="host:port to listen on for this node's operator.")
@click.option("--peer", "peers", multiple=True, help="host:port of a peer to dial; repeatable.")
@click.option("--replica", "replicas", multiple=True, help="URL of a replica's API; repeatable.")
@click.option(
    "--ask-members",
    is_flag=True,
    help="Ask the federation's members too, those of today, wherever they answer.",
)
def run(home: Path, verbose: bool, **flags: Any) -> None:
    """Run a node until it is interrupted.

    Settings come from node.yaml in HOME; flags win.

    Ends with status 0 when it is interrupted.

    \b
    gristmill node run --home node --genesis genesis.bin \\
        --key-file federation.key --peer 203.0.113.5:7500
    """
    import logging

    from chain.node.service import run_node

    level = logging.INFO if verbose else logging.WARNING
    logging.basicConfig(level=level, format="%(asctime)s %(levelname)s %(message)s")
    run_node(_config(home, flags))


def _config(home: Path, flags: dict[str, Any]) -> Any:
    """node.yaml, with the flags that were given over it."""
    import msgspec

    from bft.errors import ConfigError
    from chain.node.config import CONFIG_NAME, NodeConfig, load_config, without_file
    from chain.settings import what_is_wrong

    names = {"key": "federation_key", "key_file": "federation_key_file"}
    given = {names.get(name, name): value for name, value in flags.items() if value}
    if "federation_key" in given or "federation_key_file" in given:
        given = {"federation_key": "", "federation_key_file": "", **given}
    path = home / CONFIG_NAME
    config = load_config(path) if path.exists() else without_file(home)
    merged = {**msgspec.structs.asdict(config), **given}
    try:
        return msgspec.convert(merged, NodeConfig)
    except msgspec.ValidationError as error:
        spot, text = what_is_wrong(error, merged, NodeConfig)
        name = spot.removeprefix("$.").partition("[")[0]
        raise ConfigError(f"{_FLAGS.get(name, f'--{name}')}: {text}") from None


@node.command()
@HOME
@URL
@JSON
def tip(home: Path, url: str | None, as_json: bool) -> None:
    """The best block, and the one that is final.

    Ends with status 4 if no node has run in HOME.

    \b
    gristmill node tip --home node
    """
    status = _status(home, url)
    _show({name: status[name] for name in _TIP}, as_json)


@node.command()
@HOME
@URL
@JSON
def status(home: Path, url: str | None, as_json: bool) -> None:
    """What this node holds for true; with --url also its peers.

    \b
    gristmill node status --url http://127.0.0.1:7501
    """
    _show(_status(home, url), as_json)


@node.command()
@click.argument("reference", metavar="HEIGHT|HASH")
@HOME
@URL
@JSON
def block(reference: str, home: Path, url: str | None, as_json: bool) -> None:
    """One block: its reward, and the certificate in it.

    Ends with status 4 if there is no such block.

    \b
    gristmill node block 7 --home node
    """
    from chain.node.describe import describe_block

    _show(describe_block(_find_block(reference, home, url)), as_json)


@node.command()
@HOME
@click.option(
    "--show",
    "servers",
    multiple=True,
    metavar="URL",
    help="Show it to the replica there, which bars the winner's key; repeatable.",
)
@JSON
def evidence(home: Path, servers: tuple[str, ...], as_json: bool) -> None:
    """Who signed two blocks, or two truths.

    Winners with two blocks under one certificate, and a federation that contradicted itself.
    A running node shows it by itself to the replicas that it asks; --show does so by hand.

    \b
    gristmill node evidence --home node --show http://replica:7401
    """
    from chain.node.evidence_cli import describe_evidence, show_evidence
    from chain.records.evidence import Equivocation

    with _Reading(home) as (store, genesis):
        kept = store.evidence()
    told = [describe_evidence(each) for each in kept]
    winners = [each for each in kept if isinstance(each, Equivocation)]
    if servers:
        answers = show_evidence(genesis.chain_id, genesis.params, winners, servers)
        against = [place for place, each in enumerate(kept) if isinstance(each, Equivocation)]
        for place, said in zip(against, answers, strict=True):
            told[place]["answers"] = said
    numbered: dict[str, Any] = {f"evidence {number}": each for number, each in enumerate(told, 1)}
    show({"evidence": told} if as_json else numbered or {"evidence": None}, as_json)


node.add_command(snapshot)


def _show(data: dict[str, Any], as_json: bool) -> None:
    """With dates beside times, for people."""
    show(data if as_json else dated(data, _TIMES), as_json)


def _status(home: Path, url: str | None) -> dict[str, Any]:
    if url is not None:
        from chain.federation.api import STATUS

        try:
            answer = json.loads(_get(url + STATUS))
        except (ValueError, RecursionError):
            answer = None
        if not isinstance(answer, dict) or not set(_TIP) <= answer.keys():
            raise DecodeError(f"{url} answered with something that is no node's status")
        return answer
    from chain.node.describe import describe_tree

    with _Reading(home) as (store, genesis):
        return {
            "name": genesis.name.decode("utf-8", "replace"),
            "chain_id": genesis.chain_id.hex(),
            **describe_tree(store.tree()),
            "evidence": len(store.evidence()),
        }


def _find_block(reference: str, home: Path, url: str | None) -> Any:
    if not reference.isalnum() or not reference.isascii():
        raise click.BadParameter("a height, or a block hash of 64 hex digits")
    if url is not None:
        from chain.federation.api import BLOCK
        from chain.records.block import decode_block

        return decode_block(_get(url + BLOCK.format(height=reference)))
    with _Reading(home) as (store, _):
        found = store.find(reference, store.tree().tip)
    if found is None:
        raise FileNotFoundError(2, "no such block here", reference)
    return found


class _Reading:
    """A node's store, opened for a moment; the node itself may be running."""

    def __init__(self, home: Path) -> None:
        from chain.node.config import load_genesis
        from chain.node.store import Store
        from chain.validation import genesis_view

        config = _config(home, {})
        if not config.database.exists():
            raise FileNotFoundError(2, "no node has run in this home", str(home))
        self._genesis = load_genesis(Path(config.genesis))
        view = genesis_view(self._genesis)
        chain_id, indexes = self._genesis.chain_id, config.indexes  # others would be dropped
        self._store = Store(config.database, chain_id, view, indexes=indexes)

    def __enter__(self) -> tuple[Any, Any]:
        return self._store, self._genesis

    def __exit__(self, *_: object) -> None:
        self._store.close()


def _get(url: str) -> bytes:
    """The body of a good answer, at most as long as a block."""
    from chain.federation.api import BLOCK_BYTES_MAX
    from chain.federation.fetch import fetch

    if not url.startswith(("http://", "https://")):
        raise click.BadParameter(f"{url}: a URL begins with http:// or https://")
    return fetch(url, BLOCK_BYTES_MAX)
