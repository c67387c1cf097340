"""`gristmill miner`: train for the federation.  Parse, call one function, print."""

import asyncio
import importlib.util
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bft.errors import ConfigError, FederationError
from chain.command_group import InOrder
from chain.homes import home_option
from chain.output import JSON, show_pairs

EVENTS_TOLD = 10
EVENTS_FOLDED = 100_000  # of the past, into a live picture's totals

if TYPE_CHECKING:
    from miner.config import Device, MinerHome
    from miner.view import View


_home = home_option("miner", "Key, settings and certificates of one miner.")
_DEVICES = ["cpu", "cuda", "mps", "auto"]
_federation = click.option(
    "--federation",
    "urls",
    multiple=True,
    metavar="URL",
    help="A replica's address; repeat it.  Left out: those of the genesis record.",
)


def _require_torch() -> None:
    """Raises ModuleNotFoundError here and now, rather than in every unit's training."""
    if importlib.util.find_spec("torch") is None:
        raise ModuleNotFoundError("No module named 'torch'", name="torch")


@click.group(cls=InOrder)
def miner() -> None:
    """Train for the federation: work is measured, and measured work can win the block."""


@miner.command()
@_home
@click.option(
    "--genesis",
    "genesis_file",
    type=click.Path(dir_okay=False, path_type=Path),
    required=True,
    help="The federation's genesis record, from somebody you trust.",
)
@_federation
@click.option("--node", "nodes", multiple=True, metavar="URL", help="A chain node; repeat it.")
@click.option(
    "--device",
    type=click.Choice(_DEVICES),
    default="cpu",
    show_default=True,
    help="Where to train; auto is the fastest that there is.",
)
@JSON
def init(
    home: Path,
    genesis_file: Path,
    urls: tuple[str, ...],
    nodes: tuple[str, ...],
    device: "Device",
    as_json: bool,
) -> None:
    """Make a key and a home directory.  Prints the chain id: compare it with the operators'.

    \b
    gristmill miner init --home me --genesis genesis.bin
    """
    from miner.config import MinerConfig, create_home, load_genesis

    genesis = load_genesis(genesis_file)
    key = create_home(home, genesis, MinerConfig(federation=urls, nodes=nodes, device=device))
    shown = {"miner": key.hex(), "chain_id": genesis.chain_id.hex(), "home": str(home)}
    show_pairs(shown, as_json)


@miner.command()
@_home
@_federation
@click.option("--node", "nodes", multiple=True, metavar="URL", help="A chain node; repeat it.")
@click.option("--device", type=click.Choice(_DEVICES), help="Instead of miner.yaml's.")
@click.option("--sandbox", is_flag=True, help="Train without network and without other files.")
@click.option("--plain", is_flag=True, help="Lines on stderr even on a terminal.")
@click.option("--json", "as_json", is_flag=True, help="Every event as one JSON object a line.")
def run(
    home: Path,
    urls: tuple[str, ...],
    nodes: tuple[str, ...],
    device: str | None,
    sandbox: bool,
    plain: bool,
    as_json: bool,
) -> None:
    """Mine until interrupted.

    A live picture on a terminal, else lines on stderr; all events are in HOME/events.jsonl.

    Ends with status 0 when it is interrupted.

    \b
    gristmill miner run --home me
    gristmill miner run --home me --device cuda --sandbox
    """
    import logging

    import msgspec

    from miner.config import load_home
    from miner.main import log_to_stderr
    from miner.main import run as mine

    loaded = load_home(home)
    _require_torch()
    config = loaded.config
    if device is not None:
        config = msgspec.structs.replace(config, device=device)
    if sandbox:
        config = msgspec.structs.replace(config, sandbox=True)
    loaded = loaded._replace(config=config)
    view = _view(loaded, plain, as_json)
    # What the view shows needs no second line below it.
    log_to_stderr(logging.INFO if view is None else logging.ERROR)
    mine(loaded, urls, nodes, view=view)


def _view(home: "MinerHome", plain: bool, as_json: bool) -> "View | None":
    """None: the log is enough."""
    import sys

    from rich.console import Console

    from miner.files import EventFile
    from miner.picture import Picture, Value
    from miner.view import JsonView, LiveView

    console = Console()
    if as_json:
        return JsonView(sys.stdout)
    if plain or not console.is_terminal:
        return None
    picture = Picture(home.genesis.params)
    for told in EventFile(home.path).newest(EVENTS_FOLDED):
        fields = {name: value for name, value in told.items() if isinstance(value, Value)}
        picture.take(str(told.get("event", "")), fields)
    return LiveView(console, picture, home.key.public_key)


@miner.command()
@_home
@_federation
@JSON
def status(home: Path, urls: tuple[str, ...], as_json: bool) -> None:
    """What this miner did lately, and where the federation is.

    \b
    gristmill miner status --home me
    """
    from miner.config import load_home
    from miner.files import CertificateStore, EventFile

    loaded = load_home(home)
    events = [event for event in EventFile(home).newest(1_000) if event["event"] != "training"]
    certificates = CertificateStore(home).newest()
    data: dict[str, Any] = {
        "miner": loaded.key.public_key.hex(),
        "chain_id": loaded.genesis.chain_id.hex(),
        "federation": asyncio.run(_position(loaded.genesis, urls or loaded.config.federation)),
        "certificates": [_summary(document) for document in certificates],
        "events": events[-EVENTS_TOLD:],
    }
    if as_json:
        show_pairs(data, as_json)
        return
    for name in ("miner", "chain_id", "federation"):
        click.echo(f"{name}: {data[name]}")
    for document in data["certificates"]:
        click.echo(f"cycle {document['cycle']}: {document['tickets']} tickets, certified")
    for event in data["events"]:
        at = datetime.fromtimestamp(event["at_ms"] / 1000, UTC)
        rest = [name for name in event if name not in ("event", "at_ms")]
        fields = " ".join(f"{name}={event[name]}" for name in rest)
        click.echo(f"{at:%Y-%m-%d %H:%M:%S} UTC  {event['event']} {fields}")


def _summary(document: dict[str, Any]) -> dict[str, Any]:
    tickets = sum(row["tickets"] for row in document["rows"])
    return {"cycle": document["cycle"], "units": len(document["rows"]), "tickets": tickets}


async def _position(genesis: Any, urls: tuple[str, ...]) -> str:
    from chain.federation.client import FederationClient

    try:
        async with FederationClient(genesis, urls) as client:
            place = await client.position()
    except ConfigError:
        raise
    except FederationError as error:
        return f"no answer: {error}"
    return f"cycle {place.cycle}, {place.phase.name}"


@miner.command()
@_home
@_federation
@JSON
def benchmark(home: Path, urls: tuple[str, ...], as_json: bool) -> None:
    """Measure this machine, and register with that from now on.

    \b
    gristmill miner benchmark --home me
    """
    from miner.config import load_home
    from miner.main import benchmark as measure

    loaded = load_home(home)
    _require_torch()
    profile, units = measure(loaded, urls)
    show_pairs(
        {
            "device": profile.device.decode(),
            "capacity": profile.capacity,
            "unit_capacity": loaded.genesis.params.unit_capacity,
            "units": units,
            "memory_bytes": profile.memory_bytes,
        },
        as_json,
    )


_node = click.option(
    "--node",
    default="http://127.0.0.1:7501",
    show_default=True,
    metavar="URL",
    help="Your own node.",
)
_cookie = click.option(
    "--cookie",
    type=click.Path(dir_okay=False, path_type=Path),
    required=True,
    help="The node's .cookie file, in its home.",
)


@miner.command()
@_home
@JSON
def address(home: Path, as_json: bool) -> None:
    """Where this miner's rewards arrive.

    \b
    gristmill miner address --home me
    """
    from miner.config import load_home
    from miner.purse import address_of

    show_pairs({"address": address_of(load_home(home).key.public_key)}, as_json)


@miner.command()
@_home
@_node
@_cookie
@JSON
def balance(home: Path, node: str, cookie: Path, as_json: bool) -> None:
    """What this miner's key owns on the chain.  Rewards can be spent 100 blocks later.

    \b
    gristmill miner balance --home me --cookie node/.cookie
    """
    from chain.bitcoin.text import amount
    from chain.federation.rpc_client import NodeRpc
    from miner.config import load_home
    from miner.purse import address_of, holdings

    key = load_home(home).key.public_key
    found = holdings(key, NodeRpc(node, cookie))
    shown = {
        "address": address_of(key),
        "spendable": str(amount(found.spendable)),
        "immature": str(amount(found.immature)),
        "height": found.height,
    }
    show_pairs(shown, as_json)


@miner.command()
@click.argument("to", metavar="ADDRESS")
@click.argument("value", metavar="AMOUNT")
@_home
@_node
@_cookie
@click.option(
    "--fee-rate",
    type=click.IntRange(1, 10_000),
    default=2,
    show_default=True,
    help="Smallest units per virtual byte; nodes take 1 and more.",
)
@click.option("--dry-run", is_flag=True, help="Make and show the transaction, do not send it.")
@JSON
def send(
    to: str,
    value: str,
    home: Path,
    node: str,
    cookie: Path,
    fee_rate: int,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Pay AMOUNT (such as 12.5, or all) to ADDRESS.

    \b
    gristmill miner send gr1q... 12.5 --home me --cookie node/.cookie
    """
    from chain.bitcoin.text import amount, parse_amount
    from chain.federation.rpc_client import NodeRpc
    from miner import purse
    from miner.config import load_home

    wanted = parse_amount(value)
    key, rpc = load_home(home).key, NodeRpc(node, cookie)
    payment = purse.prepare(key, rpc, to, wanted, fee_rate)
    if not dry_run:
        purse.send(rpc, payment)
    shown: dict[str, Any] = {
        "txid": payment.transaction.txid[::-1].hex(),
        "to": to,
        "amount": str(amount(payment.transaction.outputs[0].value)),
        "fee": str(amount(payment.fee)),
        "change": str(amount(payment.change)),
        "sent": not dry_run,
    }
    if dry_run:
        shown["hex"] = payment.transaction.encode().hex()
    show_pairs(shown, as_json)
