"""`gristmill audit`: replay a score log from replicas, mirrors or a file; say what does not follow.

Edge: reads, calls the auditor, prints.  No torch, no server.
"""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from bft.errors import ConfigError, DecodeError, Refused
from chain.audit import report_files
from chain.audit.artifacts import reader
from chain.audit.run import Options, Result, run
from chain.rules.founding import open_genesis

PASSED = 0
FAILED = 6  # VERIFICATION_FAILED of gristmill/exits.py, which lists all


class DefaultGroup(click.Group):
    """`audit explain ...` and the like; everything else is `audit replay ...`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """With the default command put in where none is named."""
        if not args or args[0] not in self.commands:
            args = ["replay", *args]
        return super().parse_args(ctx, args)


@click.group(cls=DefaultGroup)
def audit() -> None:
    """Replay the score log and name what does not follow."""


def log_options(command: Any) -> Any:
    """Where the log comes from, and what is trusted."""
    for option in (
        click.option("--chain-id", metavar="HEX", help="Refuse any other chain."),
        click.option(
            "--genesis",
            "genesis_path",
            type=click.Path(path_type=Path),
            metavar="FILE",
            help="The genesis record that you trust.  [default: the one that came with the log]",
        ),
        click.option(
            "--state",
            type=click.Path(file_okay=False, path_type=Path),
            metavar="DIR",
            help="Keep the log and what was seen here; the next audit goes on from it.",
        ),
        click.option(
            "--from-scratch", is_flag=True, help="Replay what earlier audits have replayed, too."
        ),
        click.option(
            "--no-archive",
            is_flag=True,
            help="Keep in --state what the next audit needs, and not the log.",
        ),
        click.option(
            "--from",
            "urls",
            multiple=True,
            metavar="URL",
            help="A replica or a mirror; give several to compare their copies.",
        ),
        click.argument("path", required=False, type=click.Path(path_type=Path)),
    ):
        command = option(command)
    return command


def options_of(
    path: Path | None,
    urls: Sequence[str],
    state: Path | None,
    genesis_path: Path | None,
    chain_id: str | None,
    from_scratch: bool,
    no_archive: bool,
    **more: Any,
) -> Options:
    """Raises UsageError, ConfigError."""
    if bool(path) == bool(urls):
        what = "both came" if path else "neither came"
        raise click.UsageError(f"give either PATH or --from URL; {what}")
    if chain_id is not None and not re.fullmatch("[0-9a-fA-F]{64}", chain_id):
        raise click.UsageError(f"--chain-id {chain_id[:80]!r}: 64 hex digits are expected")
    if no_archive and state is None:
        raise click.UsageError("--no-archive is about --state DIR")
    trusted = None
    if genesis_path is not None:
        trusted = genesis_path.read_bytes()
        open_genesis(trusted, f"--genesis {genesis_path}")
    return Options(
        path=path,
        urls=urls,
        state=state,
        archive=not no_archive,
        from_scratch=from_scratch,
        trusted=trusted,
        chain_id=chain_id,
        **more,
    )


@audit.command(
    epilog="There is more: `gristmill audit explain`, `check` and `policy`, each with --help."
)
@log_options
@click.option(
    "--save", type=click.Path(path_type=Path), metavar="FILE", help="Keep the log as an archive."
)
@click.option(
    "--max-age",
    type=int,
    metavar="SECONDS",
    help="Fail if the checkpoint is older.",
)
@click.option(
    "--html", type=click.Path(path_type=Path), metavar="FILE", help="Write a report for people."
)
@click.option(
    "--evidence",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Write what proves each accusation, for `audit check`.",
)
@click.option(
    "--headers",
    multiple=True,
    metavar="URL",
    help="A node or a replica: hold the blocks of its chain against the log.",
)
@click.option("--json", "as_json", is_flag=True, help="The whole report as JSON.")
def replay(
    save: Path | None,
    max_age: int | None,
    html: Path | None,
    evidence: Path | None,
    headers: tuple[str, ...],
    as_json: bool,
    **where: Any,
) -> int:
    """Replay the score log and name what does not follow.

    The log comes from PATH, an archive that --save wrote or a directory of the log's files, or from
    replicas and mirrors (--from).  Nothing in it is trusted: signatures, quorum proofs, scores,
    draws and certificates are checked, everything derived is recomputed.  Ends with status 0 if all
    of it follows, 6 if anything does not.

    \b
    gristmill audit --from http://replica:7401 --state my-audit --html report.html
    gristmill audit score-log.grist --chain-id HEX
    """
    detailed = html is not None or as_json
    if html is not None:
        report_files.check_place(html)
    options = options_of(
        **where,
        save=save,
        max_age_s=max_age,
        details=detailed,
        evidence=evidence,
        headers=headers,
        quiet=as_json,
    )
    with run(options) as result:
        _print(result, as_json)
        pinned = options.trusted is not None or options.chain_id is not None
        if html is not None:
            report_files.write_html(html, result, pinned=pinned)
            click.echo(f"the report for people is {html}", err=True)
        if not pinned:
            text = "note: the genesis record came with the log; pin it by --chain-id or --genesis"
            click.echo(text, err=True)
        return PASSED if result.report.passed else FAILED


def _print(result: Result, as_json: bool) -> None:
    if as_json:
        for part in report_files.json_parts(result):
            click.echo(part, nl=False)
        click.echo()
        return
    for copy in result.others:
        click.echo(copy.line())
    for noted in result.notes:
        click.echo(noted.line())
    for compared in result.chains:
        click.echo(compared.line())
    for line in result.report.lines(result.cycles()):
        click.echo(line)


def _say(lines: Sequence[str], told: dict[str, Any], as_json: bool, *, ok: bool) -> None:
    """Lines for people, or one object."""
    if as_json:
        click.echo(json.dumps({"ok": ok, "data": told}))
        return
    for line in lines:
        click.echo(line)


@audit.command()
@click.argument("miner")
@log_options
@click.option("--cycle", type=click.IntRange(min=1), required=True, help="In which cycle.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def explain(miner: str, cycle: int, as_json: bool, **where: Any) -> int:
    """Show how the score of MINER in one cycle came about.

    MINER is the beginning of an identity key in hex.  The log is replayed up to that cycle, so what
    is shown has been checked.

    \b
    gristmill audit explain 02dee09d15ea --cycle 2 score-log.grist
    """
    options = options_of(**where, details=True, quiet=True, cycle=cycle)
    with run(options) as result:
        if not result.report.passed:
            click.echo(result.report.broken[0].line(), err=True)
            return FAILED
        summary = next((each for each in result.cycles() if each.cycle == cycle), None)
        if summary is None or result.explainer is None:
            raise ConfigError(f"the log does not reach cycle {cycle}")
        story = result.explainer.story(miner, summary, result.replicas)
        if as_json:
            click.echo(json.dumps({"ok": True, "data": story.to_json()}))
        else:
            for line in story.lines():
                click.echo(line)
    return PASSED


@audit.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option("--federation-key", metavar="HEX", help="The key that you trust.  [default: its own]")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def check(bundle: Path, federation_key: str | None, as_json: bool) -> int:
    """Check BUNDLE, the evidence of one accusation, alone.

    No log, no network.

    Ends with status 0 if it proves what it says, 6 if not.

    \b
    gristmill audit check evidence/evaluation-entry-45-replica-3.grist
    """
    from chain.audit.evidence import EVIDENCE_BYTES_MAX, check_evidence, open_evidence

    pinned = None
    if federation_key is not None:
        if not re.fullmatch("[0-9a-fA-F]{192}", federation_key):
            text = f"--federation-key {federation_key[:80]!r}: 192 hex digits are expected"
            raise click.UsageError(text)
        pinned = bytes.fromhex(federation_key)
    with bundle.open("rb") as file:
        data = file.read(EVIDENCE_BYTES_MAX + 1)
    try:
        evidence = open_evidence(data)
        lines = check_evidence(evidence, pinned)
    except (Refused, DecodeError) as error:
        nothing = [f"it proves nothing: {error}"]
        _say(nothing, {"proven": False, "lines": nothing}, as_json, ok=False)
        return FAILED
    _say(lines, {"proven": True, "lines": list(lines)}, as_json, ok=True)
    if pinned is None:
        click.echo("note: nothing was pinned; compare the chain, or say --federation-key", err=True)
    return PASSED


@audit.command()
@log_options
@click.option("--json", "as_json", is_flag=True, help="As JSON: the report, and the models.")
@click.option(
    "--artifacts",
    "directories",
    multiple=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    metavar="DIR",
    help="Models and updates by digest, as in a replica's `blobs`; --from is asked as well.",
)
def models(directories: tuple[Path, ...], as_json: bool, **where: Any) -> int:
    """Replay the log, and make every agreed model once more.

    Replicas keep updates of the newest cycles only; how many models could be made is told.  Needs
    numpy.  Ends with status 0 if all of it follows, 6 if anything does not.

    \b
    gristmill audit models score-log.grist --artifacts ada/blobs
    """
    from chain.audit.models import ModelCheck  # brings numpy

    check = ModelCheck(reader(directories, where["urls"]))
    with run(options_of(**where, check_models=check)) as result:
        passed = result.report.passed
        if as_json:
            lines = [*result.report.lines(result.cycles()), check.line()]
            click.echo(json.dumps({"ok": passed, "data": {"passed": passed, "lines": lines}}))
        else:
            _print(result, as_json=False)
            click.echo(check.line())
        return PASSED if passed else FAILED


@audit.command()
@log_options
def policy(**where: Any) -> int:
    """Print the federation's tlog-policy for other programs.

    It follows from the genesis record, the epochs in the log, and each replica's signed statement
    of its log keys.  Keep it apart from the log.

    \b
    gristmill audit policy --from http://replica:7401 >policy.txt
    """
    with run(options_of(**where, quiet=True)) as result:
        if not result.report.passed:
            click.echo(result.report.broken[0].line(), err=True)
            return FAILED
        if result.policy is None:
            raise ConfigError("this copy of the log says nothing about its cosigners' keys")
        click.echo(result.policy, nl=False)
    return PASSED
