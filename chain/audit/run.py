"""One audit from beginning to end: open the copies, replay, compare, remember.

Edge.
"""

import itertools
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import click

from bft.errors import ConfigError, DecodeError, Unavailable
from chain.audit.archive import saved, start_archive
from chain.audit.blocks import BlockCheck, Chain
from chain.audit.bookmark import Bookmark
from chain.audit.bookmark_file import BOOKMARK_CYCLES, Saving
from chain.audit.books import Books
from chain.audit.evidence_files import EvidenceFiles
from chain.audit.explain import Explainer
from chain.audit.findings import AuditReport, CycleSummary, Finding, Severity
from chain.audit.home import AuditHome
from chain.audit.noted import Noted, check_note
from chain.audit.onward import Onward, Seen
from chain.audit.replay import LOG_ENTRY_BYTES_MAX, Auditor
from chain.audit.sources import Source, open_directory, open_file, open_url
from chain.audit.split import Copy, SideBySide
from chain.audit.spool import Spool
from chain.light.source import Source as HeaderSource
from chain.rules.founding import open_genesis
from chain.tlog.keys import LogKeys, open_keys, policy

PROGRESS_EVERY = 500  # entries


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What is asked for."""

    path: Path | None = None
    urls: Sequence[str] = ()
    state: Path | None = None
    archive: bool = True  # the log is kept in `state`
    from_scratch: bool = False  # the bookmark in `state` is left alone
    trusted: bytes | None = None  # genesis record
    chain_id: str | None = None
    save: Path | None = None
    max_age_s: int | None = None
    details: bool = False
    quiet: bool = False
    check_models: Callable[[Books, tuple[bytes, ...]], None] | None = None
    evidence: Path | None = None  # directory for bundles
    headers: Sequence[str] = ()  # servers whose chains are compared
    cycle: int | None = None  # explain this one, and audit no further than its end
    bookmark_cycles: int = BOOKMARK_CYCLES

    def goes_on(self, bookmark: Bookmark) -> bool:
        """Whether what is asked for can be answered from the entries after `bookmark`."""
        asks_for_all = self.from_scratch or self.save or self.evidence or self.check_models
        return not asks_for_all and (self.cycle is None or self.cycle > bookmark.walk.cycle)


@dataclass(slots=True)
class Result:
    """What came out; `cycles` may be read until the run is over."""

    genesis: bytes
    report: AuditReport
    spool: Spool
    others: list[Copy] = field(default_factory=list)
    notes: list[Noted] = field(default_factory=list)
    chains: list[Chain] = field(default_factory=list)
    policy: str | None = None
    explainer: Explainer | None = None
    replicas: dict[bytes, int] = field(default_factory=dict)  # index by key, of the newest epoch

    def cycles(self) -> Iterator[CycleSummary]:
        """All of them, from the first on."""
        yield from self.spool
        yield from self.report.cycles


@contextmanager
def run(options: Options) -> Iterator[Result]:
    """The audit's result.

    Raises:
        ConfigError: wrong input, another chain than the pinned one.
        Unavailable: nobody answers.
        DecodeError: an answer cannot be read.
    """
    with ExitStack() as stack:
        sources = _open(options, stack)
        genesis = _chosen(sources[0].genesis, options)
        chain_id = open_genesis(genesis).chain_id
        spool = stack.enter_context(Spool())
        home, bookmark = _home(options, stack, genesis, chain_id)
        auditor = Auditor(
            genesis,
            spool.write,
            details=options.details or home is not None,  # a bookmark holds a part of a cycle
            check_models=options.check_models,
            bookmark=bookmark,
        )
        onward = Onward(home.seen if home is not None else None)
        split = _side_by_side(sources, home, auditor, onward)
        entries = iter(split)
        if options.save is not None:
            entries = stack.enter_context(_Saving(options.save, genesis)).through(entries)
        _watch(auditor, sources, home)
        explainer = None
        if options.cycle is not None:
            explainer = Explainer(options.cycle)
            entries = _until(auditor, entries, explainer)
        if options.evidence is not None:
            entries = _keeping(auditor, entries, EvidenceFiles(options.evidence, genesis))
        checks = [
            BlockCheck(url, HeaderSource(url).headers, open_genesis(genesis), auditor.books)
            for url in dict.fromkeys(options.headers)
        ]
        saving = None
        if home is not None and explainer is None:

            def clean() -> bool:
                found = onward.findings or split.findings or _tile_findings(sources)
                contradicted = any(check.chain.findings for check in checks)
                return not found and not contradicted and home.agrees(auditor)

            saving = Saving(home.bookmark_file, auditor, home, clean, options.bookmark_cycles)
        _replay(auditor, entries, saving, checks, quiet=options.quiet)
        for check in checks:
            check.finish(auditor.entries, auditor.roots)
        found = [*onward.findings, *split.findings, *_tile_findings(sources)]
        found += [finding for check in checks for finding in check.chain.findings]
        notes = (
            []
            if explainer is not None
            else [
                _noted(source, source.checkpoint, auditor, chain_id, options)
                for source in sources
                if source.checkpoint is not None
            ]
        )
        for noted in notes:
            found += noted.findings
        report = auditor.report(_cosigned(sources[0], notes))
        if home is not None and explainer is None:
            found += [] if onward.findings else home.compare(auditor, report.entries)
            wrong = [each.entry for each in report.broken if each.rule != "end"]
            if wrong:
                _forget(home, min(wrong))
        report = report.with_breaks(found)
        if home is not None and explainer is None and report.passed and report.log_root is not None:
            home.sync()
            home.note(Seen(chain_id, report.entries, report.log_root))
            if auditor.settled:  # a bookmark lies between two batches
                home.bookmark_file.write(auditor, passed=True)
        yield Result(
            genesis=genesis,
            report=report,
            spool=spool,
            others=split.others,
            notes=notes,
            chains=[check.chain for check in checks],
            policy=_policy(sources[0], auditor, chain_id),
            explainer=explainer,
            replicas=dict(auditor.memberships[-1].index_by_key),
        )


def _open(options: Options, stack: ExitStack) -> list[Source]:
    """All copies that can be had, at least one."""
    if options.path is not None:
        if options.path.is_dir():
            return [open_directory(options.path)]
        return [open_file(options.path, stack.enter_context(options.path.open("rb")))]
    sources: list[Source] = []
    urls = list(dict.fromkeys(options.urls))
    for url in urls:
        try:
            sources.append(open_url(url))
        except Unavailable as error:
            if len(urls) == 1:
                raise
            click.echo(f"note: not compared: {error}", err=True)
    if not sources:
        raise Unavailable(f"none of {len(urls)} addresses has a log to give")
    for source in sources[1:]:
        if source.genesis != sources[0].genesis:
            raise ConfigError(
                f"{sources[0].name} and {source.name} serve different genesis records"
            )
    return sources


def _chosen(served: bytes, options: Options) -> bytes:
    """The genesis record to audit by.  Raises ConfigError: the log is not of the chain wanted."""
    trusted, wanted = options.trusted, options.chain_id
    if trusted is not None and trusted != served:
        ours, theirs = open_genesis(trusted).chain_id, open_genesis(served).chain_id
        raise ConfigError(f"the log is of chain {theirs.hex()}; --genesis is of {ours.hex()}")
    found = open_genesis(served).chain_id.hex()
    if wanted is not None and wanted.lower() != found:
        raise ConfigError(f"the log is of chain {found}; --chain-id is {wanted.lower()}")
    return served


def _home(
    options: Options, stack: ExitStack, genesis: bytes, chain_id: bytes
) -> tuple[AuditHome | None, Bookmark | None]:
    """The auditor's directory, and from where in it this audit goes on."""
    if options.state is None:
        return None, None
    home = AuditHome(options.state, archive=options.archive)
    stack.callback(home.close)
    home.begin(genesis)
    bookmark = home.bookmark(chain_id)
    if home.bookmark_file.refused:
        why = home.bookmark_file.refused
        click.echo(f"note: the audit begins at the first entry: the bookmark: {why}", err=True)
    return home, bookmark if bookmark is not None and options.goes_on(bookmark) else None


def _forget(home: AuditHome, entry: int) -> None:
    """What does not follow from `entry` on is fetched again by the next audit, from whomever."""
    left = home.forget(entry)
    if left is not None:
        text = f"entries from {left} on are not kept in {home.path}; --save FILE keeps a whole copy"
        click.echo(f"note: {text}", err=True)


def _side_by_side(
    sources: list[Source], home: AuditHome | None, auditor: Auditor, onward: Onward
) -> SideBySide:
    """The copies from where the auditor is; the first goes on from what is at home."""
    start, first = auditor.entries, sources[0]
    copies = {source.name: _since(source, start) for source in sources}
    if home is not None:
        here = max(start, home.held)
        last = home.last_leaf() if home.held else auditor.roots.last_leaf
        if first.from_entry is not None:
            rest = onward.asked(first.name, first.from_entry, here, last)
        else:
            rest = onward.passing(first.name, first.entries, here)
        copies[first.name] = itertools.chain(home.entries(start), home.kept(rest))
    return SideBySide(first.name, copies, auditor.roots.newest)


def _since(source: Source, first: int) -> Iterator[bytes]:
    """The entries from `first` on."""
    return (
        source.from_entry(first)
        if source.from_entry
        else itertools.islice(source.entries, first, None)
    )


def _tile_findings(sources: list[Source]) -> list[Finding]:
    return [
        finding
        for source in sources
        if source.mirror is not None
        for finding in source.mirror.findings
    ]


def _watch(auditor: Auditor, sources: list[Source], home: AuditHome | None) -> None:
    """Roots that will be compared."""
    if home is not None and home.seen is not None:
        auditor.roots.watch(home.seen.size)
    for source in sources:
        size = source.checkpoint_size
        if size is not None:
            auditor.roots.watch(size)


def _replay(
    auditor: Auditor,
    entries: Iterator[bytes],
    saving: Saving | None,
    checks: Sequence[BlockCheck],
    *,
    quiet: bool,
) -> None:
    told = sys.stderr.isatty() and not quiet
    count = 0
    for count, entry in enumerate(entries, 1):
        auditor.take(entry)
        for check in checks:
            check.after_entry()
        if saving is not None:
            saving.after_entry()
        if told and count % PROGRESS_EVERY == 0:
            click.echo(f"\r{count} entries", nl=False, err=True)
    if told and count >= PROGRESS_EVERY:
        click.echo("\r\x1b[K", nl=False, err=True)


def _keeping(auditor: Auditor, entries: Iterator[bytes], files: EvidenceFiles) -> Iterator[bytes]:
    """The same entries; bundles are written when the cycle after the accusation's has begun."""
    cycle = 0
    for entry in entries:
        files.keeper.take(entry, auditor.cycle, LOG_ENTRY_BYTES_MAX)
        yield entry
        if auditor.cycle != cycle:
            cycle = auditor.cycle
            files.write(auditor.accusations, before=cycle)
    files.write(auditor.accusations, before=cycle + 1)


def _until(auditor: Auditor, entries: Iterator[bytes], explainer: Explainer) -> Iterator[bytes]:
    """The entries up to the end of the cycle that is explained."""
    for entry in entries:
        if auditor.cycle > explainer.cycle and auditor.settled:
            return
        if auditor.cycle == explainer.cycle:
            explainer.take(entry, LOG_ENTRY_BYTES_MAX)
        yield entry


def _noted(
    source: Source, checkpoint: bytes, auditor: Auditor, chain_id: bytes, options: Options
) -> Noted:
    """What the checkpoint of a copy is worth."""
    members = auditor.memberships
    key = auditor.report().federation_key
    noted = check_note(
        source.name,
        checkpoint,
        chain_id,
        members,
        key,
        source.statements(members),
        auditor.roots.at,
    )
    age_s, allowed_s = int(time.time()) - noted.newest_s, options.max_age_s
    if allowed_s is not None and age_s > allowed_s:
        text = f"the checkpoint of {source.name} is {age_s} s old; {allowed_s} are allowed"
        noted.findings.append(
            Finding(
                severity=Severity.BROKEN,
                entry=max(0, noted.size - 1),
                sequence=0,
                cycle=0,
                rule="stale",
                text=text,
            )
        )
    return noted


def _cosigned(source: Source, notes: Sequence[Noted]) -> int | None:
    """Where a mirror's files end: at its checkpoint, if that is right and cosigned."""
    if source.mirror is None:
        return None
    sizes = [note.size for note in notes if note.source == source.name and not note.findings]
    return sizes[0] if sizes else None


def _policy(source: Source, auditor: Auditor, chain_id: bytes) -> str | None:
    """The tlog-policy of the newest epoch, where the members' keys can be had."""
    membership = auditor.memberships[-1]
    stated: dict[bytes, LogKeys] = {}
    for key, data in source.statements([membership]).items():
        try:
            stated[key] = open_keys(data, chain_id, key)
        except DecodeError:
            continue
    try:
        return policy(membership, stated)
    except DecodeError:
        return None


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
