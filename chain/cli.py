"""`gristmill node` and `gristmill verify`.

Results go to stdout, trouble is raised as one of our errors; gristmill/cli.py gives it its exit
status.  What a subcommand needs of the edge it imports itself, so that `verify` starts at once.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from bft.errors import DecodeError
from chain.command_group import InOrder
from chain.homes import home_option
from chain.snapshot.cli import snapshot

HOME = home_option("node", "The node's directory, with its node.yaml.")
URL = click.option("--url", help="Ask a running node here instead, for example http://host:7501.")
_TIP = ("height", "tip", "tip_time", "final_height", "final")
JSON = click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")


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

    names = {"key": "federation_key", "key_file": "federation_key_file"}
    given = {names.get(name, name): value for name, value in flags.items() if value}
    if "federation_key" in given or "federation_key_file" in given:
        given = {"federation_key": "", "federation_key_file": "", **given}
    path = home / CONFIG_NAME
    config = load_config(path) if path.exists() else without_file(home)
    try:
        merged = {**msgspec.structs.asdict(config), **given}
        return msgspec.convert(merged, NodeConfig)
    except msgspec.ValidationError as error:
        raise ConfigError(f"flags: {error}") from None


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
    _show({"evidence": told} if as_json else numbered or {"evidence": None}, as_json)


node.add_command(snapshot)


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


@click.command()
@click.argument(
    "file", type=click.Path(exists=True, dir_okay=False, path_type=Path), required=False
)
@click.option("--hex", "digits", help="The certificate itself, instead of a file.")
@click.option("--key", help="The ONE federation key, 192 hex digits.")
@click.option(
    "--key-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The key in a file: hex digits, or the federation's key record.",
)
@click.option("--chain-id", help="64 hex digits; without it any chain's certificate will do.")
@click.option(
    "--genesis",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The genesis record, instead of a key: FILE is a receipt for a request.",
)
@click.option(
    "--from",
    "servers",
    multiple=True,
    metavar="URL",
    help="Follow the chain from certified headers of this replica or node; repeatable.",
)
@click.option("--transaction", metavar="TXID", help="With --from: prove that it is in a block.")
@click.option("--height", type=click.IntRange(1, 2**32 - 1), help="The block of --transaction.")
@click.option(
    "--state",
    type=click.Path(dir_okay=False, path_type=Path),
    help="With --from: what was proven already, read and written; the next run goes on from there.",
)
@click.option("--follow", is_flag=True, help="With --from: go on until interrupted.")
@click.option(
    "--request",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The sealed request that the receipt must be for.",
)
@JSON
def verify(
    file: Path | None,
    digits: str | None,
    key: str | None,
    key_file: Path | None,
    chain_id: str | None,
    genesis: Path | None,
    request: Path | None,
    servers: tuple[str, ...],
    transaction: str | None,
    height: int | None,
    state: Path | None,
    follow: bool,
    as_json: bool,
) -> None:
    """Check a certificate, a block, a transaction or the whole chain under the federation key.

    FILE holds a certificate or a block, as bytes or as hex digits.  A block is checked for the
    winner's signature and for all that it shows without its parent.

    With --genesis alone: check the receipt of a request, by the keys of the members.

    With --from URL, --genesis and a key: follow the chain from certified headers alone, believing
    no server.  The certificate of block N + 1 proves block N; a chain whose newest certificate is
    older than two cycles is refused as stale.  docs/INTEROP.md says what this proves.

    \b
    gristmill verify block.bin --key-file federation.key
    gristmill verify --from http://replica:7401 --genesis genesis.bin \\
        --key-file federation.key
    gristmill verify --from http://replica:7401 --genesis genesis.bin \\
        --key-file federation.key --transaction TXID --height 120

    Ends with status 6 if it is false.
    """
    if servers:
        from chain.light.cli import follow_servers, prove_transaction

        if genesis is None or (key is None) == (key_file is None) or file or digits or request:
            raise click.UsageError("--from needs --genesis and one of --key and --key-file only")
        if (transaction is None) != (height is None):
            raise click.UsageError("--transaction and --height go together")
        known = _key(key, key_file)
        if transaction is not None and height is not None:
            prove_transaction(servers, genesis, known, transaction, height, _shown(as_json))
        else:
            follow_servers(servers, genesis, known, state, follow, _shown(as_json))
        return
    if transaction or height or state or follow:
        raise click.UsageError("--transaction, --height, --state and --follow go with --from")
    if (file is None) == (digits is None):
        raise click.UsageError("give either FILE or --hex")
    if (key, key_file, genesis).count(None) != 2:
        raise click.UsageError("give one of --key, --key-file and --genesis")
    data = _bytes_of(digits, "--hex") if digits is not None else _read_either(file)
    if genesis is not None:
        _show(_verified_receipt(data, genesis, request), as_json)
    else:
        _show(_verified(data, _key(key, key_file), chain_id), as_json)


def _verified_receipt(data: bytes, genesis: Path, request: Path | None) -> dict[str, Any]:
    from bft.crypto.hashing import sha256
    from chain.node.config import load_genesis
    from chain.node.describe import describe_receipt
    from chain.receipts import verify_receipt

    receipt = verify_receipt(data, load_genesis(genesis).membership)
    if request is not None and sha256(request.read_bytes()) != receipt.request:
        raise DecodeError(f"{request}: another request than that of the receipt")
    return {"valid": True, **describe_receipt(receipt)}


def _key(key: str | None, key_file: Path | None) -> bytes:
    from chain.node.config import parse_key, read_key_file

    if key is not None:
        return parse_key(key, "--key")
    assert key_file is not None  # `verify` has seen to it
    return read_key_file(key_file, None)


def _verified(data: bytes, key: bytes, chain_id: str | None) -> dict[str, Any]:
    from chain.node.describe import describe_block, describe_certificate
    from chain.records.block import decode_block
    from chain.records.certificate import CERTIFICATE_BYTES, decode_certificate
    from chain.validation import check_alone, verify_certificate

    found = None if len(data) == CERTIFICATE_BYTES else decode_block(data)
    certificate = data if found is None else found.coinbase.certificate
    claimed = decode_certificate(certificate)[0].chain_id
    expected = claimed if chain_id is None else _bytes_of(chain_id, "--chain-id")
    verified = verify_certificate(certificate, key, expected)
    if found is None:
        return {"valid": True, **describe_certificate(verified)}
    check_alone(found.certified_header)
    return {"valid": True, **describe_block(found)}


def _read_either(file: Path | None) -> bytes:
    from chain.federation.api import BLOCK_BYTES_MAX

    assert file is not None  # `verify` has seen to it
    with file.open("rb") as opened:
        data = opened.read(2 * BLOCK_BYTES_MAX + 2)
    try:
        return bytes.fromhex(data.decode("ascii"))
    except ValueError:
        return data


def _bytes_of(digits: str, option: str) -> bytes:
    try:
        return bytes.fromhex(digits)
    except ValueError:
        raise click.BadParameter(f"{option} takes hex digits") from None


def _shown(as_json: bool) -> Callable[[dict[str, Any]], None]:
    return lambda data: _show(data, as_json)


def _show(data: dict[str, Any], as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps({"ok": True, "data": data}))
        return
    for line in _lines(data, ""):
        click.echo(line)


def _lines(data: dict[str, Any], indent: str) -> list[str]:
    width = max((len(name) for name in data), default=0)
    lines = []
    for name, value in data.items():
        if isinstance(value, dict):
            lines += [f"{indent}{name}", *_lines(value, indent + "  ")]
        else:
            told = ", ".join(map(str, value)) if isinstance(value, list) else value
            shown = "-" if told is None else told
            lines.append(f"{indent}{name.replace('_', ' '):<{width}}  {shown}")
    return lines
