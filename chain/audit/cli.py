"""`gristmill audit`: replay a score log from replicas or from a file, and say what does not follow.

Edge: reads, calls the auditor, prints.  No torch, no server.
"""

import json
import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click

from bft.errors import ConfigError, Unavailable
from chain.audit.archive import open_archive, saved, start_archive
from chain.audit.fetch import ReplicaLog
from chain.audit.findings import AuditReport
from chain.audit.replay import Auditor
from chain.audit.split import Copy, SideBySide
from chain.rules.founding import open_genesis

PASSED = 0
FAILED = 6  # VERIFICATION_FAILED of gristmill/exits.py, which lists all
PROGRESS_EVERY = 500  # entries


@click.command()
@click.argument("path", required=False, type=click.Path(path_type=Path))
@click.option(
    "--from",
    "urls",
    multiple=True,
    metavar="URL",
    help="A replica's address; give several to compare their copies.",
)
@click.option(
    "--genesis",
    "genesis_path",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="The genesis record that you trust.  [default: the one that came with the log]",
)
@click.option("--chain-id", metavar="HEX", help="Refuse any other chain.")
@click.option(
    "--save", type=click.Path(path_type=Path), metavar="FILE", help="Keep the log as an archive."
)
@click.option("--json", "as_json", is_flag=True, help="The whole report as JSON.")
def audit(
    path: Path | None,
    urls: tuple[str, ...],
    genesis_path: Path | None,
    chain_id: str | None,
    save: Path | None,
    as_json: bool,
) -> int:
    """Replay the score log and name what does not follow.

    The log comes from PATH, an archive that --save wrote, or from replicas (--from).  Nothing in it
    is trusted: signatures, quorum proofs, scores, draws and certificates are checked, everything
    derived is recomputed.  Ends with status 0 if all of it follows, 6 if anything does not.
    """
    if bool(path) == bool(urls):
        raise click.UsageError("give either PATH or --from URL, and not both")
    trusted = _read(genesis_path) if genesis_path is not None else None
    with ExitStack() as stack:
        if path is not None:
            file = stack.enter_context(path.open("rb"))
            genesis, entries = open_archive(file)
            others: list[Copy] = []
            split = None
        else:
            genesis, split = _open_replicas(urls)
            entries, others = iter(split), split.others
        genesis = _chosen(genesis, trusted, chain_id)
        if save is not None:
            entries = stack.enter_context(_Saving(save, genesis)).through(entries)
        report = _replay(genesis, entries, quiet=as_json)
    if split is not None:
        report = report.with_breaks(split.findings)
    _print(report, others, as_json)
    if trusted is None and chain_id is None:
        text = "note: the genesis record came with the log; pin it by --chain-id or --genesis"
        click.echo(text, err=True)
    return PASSED if report.passed else FAILED


def _open_replicas(urls: tuple[str, ...]) -> tuple[bytes, SideBySide]:
    """The genesis record and the copies of all replicas that answer.

    Raises:
        Unavailable: none does.
        ConfigError: two of them are on different chains.
    """
    records: dict[str, bytes] = {}
    logs: dict[str, Iterator[bytes]] = {}
    for url in dict.fromkeys(urls):
        log = ReplicaLog(url)
        try:
            records[log.url] = log.genesis()
        except Unavailable as error:
            click.echo(f"note: not compared: {error}", err=True)
            continue
        logs[log.url] = log.entries()
    if not records:
        raise Unavailable(f"none of {len(urls)} replicas answers")
    first = next(iter(records))
    for url, record in records.items():
        if record != records[first]:
            raise ConfigError(f"{first} and {url} serve different genesis records")
    return records[first], SideBySide(first, logs)


def _chosen(served: bytes, trusted: bytes | None, chain_id: str | None) -> bytes:
    """The genesis record to audit by.  Raises ConfigError: the log is not of the chain wanted."""
    if trusted is not None and trusted != served:
        ours, theirs = open_genesis(trusted).chain_id, open_genesis(served).chain_id
        raise ConfigError(f"the log is of chain {theirs.hex()}; --genesis is of {ours.hex()}")
    found = open_genesis(served).chain_id.hex()
    if chain_id is not None and chain_id.lower() != found:
        raise ConfigError(f"the log is of chain {found}; --chain-id is {chain_id.lower()}")
    return served


def _replay(genesis: bytes, entries: Iterator[bytes], *, quiet: bool) -> AuditReport:
    auditor = Auditor(genesis)
    told = sys.stderr.isatty() and not quiet
    count = 0
    for count, entry in enumerate(entries, 1):
        auditor.take(entry)
        if told and count % PROGRESS_EVERY == 0:
            click.echo(f"\r{count} entries", nl=False, err=True)
    if told and count >= PROGRESS_EVERY:
        click.echo("\r\x1b[K", nl=False, err=True)
    return auditor.report()


def _print(report: AuditReport, others: list[Copy], as_json: bool) -> None:
    if as_json:
        copies: list[dict[str, Any]] = [
            {
                "url": copy.name,
                "state": copy.state,
                "text": copy.text,
                "common_entries": copy.common.size,
                "common_root": copy.common.root().hex(),
            }
            for copy in others
        ]
        data = {**report.to_json(), "copies": copies}
        click.echo(json.dumps({"ok": report.passed, "data": data}))
        return
    for copy in others:
        click.echo(copy.line())
    click.echo(report.to_text())


def _read(path: Path) -> bytes:
    data = path.read_bytes()
    open_genesis(data)
    return data


class _Saving:
    """An archive that appears under its name only when it is complete."""

    def __init__(self, path: Path, genesis: bytes) -> None:
        self._path, self._part = path, path.with_name(path.name + ".part")
        self._genesis = genesis

    def __enter__(self) -> "_Saving":
        try:
            self._file = self._part.open("wb")
        except OSError as error:
            raise ConfigError(f"--save {self._path}: {error.strerror}") from None
        start_archive(self._file, self._genesis)
        return self

    def through(self, entries: Iterator[bytes]) -> Iterator[bytes]:
        return saved(self._file, entries)

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._file.close()
        if kind is None:
            os.replace(self._part, self._path)
        else:
            self._part.unlink(missing_ok=True)
