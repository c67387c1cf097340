"""`gristmill model`: the trained model as files for plain PyTorch, and how it became better."""

import asyncio
from pathlib import Path
from typing import Any, NamedTuple

import click

from bft.crypto.hashing import sha256
from bft.errors import ConfigError, Unavailable
from chain.federation.client import SNAPSHOT_BYTES_MAX, FederationClient
from chain.output import JSON, show_pairs
from chain.records.federation import GENESIS_BYTES_MAX, Genesis
from chain.rules.founding import open_genesis
from miner.training.data import load
from miner.training.export import export_model
from miner.training.history import as_csv, as_svg, read_history
from miner.training.history import as_json as history_json

CYCLES_BACK_MAX = 16
"""So many cycles are asked for the newest certificate; one without tickets has none."""

_file = click.Path(exists=True, dir_okay=False, path_type=Path)


class Fetched(NamedTuple):
    """A snapshot, and how it is known."""

    snapshot: bytes
    told: dict[str, Any]


@click.group()
def model() -> None:
    """Take the trained model home."""


@model.command()
@click.option("--genesis", type=_file, required=True, help="The genesis record that you trust.")
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    required=True,
    help="The directory to write; must be new or empty.",
)
@click.option(
    "--cycle", type=click.IntRange(min=1), help="The model after CYCLE.  [default: newest]"
)
@click.option(
    "--federation",
    "urls",
    multiple=True,
    metavar="URL",
    help="A replica's address; repeat it.  Left out: those of the genesis record.",
)
@click.option("--snapshot", type=_file, help="A snapshot on disk instead of the federation's.")
@JSON
def export(
    genesis: Path,
    out: Path,
    cycle: int | None,
    urls: tuple[str, ...],
    snapshot: Path | None,
    as_json: bool,
) -> None:
    """Write a model for plain PyTorch.

    The snapshot's digest stands in the cycle's certificate, which is verified under the
    federation's key.  OUT gets model.safetensors (float32), config.json and model.py; in OUT:

    \b
        from model import load
        model = load(".")
        logits = model(inputs)

    \b
    gristmill model export --genesis genesis.bin --out model
    """
    record = open_genesis(_bytes(genesis, GENESIS_BYTES_MAX), str(genesis))
    if snapshot is not None:
        found = Fetched(_bytes(snapshot, SNAPSHOT_BYTES_MAX), {})
    else:
        found = asyncio.run(_fetch(record, urls, cycle))
    told = {"chain_id": record.chain_id.hex(), **found.told}
    config = export_model(record.job, found.snapshot, out, told, _scale_shift(record))
    show_pairs({"out": str(out), **config}, as_json)


@model.command()
@click.argument("archive", type=_file)
@click.option(
    "--format",
    "form",
    type=click.Choice(["csv", "json", "svg"]),
    default="csv",
    help="svg draws the loss.",
    show_default=True,
)
@click.option(
    "--out", type=click.Path(dir_okay=False, path_type=Path), help="A file.  [default: stdout]"
)
def history(archive: Path, form: str, out: Path | None) -> None:
    """Show held-out loss and accuracy of every cycle in ARCHIVE.

    ARCHIVE is a log that `gristmill audit --save` wrote.  It is read, not audited.

    \b
    gristmill model history score-log.grist --format svg --out loss.svg
    """
    text = {"csv": as_csv, "json": history_json, "svg": as_svg}[form](read_history(archive))
    if out is None:
        click.echo(text, nl=False)
    else:
        out.write_text(text, encoding="utf-8")


async def _fetch(genesis: Genesis, urls: tuple[str, ...], cycle: int | None) -> Fetched:
    """A certified snapshot.  Raises Unavailable: no certificate, or too few replicas answered."""
    async with FederationClient(genesis, urls) as client:
        newest = (await client.position()).cycle if cycle is None else cycle
        oldest = max(1, newest - CYCLES_BACK_MAX) if cycle is None else cycle
        for number in range(newest, oldest - 1, -1):
            found = await client.certificate(number)
            if found is not None:
                certificate, _ = found
                data = await client.blob(certificate.model_snapshot)
                assert sha256(data) == certificate.model_snapshot
                return Fetched(data, {"cycle": number, "height": certificate.height})
    raise Unavailable(f"no certificate of cycles {oldest} to {newest}")


def _scale_shift(genesis: Genesis) -> int | None:
    """Of the job's data set, if it is here."""
    try:
        return load(genesis.job).scale_shift
    except ConfigError:
        return None


def _bytes(path: Path, bytes_max: int) -> bytes:
    with path.open("rb") as file:
        data = file.read(bytes_max + 1)
    if len(data) > bytes_max:
        raise ConfigError(f"{path} is longer than {bytes_max} bytes")
    return data
