"""`gristmill operator propose`, `accept` and `withdraw`: who the members of the next epoch are."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

import click

from chain.homes import home_option
from chain.output import JSON, show_text

if TYPE_CHECKING:
    from chain.records.federation import MemberRecord

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
HOME = home_option("replica", "The replica's directory.")


def _exchange(
    context: click.Context, parameter: click.Parameter, given: tuple[str, ...]
) -> dict[str, Path]:
    """NAME=FILE, as often as it comes."""
    found = {}
    for one in given:
        name, _, path = one.rpartition("=")
        if not name or not Path(path).is_file():
            raise click.BadParameter(f"{one!r} came; NAME=FILE with a member.bin expected")
        found[name] = Path(path)
    return found


@click.command()
@HOME
@click.option("--add", type=_FILE, multiple=True, help="A new operator's member.bin.")
@click.option("--remove", multiple=True, help="A member, by its operator's name or its index.")
@click.option(
    "--replace",
    "replaced",
    multiple=True,
    callback=_exchange,
    help="NAME=FILE: another member.bin for a member; a lost home, a new key, another address.",
)
@click.option("--refresh", is_flag=True, help="The same members, with fresh key shares.")
@click.option("--reason", default="", help="For the other operators.")
@click.option("--anyway", is_flag=True, help="Also if the epoch would stand still at once.")
@JSON
def propose(
    home: Path,
    add: tuple[Path, ...],
    remove: tuple[str, ...],
    replaced: dict[str, Path],
    refresh: bool,
    reason: str,
    anyway: bool,
    as_json: bool,
) -> None:
    """Propose the next epoch's members; this counts as your approval.

    Say what changes; who is not named stays.  2f + 1 members must accept within 32 cycles.  Then
    all members deal their key shares anew, the federation key stays, and after a checkpoint the
    next epoch begins.  A new member should run beforehand (`operator join`, `operator run`): it
    observes, and takes part in the resharing by itself.

    Ends with status 5 if so few of the new members are ready that the epoch would stand still.

    \b
    gristmill operator propose --home ada --replace dan=new-dan/member.bin \\
        --reason "disk lost"
    """
    from bft.errors import Refused
    from chain.records.federation import MemberRecord
    from coordinator import membership
    from coordinator.config import load_setup, read_record

    if refresh == bool(add or remove or replaced):
        raise click.UsageError("either --refresh, or at least one of --add, --remove, --replace")
    setup = load_setup(home)
    told, _ = asyncio.run(membership.ask(membership.own_url(setup)))
    present = told.decoded()
    coming = membership.next_members(
        present,
        [read_record(path, MemberRecord) for path in add],
        remove,
        {name: read_record(path, MemberRecord) for name, path in replaced.items()},
    )
    missing = asyncio.run(membership.unready(coming, told.log_size))
    found = membership.warnings(present, coming, missing)
    for line in found:
        click.echo(f"warning: {line}", err=True)
    if membership.stands(coming, missing) and not anyway:
        raise Refused("stands-still", "not proposed; --anyway proposes it all the same")
    proposed = membership.proposal(told.epoch + 1, coming, reason)
    asyncio.run(membership.say(setup, present, proposed))
    data = {
        "proposal": proposed.digest.hex(),
        "epoch": proposed.epoch,
        "operators": _names(coming),
        "warnings": list(found),
    }
    lines = [
        f"proposed for epoch {proposed.epoch}: {', '.join(_names(coming))}",
        f"each other operator: gristmill operator accept {proposed.digest.hex()[:16]}",
    ]
    show_text(data, as_json, "\n".join(lines))


@click.command()
@click.argument("proposal", required=False)
@HOME
@JSON
def accept(proposal: str | None, home: Path, as_json: bool) -> None:
    """Accept the PROPOSAL that is open.

    PROPOSAL is its digest, 16 hex digits at least.

    Without PROPOSAL it is only shown.  Compare the digest with the others by another way, and the
    new operators' key with themselves.

    \b
    gristmill operator accept --home bob
    gristmill operator accept 5b0c3f1fd81c2a77 --home bob
    """
    from coordinator import membership
    from coordinator.config import load_setup

    setup = load_setup(home)
    told, _ = asyncio.run(membership.ask(membership.own_url(setup)))
    opened, approve, _ = membership.approval(told.change, proposal)
    shown = membership.shown(told.decoded(), opened)
    if proposal is not None:
        asyncio.run(membership.say(setup, told.decoded(), approve))
    data = {
        "proposal": opened.digest.hex(),
        "accepted": proposal is not None,
        "epoch": opened.epoch,
        "operators": _names(opened.members),
        "changes": list(shown),
    }
    head = "accepted" if proposal is not None else "not accepted yet"
    lines = [f"{head}: proposal {opened.digest.hex()} for epoch {opened.epoch}", *shown]
    show_text(data, as_json, "\n".join(lines))


@click.command()
@click.argument("proposal")
@HOME
@JSON
def withdraw(proposal: str, home: Path, as_json: bool) -> None:
    """Take back your own PROPOSAL, unless 2f + 1 accepted it.

    \b
    gristmill operator withdraw 5b0c3f1fd81c2a77 --home ada
    """
    from coordinator import membership
    from coordinator.config import load_setup

    setup = load_setup(home)
    told, _ = asyncio.run(membership.ask(membership.own_url(setup)))
    opened, _, withdrawal = membership.approval(told.change, proposal)
    asyncio.run(membership.say(setup, told.decoded(), withdrawal))
    data = {"proposal": opened.digest.hex(), "withdrawn": True}
    show_text(data, as_json, f"withdrawn: proposal {opened.digest.hex()}")


def _names(members: "tuple[MemberRecord, ...]") -> list[str]:
    return [member.operator.decode("utf-8", "replace") for member in members]
