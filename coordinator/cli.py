"""`gristmill operator` and `gristmill federation`.

Results go to stdout, trouble is raised as one of our errors; gristmill/cli.py gives it its exit
status.  What a subcommand needs it imports itself, so that `--help` starts at once.
"""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from chain.command_group import InOrder
from chain.homes import home_option
from chain.output import JSON
from coordinator.cli_log import log
from coordinator.cli_members import accept, propose, withdraw
from coordinator.guard.cli import guard
from coordinator.keys.cli import keys

if TYPE_CHECKING:
    from chain.records.federation import Genesis

CONFIG = 3  # exit status of a doctor with findings, see gristmill/exits.py
_DIRECTORY = click.Path(file_okay=False, path_type=Path)
_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
HOME = home_option("replica", "The replica's directory.")
GENESIS = click.option(
    "--genesis", type=_FILE, default=Path("genesis.bin"), show_default=True, help="Trust anchor."
)
URL = click.option(
    "--url", "urls", multiple=True, help="A replica's API instead of the genesis record's."
)


@click.group(cls=InOrder)
def operator() -> None:
    """Run one coordinator replica.

    Begin with `init`, `join`, `doctor` and `run`; docs/OPERATING.md leads through all of it."""


@operator.command()
@HOME
@click.option("--name", required=True, help="Who you are, for people.")
@click.option("--link", required=True, help="host:port at which other replicas reach you.")
@click.option("--api", required=True, help="host:port at which everybody reaches you.")
@click.option(
    "--passphrase-file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Holds the passphrase of the keys, mode 0600; else it is asked for.  Noted in "
    "replica.yaml.",
)
@click.option("--plain-keys", is_flag=True, help="Do not encrypt the keys: for rehearsals.")
@JSON
def init(
    home: Path,
    name: str,
    link: str,
    api: str,
    passphrase_file: Path | None,
    plain_keys: bool,
    as_json: bool,
) -> None:
    """Make keys, settings and the public member record.

    \b
    gristmill operator init --home ada --name ada --link ada.example:7400 \\
        --api ada.example:7401
    """
    from bft.errors import ConfigError
    from coordinator.ceremony import create_identity, note_passphrase_file
    from coordinator.config import Home
    from coordinator.keys.passphrase import new_passphrase

    if plain_keys and passphrase_file is not None:
        raise click.UsageError("--plain-keys and --passphrase-file exclude each other")
    passphrase = None if plain_keys else new_passphrase(passphrase_file)
    if passphrase is None and not plain_keys:
        raise ConfigError(
            "nobody is at the terminal to type a passphrase: --passphrase-file, or --plain-keys "
            "to leave the keys unencrypted"
        )
    member = create_identity(home, name, link, api, passphrase)
    if passphrase_file is not None:
        note_passphrase_file(home, passphrase_file)
    if plain_keys:
        click.echo(f"warning: the keys in {home} are not encrypted", err=True)
    told = {"key": member.key.hex(), "member": str(Home(home).member)}
    _show(told, as_json, f"give {told['member']} to the founder; all else in {home} stays here")


@operator.command()
@HOME
@click.option("--genesis", type=_FILE, required=True, help="From the founder; check its digest.")
@click.option("--model", type=_FILE, required=True, help="The first model, from the founder.")
@JSON
def join(home: Path, genesis: Path, model: Path, as_json: bool) -> None:
    """Put the genesis record and the first model into the home.

    Who is no member yet observes, and joins when the members have accepted it.

    \b
    gristmill operator join --home ada --genesis founded/genesis.bin \\
        --model founded/model.bin
    """
    from chain.records.federation import Genesis
    from coordinator.ceremony import write_genesis
    from coordinator.config import load_setup, read_record

    record = read_record(genesis, Genesis)
    write_genesis(home, record, model.read_bytes())
    index = load_setup(home).index
    told = {"chain_id": record.chain_id.hex(), "replica": index}
    who = f"observer of chain {told['chain_id']}; a member can propose it as a member"
    who = who if index is None else f"replica {index} of chain {told['chain_id']}"
    _show(told, as_json, who)


@operator.command()
@HOME
@click.option("--log-file/--log-stderr", default=False, help="Log to HOME/replica.log.")
def run(home: Path, log_file: bool) -> int:
    """Run the replica until SIGTERM or Ctrl-C.

    Ends with status 0 when it was asked to stop, 1 when disk or consensus forbid to go on and a
    person must look, 3 when home or settings are wrong.

    \b
    gristmill operator run --home ada --log-file
    """
    from coordinator.main import run_replica

    return run_replica(home, log_to_file=log_file)


@operator.command()
@HOME
@JSON
def status(home: Path, as_json: bool) -> None:
    """What this replica says, and how the members stand.

    Ends with status 7 if it does not answer.

    \b
    gristmill operator status --home ada --json
    """
    import asyncio

    from bft.errors import Unavailable
    from coordinator import membership
    from coordinator.ask import statuses
    from coordinator.config import load_setup

    setup = load_setup(home)
    address = setup.config.listen.api or setup.member.api.decode("ascii")
    (told,) = statuses([f"http://{address}"])
    if "error" in told:
        raise Unavailable(str(told["error"]))
    members = asyncio.run(membership.overview(f"http://{address}"))
    lines = [f"{name:16} {value}" for name, value in told.items()]
    told["membership"] = members
    _show(told, as_json, "\n".join([*lines, *membership.described(members)]))


@operator.command()
@HOME
@JSON
def doctor(home: Path, as_json: bool) -> int:
    """Look for what is wrong: files, disk, ports, clock, peers.

    Changes nothing.  Every finding says what to do.  Ends with status 3 if there is one.

    \b
    gristmill operator doctor --home ada
    """
    from coordinator.doctor import examine

    findings = examine(home)
    lines = [f"{'ok ' if one.ok else 'BAD'} {one.name:12} {one.text}" for one in findings]
    advice = {one.kind: one.advice for one in findings if one.advice is not None}
    lines += [f"do  {name:12} {text}" for name, text in advice.items()]
    told = [{**one._asdict(), "advice": one.advice} for one in findings]
    well = all(one.ok for one in findings)
    _show({"findings": told}, as_json, "\n".join(lines), ok=well)
    return 0 if well else CONFIG


operator.add_command(keys)
operator.add_command(log)
operator.add_command(guard)
operator.add_command(propose)
operator.add_command(accept)
operator.add_command(withdraw)


@click.group(cls=InOrder)
def federation() -> None:
    """Found a federation; ask what it does."""


@federation.command()
@click.option("--name", required=True, help="The federation's name.")
@click.option("--member", "members", type=_FILE, multiple=True, help="Each operator's member.bin.")
@click.option(
    "--params",
    type=click.Choice(["main", "minimal", "signet"]),
    help="Constants of the chain.  [default: those of the job's directory, or main]",
)
@click.option(
    "--job",
    default="digits",
    show_default=True,
    help="A directory that `gristmill job create` or `export` wrote, or digits.",
)
@click.option("--output", type=_DIRECTORY, required=True, help="For genesis.bin and model.bin.")
@JSON
def found(
    name: str,
    members: tuple[Path, ...],
    params: str | None,
    job: str,
    output: Path,
    as_json: bool,
) -> None:
    """Make the genesis record from the members' public records.  It holds no secret.

    Writes genesis.bin and model.bin, which every member needs for `gristmill operator join`.

    \b
    gristmill federation found --name mill --member ada/member.bin \\
        --member bob/member.bin --member eve/member.bin --member dan/member.bin \\
        --output founded
    """
    from bft.codec.canonical import encode
    from chain.params import PRESETS
    from chain.records.federation import MemberRecord
    from coordinator.ceremony import make_genesis
    from coordinator.config import read_record
    from miner.training.jobdir import JobDirectory, open_job
    from miner.training.jobs import digits_job

    if job == "digits" and not Path(job).is_dir():
        made = JobDirectory(digits_job()[0], PRESETS["main"], digits_job()[1])
    else:
        made = open_job(Path(job))
    constants = made.params if params is None else PRESETS[params]
    records = [read_record(path, MemberRecord) for path in members]
    genesis = make_genesis(name, records, constants, made.job, made.snapshot)
    output.mkdir(parents=True, exist_ok=True)
    (output / "genesis.bin").write_bytes(encode(genesis))
    (output / "model.bin").write_bytes(made.snapshot)
    told = {"chain_id": genesis.chain_id.hex(), "members": len(records), "output": str(output)}
    _show(told, as_json, f"chain {told['chain_id']} with {len(records)} members, in {output}")


@federation.command()
@GENESIS
@URL
@JSON
def show(genesis: Path, urls: tuple[str, ...], as_json: bool) -> None:
    """Who is in it, and what each replica says about itself.

    Ends with status 7 if nobody answers.

    \b
    gristmill federation show --genesis founded/genesis.bin
    """
    from bft.errors import Unavailable
    from coordinator.ask import statuses, urls_of

    record = _read(genesis)
    told = statuses(urls or urls_of(record.members))
    if all("error" in status for status in told):
        raise Unavailable(f"none of {len(told)} replicas answered; {told[0]['error']}")
    lines = [f"{record.name.decode('utf-8', 'replace')}, chain {record.chain_id.hex()}"]
    lines += [_status_line(status) for status in told]
    _show({"chain_id": record.chain_id.hex(), "replicas": told}, as_json, "\n".join(lines))


@federation.command()
@GENESIS
@URL
@JSON
def cycles(genesis: Path, urls: tuple[str, ...], as_json: bool) -> None:
    """The newest cycles, as f + 1 replicas tell them alike.

    \b
    gristmill federation cycles --genesis founded/genesis.bin
    """
    from coordinator.ask import cycles as ask_cycles
    from coordinator.ask import urls_of

    record = _read(genesis)
    told = ask_cycles(record, urls or urls_of(record.members))
    lines = [_cycle_line(line) for line in told] or ["no cycle yet"]
    _show({"cycles": told}, as_json, "\n".join(lines))


@federation.command()
@click.argument("cycle", type=click.IntRange(min=1))
@GENESIS
@URL
@JSON
def certificate(cycle: int, genesis: Path, urls: tuple[str, ...], as_json: bool) -> None:
    """Verify and show the certificate of CYCLE.

    Ends with status 4 if there is none yet, 6 if one came that does not verify.

    \b
    gristmill federation certificate 7 --genesis founded/genesis.bin
    """
    from coordinator.ask import certificate as ask_certificate
    from coordinator.ask import urls_of

    record = _read(genesis)
    told = ask_certificate(record, urls or urls_of(record.members), cycle)
    if told is None:
        raise FileNotFoundError(2, "no certificate yet", f"cycle {cycle}")
    _show(told, as_json, "\n".join(f"{name:18} {value}" for name, value in told.items()))


def _read(path: Path) -> "Genesis":
    from chain.records.federation import Genesis
    from coordinator.config import read_record

    return read_record(path, Genesis)


def _status_line(status: dict[str, Any]) -> str:
    if "error" in status:
        return f"{status['url']}: {status['error']}"
    return (
        f"replica {status['replica']} ({status['operator']}): cycle {status['cycle']} "
        f"{status['phase']}, view {status['view']}, height {status['height']}, "
        f"{status['log_size']} log entries, peers {status['peers_up']}"
    )


def _cycle_line(line: dict[str, Any]) -> str:
    if line["loss"] is None:
        return f"cycle {line['cycle']}: {line['closed']}"
    accuracy = line["correct"] / line["records"]
    height = "" if line["height"] is None else f"height {line['height']}, "
    return (
        f"cycle {line['cycle']}: loss {line['loss'] / 1_000_000:.4f}, accuracy {accuracy:.1%}, "
        f"winner {line['winner'][:16]}, {height}{line['closed'] or 'open'}"
    )


def _show(data: dict[str, Any], as_json: bool, text: str, *, ok: bool = True) -> None:
    click.echo(json.dumps({"ok": ok, "data": data}) if as_json else text)
