"""`gristmill energy`: asks replicas, sums up, prints a table, JSON or a picture."""

import asyncio
import json
from pathlib import Path
from typing import Any

import aiohttp
import click
from rich.console import Console
from rich.table import Table

from bft.errors import Unavailable
from chain.energy.plot import plot
from chain.energy.report import MILLI, CycleEnergy, sum_up
from chain.federation import api
from chain.federation.asking import ask_json
from chain.output import JSON

LAST_MAX = 256
ROWS_SHOWN = 20


@click.command(epilog="Example: gristmill energy --url http://127.0.0.1:7401 --plot energy.svg")
@click.option(
    "--url",
    "urls",
    multiple=True,
    default=("http://127.0.0.1:7401",),
    show_default=True,
    help="A replica's API; the first tells about miners, each about itself.",
)
@click.option(
    "--last", type=click.IntRange(1, LAST_MAX), default=50, show_default=True, help="Cycles."
)
@click.option("--plot", "picture", type=click.Path(path_type=Path), help="Writes an SVG there.")
@JSON
def energy(urls: tuple[str, ...], last: int, picture: Path | None, *, as_json: bool) -> None:
    """Joules per block and per unit of loss reduction, beside Bitcoin's per block.

    Sums what miners' kernels claim and what the replicas asked say of themselves.  Measured where
    counters can be read (RAPL), else CPU time times an assumed power, and said to be.  Nothing of
    it counts for scores.
    """
    cycles, before = asyncio.run(gather([url.rstrip("/") for url in urls], last))
    told = sum_up(cycles, before)
    if picture is not None:
        picture.write_text(plot(cycles, told), encoding="utf-8")
    if as_json:
        lines = [{**_row(each), "joules": each.total_mj / MILLI} for each in cycles]
        click.echo(json.dumps({"ok": True, **told, "by_cycle": lines}))
    else:
        show(cycles, told, len(urls))
        if picture is not None:
            click.echo(f"The picture is in {picture}.")


async def gather(urls: list[str], last: int) -> tuple[list[CycleEnergy], int | None]:
    """(what each of the newest cycles used, the loss before the first of them).

    Raises:
        Unavailable: a replica does not answer.
    """
    async with aiohttp.ClientSession() as session:
        status = await ask_json(session, urls[0] + api.STATUS)
        first = max(1, int(status["cycle"]) - last)
        overview = await ask_json(session, f"{urls[0]}{api.CYCLES}?from={max(1, first - 1)}")
        own = await asyncio.gather(*(_own(session, url) for url in urls))
        lines = [line for line in overview or () if line["cycle"] >= first]
        used = [
            await ask_json(session, urls[0] + api.RESOURCES.format(cycle=line["cycle"]))
            for line in lines
        ]
    earlier = [line["loss"] for line in overview or () if line["cycle"] < first]
    cycles = [_cycle(line, told, own) for line, told in zip(lines, used, strict=True)]
    return cycles, earlier[-1] if earlier else None


async def _own(session: aiohttp.ClientSession, url: str) -> dict[int, dict[str, Any]]:
    """What a replica used itself, by cycle."""
    told = await ask_json(session, url + api.ENERGY)
    if told is None:
        raise Unavailable(f"{url} does not measure its energy: an older release")
    return {int(line["cycle"]): line for line in told["cycles"]}


def _cycle(
    line: dict[str, Any], used: dict[str, Any] | None, own: list[dict[int, dict[str, Any]]]
) -> CycleEnergy:
    here = [told[line["cycle"]] for told in own if line["cycle"] in told]
    training = used or {"energy_mj": 0, "energy_estimated_mj": 0}
    return CycleEnergy(
        cycle=line["cycle"],
        training_mj=training["energy_mj"],
        replicas_mj=sum(each["energy_mj"] for each in here),
        replicas_told=len(here),
        estimated_mj=training["energy_estimated_mj"]
        + sum(each["energy_mj"] for each in here if each["estimated"]),
        loss=line["loss"],
        height=line["height"],
    )


def _row(each: CycleEnergy) -> dict[str, Any]:
    return {
        "cycle": each.cycle,
        "height": each.height,
        "training_joules": each.training_mj / MILLI,
        "replicas_joules": each.replicas_mj / MILLI,
        "replicas_told": each.replicas_told,
        "loss_micronats": each.loss,
    }


def show(cycles: list[CycleEnergy], told: dict[str, Any], asked: int) -> None:
    """For people."""
    table = Table(box=None, header_style="bold")
    for name in ("cycle", "block", "training J", "replicas J", "loss, nats"):
        table.add_column(name, justify="right")
    for each in cycles[-ROWS_SHOWN:]:
        table.add_row(
            str(each.cycle),
            "-" if each.height is None else str(each.height),
            f"{each.training_mj / MILLI:.1f}",
            f"{each.replicas_mj / MILLI:.1f}" if each.replicas_told else "not told",
            "-" if each.loss is None else f"{each.loss / 1_000_000:.4f}",
        )
    Console().print(table)
    bitcoin = told["bitcoin"]
    click.echo(
        f"\n{told['joules']:.1f} J in {told['cycles']} cycles and {told['blocks']} blocks, "
        f"miners and {told['replicas_told']} of {asked} replicas asked; "
        f"{100 * told['estimated_part']:.0f} % is CPU time times an assumed power."
    )
    click.echo(f"per block:                {_joules(told['joules_per_block'])}")
    click.echo(f"per nat of loss removed:  {_joules(told['joules_per_nat'])}")
    click.echo(f"per block of Bitcoin's:   {_joules(bitcoin['joules_per_block'])}")
    click.echo(f"  {bitcoin['arithmetic']}\n  {bitcoin['source']}")


def _joules(value: float | None) -> str:
    return "not known" if value is None else f"{value:.3g} J"
