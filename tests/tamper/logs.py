"""The score log: each entry before the auditor, and a whole archive before `gristmill audit`."""

import contextlib
import copy
import io
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from bft.codec.canonical import encode
from chain.audit.archive import frame, start_archive
from chain.audit.replay import Auditor
from chain.records.score_log import LogEntry, decode_leaf
from gristmill import exits
from gristmill.cli import main
from tests.chain.audit.epochs import to_successor
from tests.chain.audit.mill import Mill
from tests.tamper.subject import Missed, Subject

ARCHIVED = 40
"""Entries in the archive that the command reads, or a few more: up to the end of a batch's own."""


@cache
def mill() -> Mill:
    """Key generation, a change of members up to its epoch certificate, two whole cycles."""
    made = Mill().found().cycle()
    to_successor(made, (0, 1, 2, 5))
    return made.cycle()


class Witness:
    """An auditor that has read what stands before an entry, and what stands after it."""

    def __init__(self, before: Auditor, entry: LogEntry, rest: Sequence[LogEntry]) -> None:
        self._before, self._entry, self._rest = before, entry, rest

    def judge(self, changed: bytes) -> str:
        """Which rule names the entry, in an audit that reads on to the end of the log."""
        auditor = copy.deepcopy(self._before)
        auditor.take(changed)
        for entry in self._rest:
            auditor.take(entry)
        report = auditor.report()
        if report.passed:
            raise Missed("the audit passes")
        first = report.broken[0]
        if first.entry != self._entry.index:
            raise Missed(f"the audit blames entry {first.entry}: {first.rule}")
        return f"audit: {first.rule}"


def entries() -> list[Subject]:
    """Every entry of the log, as it is stored and served."""
    made = mill()
    auditor, subjects = Auditor(encode(made.genesis)), []
    for entry in made.entries:
        witness = Witness(copy.deepcopy(auditor), entry, made.entries[entry.index + 1 :])
        kind = type(decode_leaf(entry.leaf)).__name__
        name = f"log entry {entry.index} ({kind})"
        subjects.append(Subject(name=name, data=encode(entry), judge=witness.judge))
        auditor.take(entry)
    assert auditor.report().passed
    return subjects


class Archive:
    """A saved log as a file, and the command that reads it with the chain id pinned."""

    def __init__(self) -> None:
        made, file = mill(), io.BytesIO()
        start_archive(file, encode(made.genesis))
        self.head = len(file.getvalue())
        self.ends = []
        auditor = Auditor(encode(made.genesis))
        for entry in made.entries:
            if entry.index >= ARCHIVED and auditor.settled:
                break
            auditor.take(entry)
            file.write(frame(encode(entry)))
            self.ends.append(file.tell())
        self.data = file.getvalue()
        self._chain_id = made.genesis.chain_id.hex()

    def run(self, data: bytes) -> tuple[int, str]:
        """(exit status, what was printed) of `gristmill audit` on a file with these bytes."""
        said = io.StringIO()
        with tempfile.TemporaryDirectory() as home:
            path = Path(home, "log.grist")
            path.write_bytes(data)
            with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
                status = main(["audit", str(path), "--chain-id", self._chain_id])
        return status, said.getvalue()

    def judge(self, changed: bytes) -> str:
        """What the command says: no such log, or which entry is broken."""
        status, said = self.run(changed)
        pairs = enumerate(zip(changed, self.data, strict=True))
        at = next(place for place, (new, old) in pairs if new != old)
        if at < self.head:
            if status not in (exits.CONFIG, exits.VERIFICATION_FAILED) or "unexpected" in said:
                raise Missed(f"status {status}: {said[:300]}")
            return "gristmill audit: not this chain's log"
        index = next(number for number, end in enumerate(self.ends) if at < end)
        if status != exits.VERIFICATION_FAILED or f"broken: entry {index} " not in said:
            raise Missed(f"status {status} for entry {index}: {said[:300]}")
        return "gristmill audit: entry named"


def archive() -> Subject:
    """The file that `gristmill audit --save` writes."""
    kept = Archive()
    status, said = kept.run(kept.data)
    assert status == exits.OK, said
    return Subject(name="log archive", data=kept.data, judge=kept.judge)
