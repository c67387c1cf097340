"""`gristmill operator guard`: what this key has signed, and how that memory moves with it."""

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from chain.command_group import InOrder
from chain.homes import home_option
from chain.output import JSON

if TYPE_CHECKING:
    from coordinator.guard.rules import Reservation

REFUSALS_SHOWN = 5

_HOME = home_option("replica", "The replica's directory.")
_COUNT = click.IntRange(min=0, max=(1 << 63) - 1)


@click.group(cls=InOrder)
def guard() -> None:
    """Never sign twice: bounds of what the keys have signed.

    A key whose memory is not there signs nothing.  Moving a replica: stop it, move the whole home,
    never start the old one again.  Moving only its keys: `export --close` here, `import` there.
    Exit status 3 says that files do not fit, 5 that the guard is closed.
    """


@guard.command()
@_HOME
@JSON
def status(home: Path, as_json: bool) -> int:
    """Bounds, refusals, and whether it is closed.  Also beside a running replica.

    Ends with status 5 if it is closed.

    \b
    gristmill operator guard status --home ada
    """
    from coordinator.guard.store import peek

    seen = peek(*_place(home))
    count, newest = seen.refusals
    told: dict[str, Any] = {
        "holder": seen.id,
        "raised": seen.reservation.number,
        "bounds": _plain(seen.reservation),
        "inherited": _plain(seen.inherited),
        "closed": seen.closed,
        "refused": count,
        "newest_refusals": [one._asdict() for one in newest[:REFUSALS_SHOWN]],
    }
    lines = [f"raised {seen.reservation.number} times; {count} signatures refused"]
    lines += [f"  {name:12} {bound}" for name, bound in told["bounds"].items()]
    lines += [f"inherited: {name} {bound}" for name, bound in told["inherited"].items()]
    lines += [f"refused: {_when(one.at_ms)} {one.text}" for one in newest[:REFUSALS_SHOWN]]
    if seen.closed is not None:
        lines.append(f"CLOSED: {seen.closed}")
    _show(told, as_json, "\n".join(lines), ok=seen.closed is None)
    return 0 if seen.closed is None else 5


@guard.command(name="export")
@_HOME
@click.option(
    "--output", type=click.Path(dir_okay=False, path_type=Path), required=True, help="A new file."
)
@click.option("--close", is_flag=True, help="Let nothing be signed here any more: the key moves.")
@JSON
def export_(home: Path, output: Path, close: bool, as_json: bool) -> None:
    """Write the bounds as JSON (modelled on EIP-3076).  The replica must be stopped.

    \b
    gristmill operator guard export --home ada --close --output guard.json
    """
    from bft.errors import ConfigError
    from chain.durable import write_whole
    from coordinator.guard.moving import tight_bounds
    from coordinator.guard.store import SqliteGuard
    from coordinator.guard.text import write_memory

    if output.exists():
        raise ConfigError(f"{output} exists; an export is never overwritten")
    path, public_key = _place(home)
    opened = SqliteGuard(path, public_key)
    try:
        bounds = tight_bounds(opened, home)
        write_whole(output, write_memory(public_key, bounds) + b"\n", 0o644)
        if close:
            opened.shut(f"exported to {output.name}, to sign elsewhere")
    finally:
        opened.close()
    after = "nothing is signed here any more" if close else "this home still signs: use --close"
    told = {"output": str(output), "closed": close, "bounds": _plain(bounds)}
    _show(told, as_json, f"bounds of {len(bounds.bounds)} domains in {output}; {after}")


@guard.command(name="import")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@_HOME
@JSON
def import_(file: Path, home: Path, as_json: bool) -> None:
    """Take over the bounds of an export.

    Nothing within them is signed here.

    \b
    gristmill operator guard import guard.json --home new-ada
    """
    from coordinator.guard.moving import inherit
    from coordinator.guard.text import TEXT_BYTES_MAX, read_memory

    path, public_key = _place(home)
    with file.open("rb") as opened:
        bounds = read_memory(opened.read(TEXT_BYTES_MAX + 1), public_key, str(file))
    inherit(path, public_key, bounds)
    _show({"inherited": _plain(bounds)}, as_json, f"{path}: signs beyond these bounds only")


@guard.command()
@_HOME
@JSON
def standby(home: Path, as_json: bool) -> None:
    """Make the guard of another process with this key.

    Both need `standby:` in replica.yaml.

    It signs nothing before etcd has told it what the others may have signed.

    \b
    gristmill operator guard standby --home standby-ada
    """
    from bft.errors import ConfigError
    from coordinator.config import Home, load_config
    from coordinator.guard.moving import make_second

    path, public_key = _place(home)
    if load_config(Home(home).config).standby is None:
        raise ConfigError(f"{Home(home).config} has no `standby:`; without it two would sign")
    make_second(path, public_key)
    _show({"guard": str(path)}, as_json, f"{path}: signs only what etcd says nobody else did")


@guard.command()
@_HOME
@click.option("--sequence", type=_COUNT, required=True, help="Highest batch it may have voted on.")
@click.option("--view", type=_COUNT, required=True, help="Highest view of this epoch.")
@click.option("--cycle", type=_COUNT, required=True, help="Highest cycle.")
@click.option("--epoch", type=_COUNT, required=True, help="The federation's present epoch.")
@click.option("--yes-i-stopped-the-other", is_flag=True, help="No other process has this key.")
@JSON
def reset(
    home: Path,
    sequence: int,
    view: int,
    cycle: int,
    epoch: int,
    yes_i_stopped_the_other: bool,
    as_json: bool,
) -> None:
    """A new memory, when the old one is lost.

    YOU say what may have been signed.

    Take the numbers from `gristmill federation show` after every other process with this key has
    been stopped for good, and add some: everything up to them is left alone.  Too low a number
    makes the replica contradict itself, and others will hold the proof.

    \b
    gristmill operator guard reset --home new-ada --sequence 9000 --view 40 \\
        --cycle 500 --epoch 0 --yes-i-stopped-the-other
    """
    from coordinator.guard.moving import everything_through, inherit, set_aside

    if not yes_i_stopped_the_other:
        raise click.UsageError(
            "two processes with one key convict their operator: --yes-i-stopped-the-other"
        )
    path, public_key = _place(home)
    aside = set_aside(path, public_key)
    bounds = everything_through(sequence, view, cycle, epoch)
    inherit(path, public_key, bounds)
    told = {"inherited": _plain(bounds), "set_aside": None if aside is None else str(aside)}
    _show(told, as_json, f"{path}: signs beyond sequence {sequence} and cycle {cycle} only")


def _place(home: Path) -> tuple[Path, bytes]:
    """Guard file and public key of a home; no secret is read."""
    from chain.records.federation import MemberRecord
    from coordinator.config import Home, load_config, read_record

    paths = Home(home)
    return home / load_config(paths.config).guard.path, read_record(paths.member, MemberRecord).key


def _plain(reservation: "Reservation") -> dict[str, str]:
    return {
        domain.name: f"through slot {bound.slot}, rank {bound.rank[0]}.{bound.rank[1]}"
        for domain, bound in sorted(reservation.bounds.items())
    }


def _when(at_ms: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at_ms / 1_000))


def _show(data: dict[str, Any], as_json: bool, text: str, *, ok: bool = True) -> None:
    click.echo(json.dumps({"ok": ok, "data": data}) if as_json else text)
