"""`gristmill monitor`: what the replicas do, on a terminal, as text or as JSON."""

import asyncio
import json
import sys

import aiohttp
import click
import msgspec

from bft.errors import ConfigError, Unavailable
from chain.monitor.ask import Asker
from chain.monitor.watch import Look, margin, phase_text, plain

SECONDS_MIN, SECONDS_MAX = 0.5, 3600.0


@click.command(
    epilog="Example: gristmill monitor --url http://127.0.0.1:7401 --url http://127.0.0.1:7411"
)
@click.option(
    "--url",
    "urls",
    multiple=True,
    default=("http://127.0.0.1:7401",),
    show_default=True,
    help="A replica's API; may be given several times.",
)
@click.option(
    "--every",
    "every_s",
    type=click.FloatRange(SECONDS_MIN, SECONDS_MAX),
    default=2.0,
    show_default=True,
    help="Seconds between two looks.",
)
@click.option("--once", is_flag=True, help="One look as text, as always without a terminal.")
@click.option("--json", "as_json", is_flag=True, help="One look as a JSON object.")
def monitor(urls: tuple[str, ...], every_s: float, *, once: bool, as_json: bool) -> None:
    """Watch replicas: phase, views, heights, who is behind, scores of the last cycle.

    On a terminal it goes on until q; r looks at once, arrows and Tab move.  Needs the extra
    `monitor` (textual) for that; text and JSON need nothing.
    """
    if once or as_json or not sys.stdout.isatty():
        look = asyncio.run(_once(urls, as_json=as_json))
        if look.best is None:
            raise Unavailable("no replica answers")
        return
    asyncio.run(_watch(urls, every_s))


async def _once(urls: tuple[str, ...], *, as_json: bool) -> Look:
    async with aiohttp.ClientSession() as session:
        asker = Asker(session, urls)
        look = await asker.look()
    if look.best is None and as_json:
        return look
    phase = phase_text(look, asker.params, 0)
    if as_json:
        click.echo(json.dumps(_document(look, phase)))
    else:
        click.echo("\n".join(plain(look, phase)))
    return look


def _document(look: Look, phase: str) -> dict[str, object]:
    return {
        "ok": True,
        "phase": phase,
        "margin": margin(look),
        "replicas": [
            {"url": seen.url, "status": msgspec.to_builtins(seen.status), "error": seen.error}
            for seen in look.replicas
        ],
        "cycles": msgspec.to_builtins(look.cycles),
        "scored_cycle": look.scored_cycle,
        "scores": msgspec.to_builtins(look.scores),
    }


async def _watch(urls: tuple[str, ...], every_s: float) -> None:
    try:
        from chain.monitor.screen import Monitor
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"{error.name} is not installed: pip install 'gristmill[monitor]', or use --once"
        ) from None
    async with aiohttp.ClientSession() as session:
        await Monitor(Asker(session, urls), every_s).run_async()
